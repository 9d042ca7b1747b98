//! Denials in the copy's log: who raised them, and what they are about.

use std::collections::BTreeSet;

use super::g14_scenarios_passed::{ExpectedError, expected_errors};
use crate::api::Scenario;
use crate::postgres::matrix;
use crate::postgres::server_log::is_procedural;
use crate::run::facts::{Access, LoggedError};

/// SQLSTATE of a denial.
pub(super) const DENIED: &str = "42501";

/// The kind of tables, views and other relations with rows, as the copy's catalog is asked for it.
const RELATION: &str = "relation";

/// Postgres' names of object kinds in a denial, with the kind in [`Access`]. They stand in front of
/// a name without quotes, which may have spaces itself.
const KINDS: [(&str, &str); 35] = [
    ("aggregate", "routine"),
    ("collation", "collation"),
    ("column", RELATION),
    ("conversion", "conversion"),
    ("database", "database"),
    ("domain", "type"),
    ("event trigger", "event trigger"),
    ("extension", "extension"),
    ("foreign server", "foreign server"),
    ("foreign table", RELATION),
    ("foreign-data wrapper", "foreign-data wrapper"),
    ("function", "routine"),
    ("index", "index"),
    ("language", "language"),
    ("large object", "large object"),
    ("materialized view", RELATION),
    ("operator", "operator"),
    ("operator class", "operator class"),
    ("operator family", "operator family"),
    ("parameter", "parameter"),
    ("policy", RELATION),
    ("procedure", "routine"),
    ("publication", "publication"),
    ("relation", RELATION),
    ("routine", "routine"),
    ("schema", "schema"),
    ("sequence", "sequence"),
    ("statistics object", "statistics object"),
    ("subscription", "subscription"),
    ("table", RELATION),
    ("tablespace", "tablespace"),
    ("text search configuration", "text search configuration"),
    ("text search dictionary", "text search dictionary"),
    ("type", "type"),
    ("view", RELATION),
];

/// Denials that end with a name in quotes, and its kind.
const QUOTED: [(&str, &str); 13] = [
    ("permission denied for database", "database"),
    (
        "permission denied to create temporary tables in database",
        "database",
    ),
    ("permission denied to set role", "role"),
    ("permission denied to set session authorization", "role"),
    ("permission denied to grant role", "role"),
    ("permission denied to revoke role", "role"),
    ("must have admin option on role", "role"),
    ("must be member of role", "role"),
    ("must be able to SET ROLE", "role"),
    ("permission denied to set parameter", "parameter"),
    (
        "query would be affected by row-level security policy for table",
        RELATION,
    ),
    (
        "new row violates row-level security policy for table",
        RELATION,
    ),
    (
        "new row violates row-level security policy (USING expression) for table",
        RELATION,
    ),
];

/// An object that a scenario must be denied on: what is asked about it beside the login is in
/// operator/postgres/sql/access.sql.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeniedObject {
    /// As the spec names it.
    pub object: String,
    /// Its schema; nothing for what lives in none, and for a name without one.
    pub schema: Option<String>,
    /// Its name.
    pub name: String,
    /// The types of a routine's arguments, where they are stated.
    pub arguments: Option<String>,
}

/// The objects that a scenario must be denied on.
pub fn denied_objects(scenario: &Scenario) -> BTreeSet<DeniedObject> {
    let denied = |expected: ExpectedError<'_>| {
        let object = expected.object.filter(|_| expected.sqlstate == DENIED)?;
        let parsed = Object::parse(object);
        let mut schema = parsed.parts();
        schema.pop();
        Some(DeniedObject {
            object: object.to_owned(),
            schema: schema.pop().filter(|_| parsed.kind != Some("parameter")),
            name: parsed.name(),
            arguments: matrix::argument_types(parsed.text),
        })
    };
    expected_errors(scenario)
        .into_iter()
        .filter_map(denied)
        .collect()
}

