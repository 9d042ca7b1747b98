//! How declared roles could get more than their rows say.

use std::collections::BTreeSet;

use super::Compiled;
use super::class::ATTRIBUTE;
use super::row::{PUBLIC, granted};
use crate::run::facts::EscalationFacts;

/// How many paths stand in the facts as examples.
const EXAMPLES: usize = 3;
/// What the path of an attribute of the role itself is called in escalations.sql.
const OF_ATTRIBUTE: &str = "attribute";

/// A way in which a role could get more: a row of the query `escalations.sql`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EscalationPath {
    /// The role, `public` when the path is open to everybody.
    pub role: String,
    /// The kind of path.
    pub why: String,
    /// What is reached.
    pub what: String,
}

impl EscalationPath {
    fn to_text(&self) -> String {
        format!("{}: {}: {}", self.role, self.why, self.what)
    }
}

/// Judges the paths that were found by the allow-list of a matrix.
///
/// Only declared roles are judged, and everybody, since that includes them. An attribute that the matrix declares is no path: the declaration says all
/// of it. Whatever else gives more than its row says needs an entry with a reason, also when the row itself is declared.
pub fn escalations(matrix: &Compiled, found: &BTreeSet<EscalationPath>) -> EscalationFacts {
    let is_judged = |path: &&EscalationPath| {
        (path.role == PUBLIC || matrix.roles.contains(&path.role)) && !is_declared(matrix, path)
    };
    let judged: Vec<&EscalationPath> = found.iter().filter(is_judged).collect();
    let unexpected: Vec<&&EscalationPath> = judged
        .iter()
        .filter(|path| !matrix.escalation_allowed.contains(**path))
        .collect();
    EscalationFacts {
        found: judged.len() as u64,
        unexpected: unexpected.len() as u64,
        examples: unexpected
            .iter()
            .take(EXAMPLES)
            .map(|path| path.to_text())
            .collect(),
        vain: matrix
            .escalation_allowed
            .iter()
            .filter(|path| !judged.contains(path))
            .map(|path| {
                format!(
                    "the allowed escalation `{}` matches nothing",
                    path.to_text()
                )
            })
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
    path.why == OF_ATTRIBUTE && matrix.rows.contains(&row())
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

    fn judge(allowed: &[[&str; 3]], found: &[[&str; 3]]) -> EscalationFacts {
        let matrix = Compiled {
            rows: [granted(ATTRIBUTE, "a", "a", "CREATEDB=true", false)].into(),
            roles: ["a".to_owned(), "b".to_owned()].into(),
            escalation_allowed: allowed.iter().copied().map(path).collect(),
            ..Compiled::default()
        };
        escalations(&matrix, &found.iter().copied().map(path).collect())
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
            judge(&[allowed], &[allowed]),
            EscalationFacts {
                found: 1,
                ..EscalationFacts::default()
            }
        );
        assert_eq!(
            judge(&[allowed], &[]).vain,
            ["the allowed escalation `a: predefined role: pg_monitor` matches nothing"]
        );
        // For another role, or of another kind, it is another path.
        let facts = judge(&[allowed], &[["b", "predefined role", "pg_monitor"]]);
        assert_eq!((facts.unexpected, facts.vain.len()), (1, 1));
    }

    #[test]
    fn a_declared_attribute_is_no_path_and_another_one_is() {
        let facts = judge(
            &[],
            &[
                ["a", "attribute", "CREATEDB"],
                ["a", "attribute", "SUPERUSER"],
                ["b", "reaches CREATEDB", "a"],
            ],
        );
        assert_eq!(
            facts.examples,
            ["a: attribute: SUPERUSER", "b: reaches CREATEDB: a"]
        );
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
