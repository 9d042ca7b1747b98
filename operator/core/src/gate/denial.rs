//! Denials in the copy's log: who raised them, and what they are about.

use crate::postgres::matrix;
use crate::run::facts::LoggedError;

/// SQLSTATE of a denial.
pub(super) const DENIED: &str = "42501";

/// Functions of the server that raise a denial after an access check of their own (`aclchk.c`, `execMain.c`, `sequence.c` and `inv_api.c` of
/// Postgres). `RAISE` gives `exec_stmt_raise`.
const ACCESS_CHECKS: [&str; 9] = [
    "aclcheck_error",
    "aclcheck_error_col",
    "aclcheck_error_type",
    "ExecWithCheckOptions",
    "nextval_internal",
    "currval_oid",
    "lastval",
    "do_setval",
    "inv_open",
];

/// What Postgres calls the kinds of objects in a denial. They stand in front of a name without quotes, which may have spaces itself.
const KINDS: [&str; 36] = [
    "access method",
    "aggregate",
    "collation",
    "column",
    "conversion",
    "database",
    "domain",
    "event trigger",
    "extension",
    "foreign server",
    "foreign table",
    "foreign-data wrapper",
    "function",
    "index",
    "language",
    "large object",
    "materialized view",
    "operator",
    "operator class",
    "operator family",
    "parameter",
    "policy",
    "procedure",
    "publication",
    "relation",
    "routine",
    "schema",
    "sequence",
    "statistics object",
    "subscription",
    "table",
    "tablespace",
    "text search configuration",
    "text search dictionary",
    "type",
    "view",
];

/// Whether the server's own access check raised it.
pub(super) fn is_checked(logged: &LoggedError) -> bool {
    ACCESS_CHECKS.contains(&logged.function.as_str())
}

/// The name of an object as most denials have it: without its schema, and without quotes.
pub(super) fn name_of(object: &str) -> String {
    parts(object).pop().unwrap_or_default()
}

fn parts(object: &str) -> Vec<String> {
    matrix::name_parts(object).unwrap_or_else(|| vec![object.to_owned()])
}

/// Whether the message of an access check is about an object of this name. One that can be read in two ways is about neither.
pub(super) fn is_about(message: &str, object: &str) -> bool {
    let name = &*name_of(object);
    if let Some(denied) = message.strip_prefix("permission denied for ") {
        // A type alone is named as SQL writes it, with its schema.
        is_of_any_kind(denied, name)
            || is_of_kind(denied, "type", object)
            || between_quotes(denied, "column \"", "\" of relation ") == Some(name)
    } else if let Some(owned) = message.strip_prefix("must be owner of ") {
        is_of_any_kind(owned, name) || is_of_any_kind(owned, &parts(object).join("."))
    } else {
        ["new row", "target row"].iter().any(|row| {
            let policy = format!("{row} violates row-level security policy");
            between_quotes(message, &policy, " for table ") == Some(name)
        })
    }
}

fn is_of_any_kind(text: &str, name: &str) -> bool {
    KINDS.iter().any(|kind| is_of_kind(text, kind, name))
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

#[cfg(test)]
mod tests {
    use super::is_about;

    /// Messages as Postgres 15 printed them, but for that of a conflict.
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
                "target row violates row-level security policy \"q\" (USING expression) for table \"Odd.Name\"",
                "public.\"Odd.Name\"",
            ),
        ];
        for (message, object) in cases {
            assert!(is_about(message, object), "{message}: {object}");
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
            assert!(!is_about(message, object), "{message}: {object}");
        }
    }
}
