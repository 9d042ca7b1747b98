//! G-11 HarnessConfined.

use super::probes::{self, NOT_PROVEN, REACHABLE};
use super::{Evidence, Gate, Verdict, examples};
use crate::api::TargetClass;
use crate::commands::Command;
use crate::isolation::judge::FORBIDDEN;
use crate::run::object::RunPod;

pub(super) static GATE: Gate = Gate {
    id: "G-11",
    name: "HarnessConfined",
    doc: "The live harness pod is as the operator built it and has no API token, no host access, no privilege and read-only inputs, writes to disposable volumes and its own part of the evidence alone, and may reach the copy alone.",
    command: Command::Harness,
    evidence: &["/inspections/harness", "/isolation/harness"],
    needs: &["G-10"],
    reasons: &[
        (
            "NotConfined",
            "The live pod is not as the operator built it, or may do something that it should not.",
        ),
        REACHABLE,
        NOT_PROVEN[0],
        NOT_PROVEN[1],
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let Some(harness) = evidence.facts.inspections.get(&RunPod::Harness) else {
        return Verdict::pending();
    };
    if !harness.violations.is_empty() {
        return Verdict::fail("NotConfined", examples(&harness.violations));
    }
    let Some(phase) = &evidence.facts.isolation.harness else {
        return Verdict::pending();
    };
    let verdict = probes::verdict(evidence, phase, &DEMANDED);
    if verdict.reason != super::PASSED {
        return verdict;
    }
    Verdict::pass(format!(
        "no token, no host access, read-only inputs, egress to the copy alone: {}",
        verdict.message
    ))
}

/// Probes that the harness must have tried.
const DEMANDED: [(RunPod, &[TargetClass]); 2] = [
    (RunPod::Harness, &FORBIDDEN),
    (RunPod::Harness, &[TargetClass::CopyOtherPort]),
];

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::isolation::judge::{NO_CONTROL, NOT_TRIED};
    use crate::test_support::{World, Worlds};
    let with = |change: fn(&mut crate::run::facts::Phase)| {
        World::with(|f| change(f.isolation.harness.as_mut().unwrap()))
    };
    Worlds {
        fail: vec![
            (
                "NotConfined",
                World::with(|f| {
                    let harness = f.inspections.get_mut(&RunPod::Harness).unwrap();
                    harness.violations = vec!["hostNetwork".into()];
                }),
            ),
            (
                "Reachable",
                with(|phase| phase.probes[1].tally.connected = 1),
            ),
        ],
        unknown: vec![
            ("Pending", World::empty()),
            ("Pending", World::with(|f| f.isolation.harness = None)),
            (NO_CONTROL, with(|phase| phase.controls_after.clear())),
            (NOT_TRIED, with(|phase| phase.probes.clear())),
        ],
    }
}
