//! Paths by which declared roles could get more than their rows say.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use super::Compiled;
use super::class::{ATTRIBUTE, ObjectClass, RowClass};
use super::row::{PUBLIC, gives, granted};
use super::selector;
use crate::api::{MatrixMode, Privilege, PrivilegeScope};
use crate::run::facts::{EscalationFacts, PrivilegeRow};

/// Maximum number of example paths in the facts.
const EXAMPLES: usize = 3;
/// Name of the path of a role's own attribute in escalations.sql.
const OF_ATTRIBUTE: &str = "attribute";
/// Attributes of which the declaration says all: they reach no other role and not the server's
/// operating system.
const HARMLESS: [&str; 2] = ["BYPASSRLS", "CREATEDB"];
/// Name of the path of a privilege of PUBLIC.
const THROUGH_PUBLIC: &str = "through PUBLIC";

/// A way in which a role could get more: a row of the query `escalations.sql`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EscalationPath {
    /// The role, `public` when the path is open to PUBLIC.
    pub role: String,
    /// The kind of path.
    pub why: String,
    /// Object or privilege at the end of the path.
    pub what: String,
}

impl EscalationPath {
    fn to_text(&self) -> String {
        format!("{}: {}: {}", self.role, self.why, self.what)
    }
}

/// An entry of the allow-list: a path, or a pattern of paths with their number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Allowed {
    pub(super) path: EscalationPath,
    pub(super) expected: Option<u32>,
}

impl Allowed {
    fn allows(&self, path: &EscalationPath) -> bool {
        let matches = |pattern: &str, text: &str| {
            let pieces: Vec<String> = pattern.split('*').map(str::to_owned).collect();
            pattern == text || selector::matches(&pieces, text)
        };
        self.path.role == path.role
            && matches(&self.path.why, &path.why)
            && matches(&self.path.what, &path.what)
    }

    /// A sentence when it allows another number of paths than it must.
    fn complaint(&self, paths: u64) -> Option<String> {
        let path = self.path.to_text();
        match self.expected {
            _ if paths == 0 => Some(format!("the allowed escalation `{path}` matches nothing")),
            Some(expected) if paths != u64::from(expected) => Some(format!(
                "the allowed escalation `{path}` matches {paths}, expectPaths is {expected}"
            )),
            Some(_) | None => None,
        }
    }
}

/// Judges the paths that were found, and what PUBLIC has among the rows that were found, by the
/// allow-list of a matrix.
///
/// Only declared roles are judged, and PUBLIC, since it includes them. A path that gives more than
/// its row says needs an entry with a reason, also when the row itself is declared.
pub fn escalations(
    matrix: &Compiled,
    found: &BTreeSet<EscalationPath>,
    rows: &BTreeSet<PrivilegeRow>,
) -> EscalationFacts {
    let is_judged = |path: &&EscalationPath| {
        (path.role == PUBLIC || matrix.roles.contains(&path.role)) && !is_declared(matrix, path)
    };
    let mut judged: BTreeSet<EscalationPath> = found.iter().filter(is_judged).cloned().collect();
    judged.extend(through_public(matrix, found, rows));
    let mut allowed = vec![0; matrix.escalation_allowed.len()];
    let mut unexpected = Vec::new();
    for path in &judged {
        let mut is_allowed = false;
        for (entry, paths) in matrix.escalation_allowed.iter().zip(&mut allowed) {
            if entry.allows(path) {
                *paths += 1;
                is_allowed = true;
            }
        }
        if !is_allowed {
            unexpected.push(path);
        }
    }
    EscalationFacts {
        found: judged.len() as u64,
        unexpected: unexpected.len() as u64,
        executable_by_public: executable(rows),
        examples: unexpected
            .iter()
            .take(EXAMPLES)
            .map(|path| path.to_text())
            .collect(),
        vain: matrix
            .escalation_allowed
            .iter()
            .zip(allowed)
            .filter_map(|(entry, paths)| entry.complaint(paths))
            .collect(),
    }
}

fn is_declared(matrix: &Compiled, path: &EscalationPath) -> bool {
    let row = || {
        granted(
            ATTRIBUTE,
            &path.role,
            &path.role,
            &format!("{}=true", path.what),
            false,
        )
    };
    path.why == OF_ATTRIBUTE
        && HARMLESS.contains(&path.what.as_str())
        && matrix.rows.contains(&row())
}

