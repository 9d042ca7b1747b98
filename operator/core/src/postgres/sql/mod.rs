//! Statements with places, and the quoting of what is put into them.

pub(crate) mod statements;
mod template;

pub use template::Template;

/// Quotes an identifier. Always quoted, so that no list of reserved words is needed; NUL cannot
/// occur in a Postgres name.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a string, as `quote_literal` does: right under every setting of
/// `standard_conforming_strings`.
pub fn literal(text: &str) -> String {
    let escape = if text.contains('\\') { "E" } else { "" };
    format!(
        "{escape}'{}'",
        text.replace('\\', r"\\").replace('\'', "''")
    )
}

/// `pg_control_system().system_identifier` as an unsigned decimal number.
pub fn system_identifier(signed: i64) -> String {
    signed.cast_unsigned().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_cannot_end_early() {
        assert_eq!(identifier("unit"), r#""unit""#);
        assert_eq!(
            identifier(r#"a"; DROP TABLE b; --"#),
            r#""a""; DROP TABLE b; --""#
        );
    }

    #[test]
    fn an_identifier_past_2038_is_unsigned() {
        assert_eq!(
            system_identifier(7_611_578_671_664_259_111),
            "7611578671664259111"
        );
        assert_eq!(system_identifier(-1), "18446744073709551615");
    }
}
