//! G-09 MatrixExact.

use super::{Evidence, Gate, Verdict, matrix};
use crate::command::Command;

pub(super) static GATE: Gate = Gate {
    id: "G-09",
    name: "MatrixExact",
    doc: "The whole access control of the copy, read back as a set, equals the frozen matrix in its scope, columns, memberships and attributes included.",
    command: Command::Roles,
    evidence: &["/roles"],
    needs: &["G-08"],
    reasons: &matrix::REASONS,
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    match &evidence.facts.roles {
        Some(roles) => matrix::judge(&roles.applied, Some(roles.milliseconds)),
        None => Verdict::pending(),
    }
}

#[cfg(test)]
fn worlds() -> crate::testing::Worlds {
    use crate::facts::RowGroup;
    use crate::testing::{World, Worlds};
    Worlds {
        fail: vec![
            (
                "MatrixDiffers",
                World::with(|f| {
                    f.roles.as_mut().unwrap().applied.missing = vec![RowGroup {
                        rows: 1,
                        ..RowGroup::default()
                    }]
                }),
            ),
            (
                "MatrixDiffers",
                World::with(|f| {
                    f.roles.as_mut().unwrap().applied.unexpected = vec![RowGroup {
                        rows: 1,
                        ..RowGroup::default()
                    }]
                }),
            ),
            (
                "InvalidMatrix",
                World::with(|f| {
                    f.roles.as_mut().unwrap().applied.errors =
                        vec!["view:iu.* matches 12 rows, not 13".into()]
                }),
            ),
        ],
        unknown: vec![("Pending", World::empty())],
    }
}
