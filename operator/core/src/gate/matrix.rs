//! Code shared by the two matrix gates.

use super::{Verdict, count};
use crate::run::facts::{MatrixDifference, RowGroup};

/// Judges a comparison of the matrix with what was found.
pub(super) fn judge(difference: &MatrixDifference, milliseconds: Option<u64>) -> Verdict {
    if let Some(error) = difference.errors.first() {
        return Verdict::fail("InvalidMatrix", error.clone());
    }
    let rows = |groups: &[RowGroup]| groups.iter().map(|g| g.rows).sum::<u64>();
    let (missing, unexpected) = (rows(&difference.missing), rows(&difference.unexpected));
    if missing + unexpected > 0 {
        let first = difference
            .missing
            .iter()
            .chain(&difference.unexpected)
            .next();
        let example = first.map(|g| {
            format!(
                "{} {} for {}: {}",
                g.privilege,
                g.class,
                g.grantee,
                g.examples.join(", ")
            )
        });
        return Verdict::fail(
            "MatrixDiffers",
            format!(
                "{missing} missing, {unexpected} unexpected; {}",
                example.unwrap_or_default()
            ),
        );
    }
    let paths = &difference.escalations;
    if let Some(vain) = paths.vain.first() {
        return Verdict::fail("InvalidMatrix", vain.clone());
    }
    if paths.unexpected > 0 {
        return Verdict::fail(
            "EscalationPath",
            format!(
                "{} that no escalationAllowed names: {}",
                count(paths.unexpected, "path"),
                paths.examples.join("; ")
            ),
        );
    }
    let took = milliseconds.map_or_else(String::new, |ms| format!(" in {ms} ms"));
    let executable: Vec<String> = paths
        .executable_by_public
        .iter()
        .map(|(class, routines)| count(*routines, class))
        .collect();
    let executable = match executable.as_slice() {
        [] => String::new(),
        _ => format!("; PUBLIC may EXECUTE {}", executable.join(", ")),
    };
    Verdict::pass(format!(
        "{} equal{took}; {} outside the scope; {} allowed{executable}",
        count(difference.found, "row"),
        difference.rest.rows,
        count(paths.found, "escalation path")
    ))
}

/// The reasons of both gates.
pub(super) const REASONS: [(&str, &str); 3] = [
    (
        "MatrixDiffers",
        "A declared privilege is missing, or one is there that was not declared.",
    ),
    (
        "InvalidMatrix",
        "A declaration cannot hold: a pattern matches nothing or another number of rows, an object does not exist, a waiver has expired, an accepted difference or path is not there or not as often.",
    ),
    (
        "EscalationPath",
        "A declared role could get more than its rows say, through PUBLIC for one, by a path that privileges.escalationAllowed does not name.",
    ),
];

/// A change that makes a comparison fail.
#[cfg(test)]
type Spoil = fn(&mut MatrixDifference);

/// Spoils a comparison in every way that both gates fail by, with the reason.
#[cfg(test)]
pub(super) fn spoil() -> Vec<(&'static str, Spoil)> {
    use crate::run::facts::EscalationFacts;
    fn rows() -> Vec<RowGroup> {
        vec![RowGroup {
            rows: 1,
            ..RowGroup::default()
        }]
    }
    vec![
        ("MatrixDiffers", |difference| difference.missing = rows()),
        ("MatrixDiffers", |difference| difference.unexpected = rows()),
        ("InvalidMatrix", |difference| {
            difference.errors = vec!["view:iu.* matches 12 rows, not 13".into()]
        }),
        ("InvalidMatrix", |difference| {
            difference.escalations.vain = vec!["the allowed escalation matches nothing".into()]
        }),
        ("EscalationPath", |difference| {
            difference.escalations = EscalationFacts {
                found: 2,
                unexpected: 1,
                examples: vec!["cutter_exec: CREATE in schema: public".into()],
                ..EscalationFacts::default()
            }
        }),
    ]
}
