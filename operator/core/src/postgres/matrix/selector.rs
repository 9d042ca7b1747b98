//! Objects by name or by pattern, as a spec writes them.

use super::class::ObjectClass;
use super::name::{ObjectName, part, split};

/// Objects of a class by name: one, or every match of a `*` in the last part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(super) class: ObjectClass,
    pub(super) name: ObjectName,
    /// The parts of the name around each unquoted `*`, if there is one.
    wildcard: Option<Vec<String>>,
}

impl Selector {
    /// Reads `class:name`.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (class, name) = text
            .split_once(':')
            .ok_or_else(|| format!("`{text}` is not written as class:name"))?;
        let class =
            ObjectClass::parse(class).ok_or_else(|| format!("there is no class `{class}`"))?;
        if let Some((qualifier, wildcard)) = wildcard(class, name) {
            let schema = match (class.is_in_schema(), qualifier) {
                (true, Some(schema)) => part(schema),
                (false, None) => Some(String::new()),
                (true | false, _) => None,
            };
            let schema = schema.ok_or_else(|| {
                format!(
                    "`{text}`: a pattern is written as {}, with `*` in its last part only",
                    written(class)
                )
            })?;
            return Ok(Self {
                class,
                name: ObjectName {
                    schema,
                    ..ObjectName::default()
                },
                wildcard: Some(wildcard),
            });
        }
        let name = ObjectName::parse(class, name).ok_or_else(|| {
            format!(
                "`{text}`: a {} is written as {}",
                class.as_str(),
                written(class)
            )
        })?;
        Ok(Self {
            class,
            name,
            wildcard: None,
        })
    }

    /// Returns true if it is a pattern.
    pub(crate) fn is_pattern(&self) -> bool {
        self.wildcard.is_some()
    }

    /// Returns true if an object of its class is selected.
    pub(crate) fn selects(&self, name: &ObjectName) -> bool {
        match &self.wildcard {
            None => *name == self.name,
            Some(wildcard) => name.schema == self.name.schema && matches(wildcard, &name.name),
        }
    }
}

/// Returns the written form of names of a class.
fn written(class: ObjectClass) -> &'static str {
    if class.is_routine() {
        "schema.name(argument types)"
    } else if class.is_in_schema() {
        "schema.name"
    } else {
        "name"
    }
}

/// If the last part has an unquoted `*`: the part before it, and the pieces of the last part around
/// each `*`.
fn wildcard(class: ObjectClass, text: &str) -> Option<(Option<&str>, Vec<String>)> {
    let (qualifier, last) = if class.is_in_schema() {
        match split(text, '.')?.as_slice() {
            [last] => (None, *last),
            [qualifier, last] => (Some(*qualifier), *last),
            _ => return None,
        }
    } else {
        (None, text)
    };
    (!last.starts_with('"') && last.contains('*')).then(|| {
        (
            qualifier,
            last.to_ascii_lowercase()
                .split('*')
                .map(str::to_owned)
                .collect(),
        )
    })
}

/// Returns true if a name consists of the pieces in their order, with anything in between.
pub(in crate::postgres) fn matches<S: AsRef<str>>(pieces: &[S], name: &str) -> bool {
    let [first, middle @ .., last] = pieces else {
        return false;
    };
    let Some(mut rest) = name
        .strip_prefix(first.as_ref())
        .and_then(|rest| rest.strip_suffix(last.as_ref()))
    else {
        return false;
    };
    for piece in middle {
        match rest.split_once(piece.as_ref()) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(selector: &str, class: ObjectClass, name: &str) -> bool {
        Selector::parse(selector)
            .unwrap()
            .selects(&ObjectName::parse(class, name).unwrap())
    }

    #[test]
    fn names_mean_what_sql_means_by_them() {
        assert!(selects("table:iu.unit", ObjectClass::Table, "iu.unit"));
        assert!(selects("table:IU.\"unit\"", ObjectClass::Table, "iu.unit"));
        assert!(selects("table:iu.user", ObjectClass::Table, "iu.\"user\""));
        assert!(selects(
            "table:\"a.b\".\"C\"\"d\"",
            ObjectClass::Table,
            "\"a.b\".\"C\"\"d\""
        ));
        assert!(!selects("table:iu.Unit", ObjectClass::Table, "iu.\"Unit\""));
        assert!(selects(
            "parameter:pg_stat_statements.track",
            ObjectClass::Parameter,
            "pg_stat_statements.track"
        ));
        assert!(selects(
            "parameter:TimeZone",
            ObjectClass::Parameter,
            "timezone"
        ));
    }

    #[test]
    fn routines_are_told_apart_by_their_arguments() {
        assert!(selects(
            "function:iu.cut(integer, text)",
            ObjectClass::Function,
            "iu.cut(integer,text)"
        ));
        assert!(!selects(
            "function:iu.cut(integer)",
            ObjectClass::Function,
            "iu.cut(integer,text)"
        ));
        assert!(selects(
            "function:pg_catalog.pg_read_file(text)",
            ObjectClass::Function,
            "pg_read_file(text)"
        ));
        assert!(selects(
            "function:iu.\"a(b\"(\"x,y\".z)",
            ObjectClass::Function,
            "iu.\"a(b\"(\"x,y\".z)"
        ));
        assert!(Selector::parse("function:iu.cut").is_err());
    }

    #[test]
    fn a_pattern_stays_in_its_schema() {
        assert!(selects("table:iu.*", ObjectClass::Table, "iu.unit"));
        assert!(!selects("table:iu.*", ObjectClass::Table, "iu2.unit"));
        assert!(selects(
            "view:iu.v_*_by_*y",
            ObjectClass::View,
            "iu.v_unit_by_day"
        ));
        assert!(!selects(
            "view:iu.v_*_by_*y",
            ObjectClass::View,
            "iu.v_unit_day"
        ));
        assert!(!selects("table:iu.a*a", ObjectClass::Table, "iu.a"));
        assert!(selects(
            "function:iu.get_*",
            ObjectClass::Function,
            "iu.get_unit(integer)"
        ));
        assert!(selects("schema:*", ObjectClass::Schema, "iu"));
        assert!(selects(
            "parameter:pg_stat_*",
            ObjectClass::Parameter,
            "pg_stat_statements.track"
        ));
    }

    #[test]
    fn what_is_no_name_is_refused_in_words() {
        for (text, message) in [
            ("iu.unit", "`iu.unit` is not written as class:name"),
            ("index:iu.unit", "there is no class `index`"),
            (
                "table:unit",
                "`table:unit`: a table is written as schema.name",
            ),
            (
                "table:*.unit",
                "`table:*.unit`: a table is written as schema.name",
            ),
            (
                "table:*.*",
                "`table:*.*`: a pattern is written as schema.name, with `*` in its last part only",
            ),
            (
                "table:*",
                "`table:*`: a pattern is written as schema.name, with `*` in its last part only",
            ),
            ("schema:a.b", "`schema:a.b`: a schema is written as name"),
            (
                "table:iu.\"unit",
                "`table:iu.\"unit`: a table is written as schema.name",
            ),
        ] {
            assert_eq!(Selector::parse(text).unwrap_err(), message);
        }
    }
}