/// Privileges that every declared role has through PUBLIC, and no grant to PUBLIC declares. Where
/// the whole database or more than the matrix is allowed, there are none.
///
/// What Postgres gives PUBLIC on every database, type and language is left out, and so is what
/// another path tells.
fn through_public(
    matrix: &Compiled,
    found: &BTreeSet<EscalationPath>,
    rows: &BTreeSet<PrivilegeRow>,
) -> Vec<EscalationPath> {
    if matrix.scope == PrivilegeScope::Database || matrix.mode == MatrixMode::AtLeast {
        return Vec::new();
    }
    let told: BTreeSet<&str> = found
        .iter()
        .filter(|path| path.role == PUBLIC)
        .map(|path| path.what.as_str())
        .collect();
    let is_path = |row: &&PrivilegeRow| match RowClass::parse(&row.class) {
        RowClass::Object(class) => match class {
            ObjectClass::Function | ObjectClass::Procedure => !told.contains(row.object.as_str()),
            ObjectClass::Schema => {
                row.privilege != Privilege::Create.as_sql() || row.object.starts_with("pg_")
            }
            ObjectClass::Database
            | ObjectClass::Type
            | ObjectClass::Domain
            | ObjectClass::Language
            | ObjectClass::Parameter => false,
            ObjectClass::Table
            | ObjectClass::View
            | ObjectClass::Matview
            | ObjectClass::ForeignTable
            | ObjectClass::Sequence
            | ObjectClass::LargeObject
            | ObjectClass::Fdw
            | ObjectClass::ForeignServer
            | ObjectClass::Tablespace => true,
        },
        RowClass::Column => true,
        RowClass::Attribute
        | RowClass::Membership
        | RowClass::Setting
        | RowClass::DefaultAcl
        | RowClass::Owner
        | RowClass::UserMapping
        | RowClass::Definition => false,
    };
    of_public(rows)
        .filter(is_path)
        .filter(|row| !matrix.rows.contains(*row))
        .map(|row| EscalationPath {
            role: PUBLIC.to_owned(),
            why: THROUGH_PUBLIC.to_owned(),
            what: format!("{} on {}:{}", row.privilege, row.class, row.object),
        })
        .collect()
}

fn of_public(rows: &BTreeSet<PrivilegeRow>) -> impl Iterator<Item = &PrivilegeRow> {
    rows.iter()
        .filter(|row| row.grantee == PUBLIC && gives(row))
}

