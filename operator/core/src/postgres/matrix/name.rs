//! Names of objects as SQL writes them.

use super::class::ObjectClass;
use crate::postgres::sql::identifier;

/// The schema of built-in objects, whose routines Postgres names without it.
const BUILT_IN: &str = "pg_catalog";

/// The name of an object, taken apart. Parts are what the catalog holds: unquoted, of their own
/// case.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ObjectName {
    /// The schema of an object that lives in one, else empty.
    pub(super) schema: String,
    /// The object's own name.
    pub(super) name: String,
    /// The argument types of a routine, as `regprocedure` prints them, else empty.
    pub(super) arguments: String,
}

impl ObjectName {
    /// Takes a name apart that Postgres or a person has written; `None` when it is no name of this
    /// class.
    pub(crate) fn parse(class: ObjectClass, text: &str) -> Option<Self> {
        let (text, arguments) = if class.is_routine() {
            arguments(text)?
        } else {
            (text, String::new())
        };
        // The name of a parameter may have dots, but is not qualified and knows no case.
        if class == ObjectClass::Parameter {
            return Some(Self {
                name: text.to_ascii_lowercase(),
                ..Self::default()
            });
        }
        if class == ObjectClass::LargeObject
            && !text.chars().all(|character| character.is_ascii_digit())
        {
            return None;
        }
        let (schema, name) = match (class.is_in_schema(), split(text, '.')?.as_slice()) {
            (false, [name]) => (String::new(), part(name)?),
            (true, [schema, name]) => (part(schema)?, part(name)?),
            (true, [name]) if class.is_routine() => (BUILT_IN.to_owned(), part(name)?),
            (true | false, _) => return None,
        };
        Some(Self {
            schema,
            name,
            arguments,
        })
    }

    /// The name for a statement, with every part quoted. Only a routine's arguments stand there as
    /// they were read: take them from the server.
    pub(super) fn to_sql(&self, class: ObjectClass) -> String {
        match class {
            ObjectClass::LargeObject => self.name.clone(),
            ObjectClass::Parameter => self
                .name
                .split('.')
                .map(identifier)
                .collect::<Vec<_>>()
                .join("."),
            _ if class.is_routine() => format!(
                "{}.{}({})",
                identifier(&self.schema),
                identifier(&self.name),
                self.arguments
            ),
            _ if class.is_in_schema() => {
                format!("{}.{}", identifier(&self.schema), identifier(&self.name))
            }
            _ => identifier(&self.name),
        }
    }
}

/// Splits `schema.relation.column`, as the rows of class `column` have it, into the relation for a
/// statement and the column's name.
pub(super) fn column(text: &str) -> Option<(ObjectName, String)> {
    match split(text, '.')?.as_slice() {
        [schema, relation, column] => Some((
            ObjectName {
                schema: part(schema)?,
                name: part(relation)?,
                arguments: String::new(),
            },
            part(column)?,
        )),
        _ => None,
    }
}

/// The parts of a name of any class, unquoted; without the arguments of a routine.
pub(crate) fn name_parts(text: &str) -> Option<Vec<String>> {
    let name = arguments(text).map_or(text, |(name, _)| name);
    split(name, '.')?.into_iter().map(part).collect()
}

/// The types of a routine's arguments, as [`arguments`] gives them.
pub(crate) fn argument_types(text: &str) -> Option<String> {
    arguments(text).map(|(_, types)| types)
}

/// Splits `owner/schema/KIND`, as the rows of class `default_acl` have it; `None` for the schema
/// stands for all.
pub(super) fn default_acl(text: &str) -> Option<(String, Option<String>, &str)> {
    match split(text, '/')?.as_slice() {
        [owner, schema, kind] => Some((
            part(owner)?,
            if *schema == "*" {
                None
            } else {
                Some(part(schema)?)
            },
            kind,
        )),
        _ => None,
    }
}

/// Splits `name(arguments)`; arguments get the spacing that Postgres prints.
fn arguments(text: &str) -> Option<(&str, String)> {
    let mut quoted = false;
    let open = text.find(|character| {
        quoted ^= character == '"';
        character == '(' && !quoted
    })?;
    let inside = text.get(open + 1..)?.strip_suffix(')')?;
    let arguments: Vec<&str> = split(inside, ',')?.into_iter().map(str::trim).collect();
    Some((text.get(..open)?, arguments.join(",")))
}

/// Splits at a separator outside of quotes; `None` when a quote is left open.
pub(super) fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let mut quoted = false;
    let parts = text
        .split(|character| {
            quoted ^= character == '"';
            character == separator && !quoted
        })
        .collect();
    (!quoted).then_some(parts)
}

/// Returns the name that an identifier denotes: quoted, exactly what it holds; else in lower case.
pub(super) fn part(text: &str) -> Option<String> {
    let name = match text.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?.replace("\"\"", "\""),
        None if text.contains(['"', '*', '(', ')']) || text.contains(char::is_whitespace) => {
            return None;
        }
        None => text.to_ascii_lowercase(),
    };
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn compound_names_of_rows() {
        let (relation, name) = column("iu.\"Un.it\".state").unwrap();
        assert_eq!(
            (relation.to_sql(ObjectClass::Table).as_str(), name.as_str()),
            ("\"iu\".\"Un.it\"", "state")
        );
        assert_eq!(
            default_acl("\"a/b\"/*/LARGE OBJECTS"),
            Some(("a/b".into(), None, "LARGE OBJECTS"))
        );
        assert_eq!(
            default_acl("owner/\"*\"/TABLES"),
            Some(("owner".into(), Some("*".into()), "TABLES"))
        );
    }

    proptest! {
        #[test]
        fn quoting_and_taking_apart_are_inverse(schema in "\\PC{1,12}", name in "\\PC{1,12}", with in "\\PC{1,12}") {
            let parsed = ObjectName { schema, name, arguments: String::new() };
            prop_assert_eq!(ObjectName::parse(ObjectClass::Table, &parsed.to_sql(ObjectClass::Table)), Some(parsed.clone()));
            let text = format!("{}.{}", parsed.to_sql(ObjectClass::Table), identifier(&with));
            prop_assert_eq!(column(&text), Some((parsed, with)));
        }
    }
}
