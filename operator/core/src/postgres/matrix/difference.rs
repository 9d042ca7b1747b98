//! The matrix compared with what was found.

use std::collections::{BTreeMap, BTreeSet};

use super::Compiled;
use super::row::{gives, line, summary};
use super::scope::{Place, Scope};
use crate::api::MatrixMode;
use crate::run::facts::{MatrixDifference, PrivilegeRow, RowGroup};

/// Maximum number of example objects in a group.
const EXAMPLES: usize = 3;
/// Maximum number of groups in a difference: facts are small, however much differs.
const GROUPS: usize = 64;
/// Class of the group that counts the rows of all further groups.
const FURTHER: &str = "further";
/// Characters of an object or a privilege: definitions of policies and signatures of routines have
/// no bound.
const LENGTH: usize = 256;

/// Compares a matrix with the rows that were found.
///
/// `baseline` are the rows right after the restore, once production's grants to the declared roles
/// were revoked: what the matrix has no words for must be as there, in every mode, for the loss of
/// a policy or a REVOKE gives rights as a grant does. `own` are the roles of the run, such as its
/// bootstrap superuser; what they have is left out.
pub fn compare(
    matrix: &Compiled,
    found: &BTreeSet<PrivilegeRow>,
    baseline: &BTreeSet<PrivilegeRow>,
    own: &BTreeSet<String>,
) -> MatrixDifference {
    let scope = Scope::new(matrix, found, own);
    let is_baseline = |row: &PrivilegeRow| scope.place(row) == Place::Baseline;
    let is_kept = |row: &PrivilegeRow| is_baseline(row) && !matrix.given_back.contains(row);
    let mut missing: BTreeSet<&PrivilegeRow> = matrix.rows.difference(found).collect();
    missing.extend(baseline.difference(found).filter(|row| is_kept(row)));
    let mut in_matrix = found.intersection(&matrix.rows).count() as u64;
    let (mut unexpected, mut rest) = (BTreeSet::new(), Vec::new());
    for row in found.difference(&matrix.rows) {
        match scope.place(row) {
            Place::Matrix => {
                in_matrix += 1;
                unexpected.insert(row);
            }
            Place::Baseline => {
                if !(baseline.contains(row) && is_kept(row)) {
                    unexpected.insert(row);
                }
                rest.push(row);
            }
            Place::Rest => rest.push(row),
            Place::Own => {}
        }
    }
    let vain = matrix
        .waivers
        .iter()
        .filter(|row| !missing.contains(row) && !unexpected.contains(row));
    let errors = vain
        .map(|row| {
            format!(
                "the waiver for `{}` matches nothing",
                line(row).replace('\t', " ")
            )
        })
        .collect();
    let counts = |row: &&&PrivilegeRow, other: MatrixMode| {
        (matrix.mode != other || is_baseline(row)) && !matrix.waivers.contains(**row)
    };
    MatrixDifference {
        declared: matrix.rows.len() as u64,
        found: in_matrix,
        missing: groups(
            missing
                .iter()
                .filter(|row| counts(row, MatrixMode::AtMost))
                .copied(),
        ),
        unexpected: groups(
            unexpected
                .iter()
                .filter(|row| counts(row, MatrixMode::AtLeast))
                .copied(),
        ),
        errors,
        rest: summary(rest),
        ..MatrixDifference::default()
    }
}

/// Rows by class, grantee and privilege.
fn groups<'a>(rows: impl Iterator<Item = &'a PrivilegeRow>) -> Vec<RowGroup> {
    let mut groups: BTreeMap<(&str, &str, String), RowGroup> = BTreeMap::new();
    for row in rows {
        let group = groups
            .entry((&row.class, &row.grantee, privilege(row)))
            .or_default();
        group.rows += 1;
        if group.examples.len() < EXAMPLES {
            group.examples.push(cut(&row.object));
        }
    }
    let mut groups: Vec<RowGroup> = groups
        .into_iter()
        .map(|((class, grantee, privilege), group)| RowGroup {
            class: class.to_owned(),
            grantee: grantee.to_owned(),
            privilege,
            ..group
        })
        .collect();
    if groups.len() > GROUPS {
        let rows = groups
            .split_off(GROUPS - 1)
            .iter()
            .map(|group| group.rows)
            .sum();
        groups.push(RowGroup {
            class: FURTHER.to_owned(),
            rows,
            ..RowGroup::default()
        });
    }
    groups
}

