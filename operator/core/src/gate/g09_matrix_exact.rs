//! G-09 MatrixExact.

use super::{Evidence, Gate, Verdict, matrix};
use crate::commands::Command;

pub(super) static GATE: Gate = Gate {
    id: "G-09",
    name: "MatrixExact",
    doc: "The whole access control of the copy, read back as a set, equals the frozen matrix in its scope, columns, memberships and attributes included, and its roles have no way to more but those that it allows.",
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
fn worlds() -> crate::test_support::Worlds {
    use crate::test_support::{World, Worlds};
    Worlds {
        fail: matrix::spoil()
            .into_iter()
            .map(|(reason, spoil)| {
                let world = World::with(|f| spoil(&mut f.roles.as_mut().unwrap().applied));
                (reason, world)
            })
            .collect(),
        unknown: vec![("Pending", World::empty())],
    }
}
