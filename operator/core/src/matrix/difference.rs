//! The matrix compared with what was found.

use std::collections::{BTreeMap, BTreeSet};

use super::Compiled;
use super::row::{gives, line, summary};
use super::scope::{Place, Scope};
use crate::api::MatrixMode;
use crate::facts::{MatrixDifference, PrivilegeRow, RowGroup};

/// How many objects stand in a group as examples.
const EXAMPLES: usize = 3;

/// Compares a matrix with the rows that were found.
///
/// `baseline` are the rows right after the restore, once production's grants to the declared roles were revoked: what the matrix has no words for must
/// be as there, whatever the mode, for the loss of a policy or a REVOKE gives rights as a grant does. `own` are the roles of the run, such as its
/// bootstrap superuser; what they have is left out.
pub fn compare(
    matrix: &Compiled,
    found: &BTreeSet<PrivilegeRow>,
    baseline: &BTreeSet<PrivilegeRow>,
    own: &BTreeSet<String>,
) -> MatrixDifference {
    let scope = Scope::new(matrix, found, own);
    let is_baseline = |row: &PrivilegeRow| scope.place(row) == Place::Baseline;
    let kept = baseline.iter().filter(|row| is_baseline(row) && !matrix.given_back.contains(row));
    let expected: BTreeSet<&PrivilegeRow> = matrix.rows.iter().chain(kept).collect();
    let (mut in_matrix, mut actual, mut rest) = (0, BTreeSet::new(), Vec::new());
    for row in found {
        let place = scope.place(row);
        let declared = matrix.rows.contains(row);
        if declared || matches!(place, Place::Matrix | Place::Baseline) {
            actual.insert(row);
        }
        if declared || place == Place::Matrix {
            in_matrix += 1;
        } else if place != Place::Own {
            rest.push(row);
        }
    }
    let missing: BTreeSet<&PrivilegeRow> = expected.difference(&actual).copied().collect();
    let unexpected: BTreeSet<&PrivilegeRow> = actual.difference(&expected).copied().collect();
    let vain = matrix.waivers.iter().filter(|row| !missing.contains(row) && !unexpected.contains(row));
    let errors = vain.map(|row| format!("the waiver for `{}` matches nothing", line(row).replace('\t', " "))).collect();
    let counts = |row: &&&PrivilegeRow, other: MatrixMode| (matrix.mode != other || is_baseline(row)) && !matrix.waivers.contains(**row);
    MatrixDifference {
        declared: matrix.rows.len() as u64,
        found: in_matrix,
        missing: groups(missing.iter().filter(|row| counts(row, MatrixMode::AtMost)).copied()),
        unexpected: groups(unexpected.iter().filter(|row| counts(row, MatrixMode::AtLeast)).copied()),
        errors,
        rest: summary(rest),
    }
}

/// Rows by class, grantee and privilege.
fn groups<'a>(rows: impl Iterator<Item = &'a PrivilegeRow>) -> Vec<RowGroup> {
    let mut groups: BTreeMap<(&str, &str, String), RowGroup> = BTreeMap::new();
    for row in rows {
        let group = groups.entry((&row.class, &row.grantee, privilege(row))).or_default();
        group.rows += 1;
        if group.examples.len() < EXAMPLES {
            group.examples.push(row.object.clone());
        }
    }
    groups
        .into_iter()
        .map(|((class, grantee, privilege), group)| RowGroup { class: class.to_owned(), grantee: grantee.to_owned(), privilege, ..group })
        .collect()
}

/// The privilege as a person is told of it: rows that differ in the grant option or the sign alone must not read alike.
fn privilege(row: &PrivilegeRow) -> String {
    let privilege = &row.privilege;
    match (gives(row), row.grantable) {
        (true, false) => privilege.clone(),
        (true, true) => format!("{privilege}, grantable"),
        (false, _) => format!("{privilege}, taken away"),
    }
}
