//! G-11 HarnessConfined.

use super::{Evidence, Gate, Verdict, examples};
use crate::command::Command;

pub(super) static GATE: Gate = Gate {
    id: "G-11",
    name: "HarnessConfined",
    doc: "The harness pod as it really is has no API token, no host access, no privilege, read-only inputs and a disposable work volume, and may reach the copy alone.",
    command: Command::Harness,
    evidence: &["/harness"],
    needs: &["G-10"],
    reasons: &[(
        "NotConfined",
        "The live pod may do something that it should not.",
    )],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let Some(harness) = &evidence.facts.harness else {
        return Verdict::pending();
    };
    if harness.violations.is_empty() {
        Verdict::pass("no token, no host access, read-only inputs, egress to the copy alone")
    } else {
        Verdict::fail("NotConfined", examples(&harness.violations))
    }
}

#[cfg(test)]
fn worlds() -> crate::testing::Worlds {
    use crate::testing::{World, Worlds};
    Worlds {
        fail: vec![(
            "NotConfined",
            World::with(|f| f.harness.as_mut().unwrap().violations = vec!["hostNetwork".into()]),
        )],
        unknown: vec![("Pending", World::empty())],
    }
}