/// Returns true if the server itself denied it, and no procedural code raised the error.
pub(super) fn is_of_server(logged: &LoggedError) -> bool {
    !logged.function.is_empty() && !is_procedural(&logged.function)
}

/// An object as a spec names it: `iu.unit`, `role:app`, `parameter:log_statement`, `schema:iu`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object<'a> {
    /// The kind in [`Access`], where it is stated.
    kind: Option<&'static str>,
    /// Its name.
    text: &'a str,
}

impl<'a> Object<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let stated = |(word, kind): (&str, &'static str)| {
            let prefix = format!("{}:", word.replace(' ', "_"));
            Some(Self {
                kind: Some(kind),
                text: text.strip_prefix(&prefix)?,
            })
        };
        let more = [
            ("role", "role"),
            ("matview", RELATION),
            ("fdw", "foreign-data wrapper"),
        ];
        let kinds = KINDS.into_iter().chain(more);
        kinds
            .filter_map(stated)
            .next()
            .unwrap_or(Self { kind: None, text })
    }

    /// The name as most denials have it: without its schema, and without quotes.
    pub(super) fn name(&self) -> String {
        if self.kind == Some("parameter") {
            return self.text.to_ascii_lowercase();
        }
        self.parts().pop().unwrap_or_default()
    }

    fn parts(&self) -> Vec<String> {
        matrix::name_parts(self.text).unwrap_or_else(|| vec![self.text.to_owned()])
    }

    /// The kind of the object that a denial is about, if that has this name. A message that can be
    /// read in two ways is about neither.
    pub(super) fn kind_in(&self, message: &str) -> Option<&'static str> {
        let kind = self.kind_by_words(message)?;
        self.kind
            .is_none_or(|stated| stated == kind)
            .then_some(kind)
    }

    fn kind_by_words(&self, message: &str) -> Option<&'static str> {
        let name = &*self.name();
        let quoted = |(words, kind)| (message == format!("{words} \"{name}\"")).then_some(kind);
        if let Some(kind) = QUOTED.into_iter().find_map(quoted) {
            return Some(kind);
        }
        if let Some(denied) = message.strip_prefix("permission denied for ") {
            // A type alone is named as SQL writes it, with its schema.
            if is_of_kind(denied, "type", self.text) {
                return Some("type");
            }
            if between_quotes(denied, "column \"", "\" of relation ") == Some(name) {
                return Some(RELATION);
            }
            kind_of(denied, name)
        } else if let Some(owned) = message.strip_prefix("must be owner of ") {
            if is_of_kind(owned, "type", self.text) {
                return Some("type");
            }
            kind_of(owned, name).or_else(|| kind_of(owned, &self.parts().join(".")))
        } else {
            ["new row", "target row"]
                .iter()
                .any(|row| {
                    let policy = format!("{row} violates row-level security policy");
                    between_quotes(message, &policy, " for table ") == Some(name)
                })
                .then_some(RELATION)
        }
    }
}

fn kind_of(text: &str, name: &str) -> Option<&'static str> {
    KINDS
        .into_iter()
        .find_map(|(word, kind)| is_of_kind(text, word, name).then_some(kind))
}

fn is_of_kind(text: &str, kind: &str, name: &str) -> bool {
    text.strip_prefix(kind)
        .and_then(|rest| rest.strip_prefix(' '))
        == Some(name)
}

/// The quoted name that such a text ends with, behind the first of these words.
fn between_quotes<'a>(text: &'a str, begin: &str, words: &str) -> Option<&'a str> {
    let (_, quoted) = text.strip_prefix(begin)?.split_once(words)?;
    quoted.strip_prefix('"')?.strip_suffix('"')
}

/// Returns true if what the catalog says is about an object of the kind that a denial names: some
/// call sequences and indexes relations.
pub(super) fn is_of_this_kind(access: &Access, kind: &str) -> bool {
    access.kind == kind || kind == RELATION && ["sequence", "index"].contains(&access.kind.as_str())
}

