//! SQL text that operator and agents share, and the quoting of identifiers.
//!
//! No statement is put together anywhere else: each stands in a `.sql` file of its own.

pub(crate) mod statements;
mod template;

pub use template::Template;

/// Puts a session into the state in which [`CATALOG`] and [`COUNTS`] are comparable between servers.
pub const SESSION: &str = include_str!("../../../sql/session.sql");
/// Who a server is: one row for [`crate::run::facts::SourceIdentity`] and [`crate::run::facts::CopyIdentity`].
pub const IDENTITY: &str = include_str!("../../../sql/identity.sql");
/// Every definition of the database, as (kind, identity, md5).
pub const CATALOG: &str = include_str!("../../../sql/catalog.sql");
/// The statements that count every table; the rows of each are (table, rows).
pub const COUNTS: &str = include_str!("../../../sql/counts.sql");

/// Every granted privilege, as (class, object, grantee, privilege, grantable, sign, grantors): a [`crate::postgres::matrix::Reading`] together with
/// [`ATTRIBUTES`]. Needs the session of [`SESSION`].
pub const PRIVILEGES: &str = include_str!("../../../sql/privileges.sql");
/// Every privilege that is no ACL entry, in the columns of [`PRIVILEGES`].
pub const ATTRIBUTES: &str = include_str!("../../../sql/attributes.sql");
/// Everything that a matrix may name, as (class, name, owner, initial): a [`crate::postgres::matrix::Inventory`]. Its parameter is the names of the columns
/// that are wanted.
pub const OBJECTS: &str = include_str!("../../../sql/objects.sql");
/// How roles could get more than the catalog shows them to have, as (role, why, what): a set of [`crate::postgres::matrix::EscalationPath`]s. Needs the session of
/// [`SESSION`].
pub const ESCALATIONS: &str = include_str!("../../../sql/escalations.sql");
/// Rights of roles that no dump of a database carries, as (class, object, grantee, privilege, grantable).
pub const ROLE_RIGHTS: &str = include_str!("../../../sql/role_rights.sql");

/// What a login lacks on each object of a name, as (kind, missing): the [`crate::run::facts::Access`] of a denial. Needs the session of [`SESSION`].
pub const ACCESS: &str = include_str!("../../../sql/access.sql");

/// Every setting of a server as (name, value, of_server).
pub const SETTINGS: &str = include_str!("../../../sql/settings.sql");

/// Quotes an identifier. Always quoted, so that no list of reserved words is needed; NUL cannot occur in a Postgres name.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a string, as `quote_literal` does: right under every setting of `standard_conforming_strings`.
pub fn literal(text: &str) -> String {
    let escape = if text.contains('\\') { "E" } else { "" };
    format!(
        "{escape}'{}'",
        text.replace('\\', r"\\").replace('\'', "''")
    )
}

/// `pg_control_system().system_identifier` as it is meant: an unsigned number, in decimal.
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