fn cut(text: &str) -> String {
    text.chars().take(LENGTH).collect()
}

/// The privilege as shown to users: rows that differ in the grant option or the sign alone must not
/// read alike.
fn privilege(row: &PrivilegeRow) -> String {
    let privilege = cut(&row.privilege);
    match (gives(row), row.grantable) {
        (true, false) => privilege,
        (true, true) => format!("{privilege}, grantable"),
        (false, _) => format!("{privilege}, taken away"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::matrix::row::granted;
    use crate::postgres::matrix::row::tests::any_row;
    use proptest::prelude::*;

    fn matrix(mode: MatrixMode, rows: &[PrivilegeRow]) -> Compiled {
        Compiled {
            rows: rows.iter().cloned().collect(),
            roles: ["a".to_owned(), "b".to_owned()].into(),
            mode,
            ..Compiled::default()
        }
    }

    fn select(object: &str, grantee: &str) -> PrivilegeRow {
        granted("table", object, grantee, "SELECT", false)
    }

    fn set(rows: &[PrivilegeRow]) -> BTreeSet<PrivilegeRow> {
        rows.iter().cloned().collect()
    }

    fn count(groups: &[RowGroup]) -> u64 {
        groups.iter().map(|group| group.rows).sum()
    }

    #[test]
    fn differences_are_grouped_with_three_examples() {
        let declared = [select("iu.x", "a")];
        let found: Vec<PrivilegeRow> = (1..=5)
            .map(|number| select(&format!("iu.t{number}"), "a"))
            .chain([select("iu.t1", "other")])
            .collect();
        let difference = compare(
            &matrix(MatrixMode::Exact, &declared),
            &set(&found),
            &BTreeSet::new(),
            &BTreeSet::new(),
        );
        let group = |rows, examples: &[&str]| RowGroup {
            class: "table".into(),
            grantee: "a".into(),
            privilege: "SELECT".into(),
            rows,
            examples: examples.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(difference.missing, [group(1, &["iu.x"])]);
        assert_eq!(
            difference.unexpected,
            [group(5, &["iu.t1", "iu.t2", "iu.t3"])]
        );
        assert_eq!(
            (difference.declared, difference.found, difference.rest),
            (1, 5, summary(&[select("iu.t1", "other")]))
        );
    }

    #[test]
    fn a_difference_is_bounded() {
        let found: Vec<PrivilegeRow> = (0..100)
            .map(|number| granted("secdef", "f()", "x", &format!("{number:0>300}"), false))
            .collect();
        let difference = compare(
            &matrix(MatrixMode::Exact, &[]),
            &set(&found),
            &BTreeSet::new(),
            &BTreeSet::new(),
        );
        assert_eq!(
            (difference.unexpected.len(), count(&difference.unexpected)),
            (1, 100)
        );
        let found: Vec<PrivilegeRow> = (0..100)
            .map(|number| granted("secdef", "f()", "x", &number.to_string(), false))
            .collect();
        let difference = compare(
            &matrix(MatrixMode::Exact, &[]),
            &set(&found),
            &BTreeSet::new(),
            &BTreeSet::new(),
        );
        assert_eq!(
            (difference.unexpected.len(), count(&difference.unexpected)),
            (GROUPS, 100)
        );
        assert_eq!(
            difference
                .unexpected
                .last()
                .map(|group| (group.class.as_str(), group.rows)),
            Some((FURTHER, 37))
        );
    }

    #[test]
    fn rows_that_differ_in_one_field_read_differently() {
        let with_option = PrivilegeRow {
            grantable: true,
            ..select("iu.x", "a")
        };
        let difference = compare(
            &matrix(MatrixMode::Exact, &[select("iu.x", "a")]),
            &set(&[with_option]),
            &BTreeSet::new(),
            &BTreeSet::new(),
        );
        let privileges: Vec<&str> = difference
            .missing
            .iter()
            .chain(&difference.unexpected)
            .map(|group| group.privilege.as_str())
            .collect();
        assert_eq!(privileges, ["SELECT", "SELECT, grantable"]);
    }

    #[test]
    fn the_baseline_is_kept_in_every_mode() {
        let policy = granted("policy", "iu.x.p", "public", "RESTRICTIVE", false);
        for mode in [MatrixMode::Exact, MatrixMode::AtMost, MatrixMode::AtLeast] {
            let lost = compare(
                &matrix(mode, &[]),
                &BTreeSet::new(),
                &set(std::slice::from_ref(&policy)),
                &BTreeSet::new(),
            );
            let new = compare(
                &matrix(mode, &[]),
                &set(std::slice::from_ref(&policy)),
                &BTreeSet::new(),
                &BTreeSet::new(),
            );
            assert_eq!(
                (count(&lost.missing), count(&new.unexpected)),
                (1, 1),
                "{mode:?}"
            );
        }
    }

    #[test]
    fn a_declared_grant_to_public_extends_the_baseline() {
        let (old, new) = (select("iu.x", "public"), select("iu.y", "public"));
        let matrix = matrix(MatrixMode::Exact, std::slice::from_ref(&new));
        let difference = compare(
            &matrix,
            &set(&[old.clone(), new]),
            &set(&[old]),
            &BTreeSet::new(),
        );
        assert_eq!(
            (difference.missing, difference.unexpected, difference.found),
            (vec![], vec![], 1)
        );
    }

    #[test]
    fn what_is_given_back_to_public_leaves_the_baseline() {
        let taken = PrivilegeRow {
            sign: "-".into(),
            ..granted("schema", "public", "public", "USAGE", false)
        };
        let matrix = Compiled {
            given_back: set(std::slice::from_ref(&taken)),
            ..matrix(MatrixMode::Exact, &[])
        };
        let baseline = set(&[taken]);
        assert_eq!(
            count(&compare(&matrix, &BTreeSet::new(), &baseline, &BTreeSet::new()).missing),
            0
        );
        assert_eq!(
            count(&compare(&matrix, &baseline, &baseline, &BTreeSet::new()).unexpected),
            1
        );
    }

    #[test]
    fn waivers_accept_a_difference_and_must_match_one() {
        let row = select("iu.x", "a");
        let waived = Compiled {
            waivers: set(std::slice::from_ref(&row)),
            ..matrix(MatrixMode::Exact, &[])
        };
        let difference = compare(&waived, &set(&[row]), &BTreeSet::new(), &BTreeSet::new());
        assert_eq!((difference.unexpected, difference.errors), (vec![], vec![]));
        let vain = compare(
            &waived,
            &BTreeSet::new(),
            &BTreeSet::new(),
            &BTreeSet::new(),
        );
        assert_eq!(
            vain.errors,
            ["the waiver for `table iu.x a SELECT false +` matches nothing"]
        );
    }

    proptest! {
        #[test]
        fn equal_sets_have_no_difference(rows in prop::collection::vec(any_row(), 0..30)) {
            for mode in [MatrixMode::Exact, MatrixMode::AtMost, MatrixMode::AtLeast] {
                let difference = compare(&matrix(mode, &rows), &set(&rows), &set(&rows), &BTreeSet::new());
                prop_assert_eq!((difference.missing, difference.unexpected), (vec![], vec![]));
            }
        }

        #[test]
        fn a_missing_row_is_reported(rows in prop::collection::vec(any_row(), 1..30), index: prop::sample::Index) {
            let missing = index.get(&rows);
            let mut found = set(&rows);
            found.remove(missing);
            for mode in [MatrixMode::Exact, MatrixMode::AtLeast] {
                let difference = compare(&matrix(mode, &rows), &found, &set(&rows), &BTreeSet::new());
                prop_assert_eq!(count(&difference.missing), 1);
                prop_assert_eq!(&difference.missing[0].examples, std::slice::from_ref(&missing.object));
            }
        }

        #[test]
        fn an_extra_row_in_scope_is_reported(rows in prop::collection::vec(any_row(), 0..30), extra in any_row()) {
            let mut found = set(&rows);
            prop_assume!(found.insert(extra.clone()));
            for mode in [MatrixMode::Exact, MatrixMode::AtMost] {
                let matrix = matrix(mode, &rows);
                let own = BTreeSet::new();
                let in_scope = matches!(Scope::new(&matrix, &found, &own).place(&extra), Place::Matrix | Place::Baseline);
                let difference = compare(&matrix, &found, &set(&rows), &own);
                prop_assert_eq!(count(&difference.unexpected), u64::from(in_scope));
            }
        }

        #[test]
        fn every_row_is_counted_once(rows in prop::collection::vec(any_row(), 0..30)) {
            let found = set(&rows);
            let difference = compare(&matrix(MatrixMode::Exact, &[]), &found, &found, &BTreeSet::new());
            prop_assert_eq!(difference.found + difference.rest.rows, found.len() as u64);
        }
    }
}