/// Returns true if the login lacks what this denial is about: one of the privileges that the denied
/// statement may need on an object of this kind.
pub(super) fn is_explained(logged: &LoggedError, access: &Access) -> bool {
    let is_missing = |privilege: &str| access.missing.iter().any(|m| m == privilege);
    let message = &logged.message;
    if message.starts_with("must be owner of ") {
        return is_missing("OWNER");
    }
    if message.contains("row-level security policy") {
        return is_missing("ROW SECURITY");
    }
    match needed(&access.kind, &logged.statement) {
        Some(privileges) => privileges.iter().any(|privilege| is_missing(privilege)),
        None => access
            .missing
            .iter()
            .any(|privilege| !["OWNER", "ROW SECURITY"].contains(&privilege.as_str())),
    }
}

/// The privileges that a statement of this class may need on an object of this kind; nothing where
/// it may need any.
fn needed(kind: &str, statement: &str) -> Option<&'static [&'static str]> {
    Some(match (kind, statement) {
        // FOR UPDATE needs it as well.
        (RELATION, "SELECT") => &["SELECT", "UPDATE"],
        (RELATION, "TABLE") => &["SELECT"],
        (RELATION, "COPY") => &["SELECT", "INSERT"],
        // ON CONFLICT, RETURNING.
        (RELATION, "INSERT") => &["INSERT", "SELECT", "UPDATE"],
        (RELATION, "UPDATE") => &["UPDATE", "SELECT"],
        (RELATION, "DELETE") => &["DELETE", "SELECT"],
        (RELATION, "TRUNCATE") => &["TRUNCATE"],
        ("schema", "SELECT" | "INSERT" | "UPDATE" | "DELETE" | "TRUNCATE" | "CALL") => &["USAGE"],
        // A connection that is refused.
        ("database", "") => &["CONNECT"],
        ("parameter", "ALTER SYSTEM") => &["ALTER SYSTEM"],
        ("parameter", "SET") => &["SET"],
        ("role", "SET") => &["SET"],
        ("role", "GRANT" | "REVOKE") => &["ADMIN"],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages as Postgres 15 printed them, except those of a conflict and of roles in 16.
    #[test]
    fn every_message_names_its_object() {
        let cases = [
            ("permission denied for table orders", "iu.orders"),
            ("permission denied for table Odd.Name", "iu.\"Odd.Name\""),
            ("permission denied for table x items", "iu.\"x items\""),
            ("permission denied for materialized view mv", "iu.mv"),
            ("permission denied for view v", "iu.v"),
            ("permission denied for function f", "iu.f(integer)"),
            ("permission denied for sequence s", "iu.s"),
            ("permission denied for type iu.state", "iu.state"),
            ("permission denied for schema iu", "iu"),
            ("permission denied for large object 4711", "4711"),
            (
                "permission denied for column \"b\" of relation \"t2\"",
                "iu.t2",
            ),
            ("must be owner of table orders", "iu.orders"),
            ("must be owner of relation t2", "iu.t2"),
            ("must be owner of function iu.f", "iu.f(integer)"),
            (
                "new row violates row-level security policy for table \"orders\"",
                "public.orders",
            ),
            (
                "new row violates row-level security policy \"q\" for table \"orders\"",
                "public.orders",
            ),
            (
                "new row violates row-level security policy (USING expression) for table \"orders\"",
                "public.orders",
            ),
            (
                "query would be affected by row-level security policy for table \"orders\"",
                "iu.orders",
            ),
            ("permission denied for database \"closed\"", "closed"),
            ("permission denied for database shop", "database:shop"),
            (
                "permission denied to create temporary tables in database \"shop\"",
                "shop",
            ),
            ("permission denied to set role \"Boss\"", "role:\"Boss\""),
            (
                "permission denied to set session authorization \"boss\"",
                "role:boss",
            ),
            ("must have admin option on role \"boss\"", "role:boss"),
            ("permission denied to grant role \"boss\"", "role:boss"),
            (
                "permission denied to set parameter \"log_statement\"",
                "parameter:log_statement",
            ),
            (
                "permission denied to set parameter \"pg_stat.track\"",
                "parameter:pg_stat.track",
            ),
            ("permission denied for schema iu", "schema:iu"),
            ("must be owner of type iu.state", "type:iu.state"),
            ("must be owner of statistics object iu.st", "iu.st"),
            (
                "target row violates row-level security policy \"q\" (USING expression) for table \"Odd.Name\"",
                "public.\"Odd.Name\"",
            ),
        ];
        for (message, object) in cases {
            assert!(
                Object::parse(object).kind_in(message).is_some(),
                "{message}: {object}"
            );
        }
    }

    #[test]
    fn another_object_is_not_taken_for_it() {
        let cases = [
            ("permission denied for table x items", "public.items"),
            ("permission denied for table Odd.Name", "iu.name"),
            ("permission denied for table iu.state", "iu.state"),
            ("permission denied for schema iu", "iu.orders"),
            (
                "permission denied for column \"t2\" of relation \"t3\"",
                "iu.t2",
            ),
            (
                "new row violates row-level security policy \"orders\" for table \"items\"",
                "public.orders",
            ),
            ("permission denied for schema iu", "database:iu"),
            ("permission denied to set role \"x\"", "role:boss"),
            ("permission denied to create role", "role:role"),
            // Names that were made to look like the end of another message.
            (
                "new row violates row-level security policy for table \"x\" for table \"orders\"",
                "public.orders",
            ),
            (
                "permission denied for column \"c\" of relation \"x\" of relation \"orders\"",
                "public.orders",
            ),
        ];
        for (message, object) in cases {
            assert_eq!(
                Object::parse(object).kind_in(message),
                None,
                "{message}: {object}"
            );
        }
    }

    #[test]
    fn a_denial_is_explained_by_what_is_missing() {
        let logged = |statement: &str, message: &str| LoggedError {
            statement: statement.into(),
            message: message.into(),
            ..LoggedError::default()
        };
        let access = |kind: &str, missing: &[&str]| Access {
            kind: kind.into(),
            missing: missing.iter().map(|m| (*m).to_owned()).collect(),
            ..Access::default()
        };
        let denied = "permission denied for table orders";
        for (statement, message, kind, missing, explained) in [
            ("DELETE", denied, RELATION, &["DELETE"][..], true),
            // A login that may delete was denied another object of that name.
            (
                "DELETE",
                denied,
                RELATION,
                &["INSERT", "UPDATE", "OWNER"],
                false,
            ),
            ("DO", denied, RELATION, &["TRIGGER"], true),
            ("DO", denied, RELATION, &["OWNER", "ROW SECURITY"], false),
            (
                "DROP TABLE",
                "must be owner of table orders",
                RELATION,
                &["OWNER"],
                true,
            ),
            (
                "DROP TABLE",
                "must be owner of table orders",
                RELATION,
                &["SELECT"],
                false,
            ),
            (
                "INSERT",
                "new row violates row-level security policy for table \"orders\"",
                RELATION,
                &["ROW SECURITY"],
                true,
            ),
            (
                "INSERT",
                "new row violates row-level security policy for table \"orders\"",
                RELATION,
                &["SELECT", "OWNER"],
                false,
            ),
            (
                "",
                "permission denied for database \"d\"",
                "database",
                &["CREATE"],
                false,
            ),
            (
                "",
                "permission denied for database \"d\"",
                "database",
                &["CONNECT"],
                true,
            ),
        ] {
            assert_eq!(
                is_explained(&logged(statement, message), &access(kind, missing)),
                explained,
                "{statement} {message} {missing:?}"
            );
        }
    }
}