/// The routines that PUBLIC may execute, by class.
fn executable(rows: &BTreeSet<PrivilegeRow>) -> BTreeMap<String, u64> {
    let mut routines = BTreeMap::new();
    let is_routine = |row: &&PrivilegeRow| matches!(RowClass::parse(&row.class), RowClass::Object(class) if class.is_routine());
    for row in of_public(rows).filter(is_routine) {
        *routines.entry(row.class.clone()).or_default() += 1;
    }
    routines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path([role, why, what]: [&str; 3]) -> EscalationPath {
        EscalationPath {
            role: role.into(),
            why: why.into(),
            what: what.into(),
        }
    }

    fn matrix(allowed: &[([&str; 3], Option<u32>)]) -> Compiled {
        Compiled {
            rows: [
                granted(ATTRIBUTE, "a", "a", "CREATEDB=true", false),
                granted(ATTRIBUTE, "a", "a", "CREATEROLE=true", false),
            ]
            .into(),
            roles: ["a".to_owned(), "b".to_owned()].into(),
            escalation_allowed: allowed
                .iter()
                .map(|(entry, expected)| Allowed {
                    path: path(*entry),
                    expected: *expected,
                })
                .collect(),
            ..Compiled::default()
        }
    }

    fn judge(allowed: &[([&str; 3], Option<u32>)], found: &[[&str; 3]]) -> EscalationFacts {
        let found = found.iter().copied().map(path).collect();
        escalations(&matrix(allowed), &found, &BTreeSet::new())
    }

    #[test]
    fn only_declared_roles_and_everybody_are_judged() {
        let found = [
            ["a", "CREATE in schema", "public"],
            ["other", "CREATE in schema", "public"],
            ["public", "SECURITY DEFINER as owner", "f()"],
        ];
        let facts = judge(&[], &found);
        assert_eq!((facts.found, facts.unexpected), (2, 2));
        assert_eq!(
            facts.examples,
            [
                "a: CREATE in schema: public",
                "public: SECURITY DEFINER as owner: f()"
            ]
        );
    }

    #[test]
    fn what_is_allowed_must_be_there() {
        let allowed = ["a", "predefined role", "pg_monitor"];
        assert_eq!(
            judge(&[(allowed, None)], &[allowed]),
            EscalationFacts {
                found: 1,
                ..EscalationFacts::default()
            }
        );
        assert_eq!(
            judge(&[(allowed, None)], &[]).vain,
            ["the allowed escalation `a: predefined role: pg_monitor` matches nothing"]
        );
        // For another role, or of another kind, it is another path.
        let facts = judge(
            &[(allowed, None)],
            &[["b", "predefined role", "pg_monitor"]],
        );
        assert_eq!((facts.unexpected, facts.vain.len()), (1, 1));
    }

    #[test]
    fn one_pattern_allows_hundreds_and_tells_their_number() {
        let names: Vec<String> = (0..312).map(|number| format!("app.f{number}()")).collect();
        let mut found: Vec<[&str; 3]> = names
            .iter()
            .map(|name| ["public", "SECURITY DEFINER as owner", name.as_str()])
            .collect();
        let pattern = ["public", "SECURITY DEFINER*", "app.*"];
        assert_eq!(
            judge(&[(pattern, Some(312))], &found),
            EscalationFacts {
                found: 312,
                ..EscalationFacts::default()
            }
        );
        found.push(["public", "SECURITY DEFINER as owner", "app.new()"]);
        assert_eq!(
            judge(&[(pattern, Some(312))], &found).vain,
            [
                "the allowed escalation `public: SECURITY DEFINER*: app.*` matches 313, expectPaths is 312"
            ]
        );
        assert_eq!(
            judge(&[(pattern, Some(312))], &[]).vain,
            ["the allowed escalation `public: SECURITY DEFINER*: app.*` matches nothing"]
        );
        // Paths of other roles and of other kinds are not covered.
        let facts = judge(
            &[(pattern, Some(1))],
            &[
                ["public", "SECURITY DEFINER as owner", "app.f()"],
                ["a", "SECURITY DEFINER as owner", "app.f()"],
                ["public", "CREATE in schema", "app.f"],
            ],
        );
        assert_eq!((facts.unexpected, facts.vain), (2, vec![]));
    }

    #[test]
    fn a_declared_attribute_that_reaches_another_role_is_a_path_all_the_same() {
        let facts = judge(
            &[],
            &[
                ["a", "attribute", "CREATEDB"],
                ["a", "attribute", "CREATEROLE"],
                ["a", "attribute", "BYPASSRLS"],
                ["b", "reaches CREATEDB", "a"],
            ],
        );
        assert_eq!(
            facts.examples,
            [
                "a: attribute: BYPASSRLS",
                "a: attribute: CREATEROLE",
                "b: reaches CREATEDB: a"
            ]
        );
    }

    #[test]
    fn what_everybody_has_is_declared_or_a_path() {
        let rows: BTreeSet<PrivilegeRow> = [
            ("table", "iu.salary", "UPDATE"),
            ("table", "iu.unit", "SELECT"),
            ("column", "iu.unit.note", "SELECT"),
            ("schema", "iu", "USAGE"),
            ("schema", "iu", "CREATE"),
            ("schema", "pg_catalog", "CREATE"),
            ("large_object", "16500", "SELECT"),
            ("function", "iu.cut(text)", "EXECUTE"),
            ("function", "iu.root()", "EXECUTE"),
            ("procedure", "iu.tidy()", "EXECUTE"),
            ("database", "stock", "CONNECT"),
            ("type", "iu.mood", "USAGE"),
        ]
        .map(|(class, object, privilege)| granted(class, object, PUBLIC, privilege, false))
        .into_iter()
        .chain([
            granted("table", "iu.other", "other", "SELECT", false),
            PrivilegeRow {
                sign: "-".into(),
                ..granted("view", "pg_catalog.pg_stats", PUBLIC, "SELECT", false)
            },
        ])
        .collect();
        let found = [path(["public", "SECURITY DEFINER as owner", "iu.root()"])].into();
        let mut matrix = matrix(&[
            (["public", "through PUBLIC", "* on *"], Some(7)),
            (["public", "SECURITY DEFINER as owner", "iu.root()"], None),
        ]);
        matrix
            .rows
            .insert(granted("table", "iu.unit", PUBLIC, "SELECT", false));
        let facts = escalations(&matrix, &found, &rows);
        assert_eq!((facts.unexpected, facts.vain), (0, vec![]));
        let routines = [("function".to_owned(), 2), ("procedure".to_owned(), 1)];
        assert_eq!(facts.executable_by_public, routines.into());

        matrix.escalation_allowed.clear();
        let facts = escalations(&matrix, &BTreeSet::new(), &rows);
        assert_eq!(
            (facts.unexpected, facts.examples[1].as_str()),
            (
                8,
                "public: through PUBLIC: EXECUTE on function:iu.cut(text)"
            )
        );
        // Where all rows of the database are compared, these are among them.
        for (scope, mode) in [
            (PrivilegeScope::Database, MatrixMode::Exact),
            (PrivilegeScope::DeclaredRoles, MatrixMode::AtLeast),
        ] {
            (matrix.scope, matrix.mode) = (scope, mode);
            assert_eq!(escalations(&matrix, &BTreeSet::new(), &rows).found, 0);
        }
    }

    #[test]
    fn three_examples_stand_for_all() {
        let names: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let found: Vec<[&str; 3]> = names
            .iter()
            .map(|name| ["a", "CREATE in schema", name.as_str()])
            .collect();
        let facts = judge(&[], &found);
        assert_eq!((facts.unexpected, facts.examples.len()), (100, 3));
    }
}
