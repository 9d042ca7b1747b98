//! G-03 ProtectedRecorded.

use super::{Evidence, Gate, Verdict, count, examples};
use crate::commands::Command;

pub(super) static GATE: Gate = Gate {
    id: "G-03",
    name: "ProtectedRecorded",
    doc: "UID, container IDs, start times, restart counts and image IDs of every protected workload were recorded before the first create.",
    command: Command::Preflight,
    evidence: &["/preflight"],
    needs: &[],
    reasons: &[(
        "NotRecorded",
        "A selector matches nothing, or the workloads cannot be read.",
    )],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let Some(preflight) = &evidence.facts.preflight else {
        return Verdict::pending();
    };
    if !preflight.protected_errors.is_empty() {
        return Verdict::fail("NotRecorded", examples(&preflight.protected_errors));
    }
    Verdict::pass(format!(
        "{} recorded",
        count(preflight.protected.len() as u64, "pod")
    ))
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::test_support::{World, Worlds};
    Worlds {
        fail: vec![(
            "NotRecorded",
            World::with(|f| {
                f.preflight.as_mut().unwrap().protected_errors =
                    vec!["app=directus in incomex matches no pod".into()]
            }),
        )],
        unknown: vec![("Pending", World::empty())],
    }
}
