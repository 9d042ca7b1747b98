//! G-09 MatrixExact.

use super::{Evidence, Gate, Verdict, count, examples, matrix};
use crate::commands::Command;

pub(super) static GATE: Gate = Gate {
    id: "G-09",
    name: "MatrixExact",
    doc: "The whole access control of the copy, read back as a set, equals the frozen matrix in its scope, columns, memberships and attributes included, its roles have no way to more, through PUBLIC or otherwise, but those that it allows, and undeclared roles are as in production.",
    command: Command::Roles,
    evidence: &["/roles"],
    needs: &["G-08"],
    reasons: &[
        matrix::REASONS[0],
        matrix::REASONS[1],
        matrix::REASONS[2],
        (
            "RolesDiffer",
            "An undeclared role has not the attributes, memberships, settings or parameter privileges that it has in production: what acts with its rights would be judged wrongly.",
        ),
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let Some(roles) = &evidence.facts.roles else {
        return Verdict::pending();
    };
    if roles.differing_count > 0 {
        return Verdict::fail(
            "RolesDiffer",
            format!(
                "{}: {}",
                count(roles.differing_count, "right"),
                examples(&roles.differing)
            ),
        );
    }
    matrix::judge(&roles.applied, Some(roles.milliseconds))
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::test_support::{World, Worlds};
    let mut fail: Vec<(&'static str, World)> = matrix::spoil()
        .into_iter()
        .map(|(reason, spoil)| {
            let world = World::with(|f| spoil(&mut f.roles.as_mut().unwrap().applied));
            (reason, world)
        })
        .collect();
    fail.push((
        "RolesDiffer",
        World::with(|f| {
            let roles = f.roles.as_mut().unwrap();
            roles.differing = vec!["boss: SUPERUSER=true is missing".into()];
            roles.differing_count = 1;
        }),
    ));
    Worlds {
        fail,
        unknown: vec![("Pending", World::empty())],
    }
}
