//! G-18 PrivilegesHeld.

use super::{Evidence, Gate, Status, Verdict, count, examples, matrix};
use crate::command::Command;

pub(super) static GATE: Gate = Gate {
    id: "G-18",
    name: "PrivilegesHeld",
    doc: "After the scenarios the matrix still holds, and no privilege outside its scope changed.",
    command: Command::Verify,
    evidence: &["/verification"],
    needs: &["G-09"],
    reasons: &[
        matrix::REASONS[0],
        matrix::REASONS[1],
        (
            "PrivilegesChanged",
            "A privilege outside the matrix's scope changed while the scenarios ran.",
        ),
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let Some(verification) = &evidence.facts.verification else {
        return Verdict::pending();
    };
    let held = matrix::judge(&verification.matrix, None);
    if held.status != Status::True {
        return held;
    }
    let changed = &verification.privileges_changed;
    if changed.rows > 0 {
        return Verdict::fail(
            "PrivilegesChanged",
            format!(
                "{} changed: {}",
                count(changed.rows, "row"),
                examples(&changed.examples)
            ),
        );
    }
    held
}

#[cfg(test)]
fn worlds() -> crate::testing::Worlds {
    use crate::facts::RowGroup;
    use crate::testing::{World, Worlds};
    Worlds {
        fail: vec![
            (
                "PrivilegesChanged",
                World::with(|f| f.verification.as_mut().unwrap().privileges_changed.rows = 1),
            ),
            (
                "MatrixDiffers",
                World::with(|f| {
                    f.verification.as_mut().unwrap().matrix.unexpected = vec![RowGroup {
                        rows: 1,
                        ..RowGroup::default()
                    }]
                }),
            ),
            (
                "InvalidMatrix",
                World::with(|f| {
                    f.verification.as_mut().unwrap().matrix.errors = vec!["expired".into()]
                }),
            ),
        ],
        unknown: vec![("Pending", World::empty())],
    }
}
