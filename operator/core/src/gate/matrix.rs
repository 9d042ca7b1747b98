//! What the two matrix gates have in common.

use super::{Verdict, count};
use crate::facts::{MatrixDifference, RowGroup};

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
    let took = milliseconds.map_or_else(String::new, |ms| format!(" in {ms} ms"));
    Verdict::pass(format!(
        "{} equal{took}; {} outside the scope",
        count(difference.found, "row"),
        difference.rest.rows
    ))
}

/// The reasons of both gates.
pub(super) const REASONS: [(&str, &str); 2] = [
    (
        "MatrixDiffers",
        "A declared privilege is missing, or one is there that was not declared.",
    ),
    (
        "InvalidMatrix",
        "A declaration cannot hold: a pattern matches nothing or another number of rows, an object does not exist, a waiver has expired.",
    ),
];
