//! G-07 PostgresIsolated.

use super::probes::{self, NOT_PROVEN, REACHABLE};
use super::{Evidence, Gate, Verdict, examples};
use crate::api::TargetClass;
use crate::commands::Command;
use crate::isolation::judge::FORBIDDEN;
use crate::run::object::RunPod;

pub(super) static GATE: Gate = Gate {
    id: "G-07",
    name: "PostgresIsolated",
    doc: "The copy's pod could reach nothing and be reached by nobody before any of its containers that mount data or secrets began.",
    command: Command::Isolate,
    evidence: &["/inspections/postgres", "/isolation/before"],
    needs: &[],
    reasons: &[
        (
            "NotIsolated",
            "The copy's pod is not as the operator built it, or a Service or NetworkPolicy opens it.",
        ),
        REACHABLE,
        NOT_PROVEN[0],
        NOT_PROVEN[1],
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

/// Probes that must have been tried before the copy is released.
pub(super) const DEMANDED: [(RunPod, &[TargetClass]); 4] = [
    (RunPod::Postgres, &FORBIDDEN),
    (RunPod::Intruder, &FORBIDDEN),
    (RunPod::Intruder, &[TargetClass::Copy]),
    (RunPod::Canary, &[TargetClass::Copy]),
];

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let Some(pod) = evidence.facts.inspections.get(&RunPod::Postgres) else {
        return Verdict::pending();
    };
    if !pod.violations.is_empty() {
        return Verdict::fail("NotIsolated", examples(&pod.violations));
    }
    match &evidence.facts.isolation.before {
        None => Verdict::pending(),
        Some(phase) => probes::verdict(evidence, phase, &DEMANDED),
    }
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::isolation::judge::{NO_CONTROL, NOT_TRIED};
    use crate::test_support::{World, Worlds};
    let with = |change: fn(&mut crate::run::facts::Phase)| {
        World::with(|f| change(f.isolation.before.as_mut().unwrap()))
    };
    Worlds {
        fail: vec![
            (
                "NotIsolated",
                World::with(|f| {
                    f.inspections.get_mut(&RunPod::Postgres).unwrap().violations =
                        vec!["Service db selects it".into()]
                }),
            ),
            (
                "Reachable",
                with(|phase| phase.probes[0].tally.connected = 1),
            ),
            // One connection breaks it, regardless of the controls.
            (
                "Reachable",
                with(|phase| {
                    phase.probes[0].tally.connected = 1;
                    phase.controls_after.clear();
                }),
            ),
        ],
        unknown: vec![
            ("Pending", World::empty()),
            ("Pending", World::with(|f| f.isolation.before = None)),
            (NO_CONTROL, with(|phase| phase.controls_before.clear())),
            (NO_CONTROL, with(|phase| phase.controls_after.clear())),
            (NOT_TRIED, with(|phase| phase.probes.clear())),
            (
                NOT_TRIED,
                with(|phase| {
                    let tally = &mut phase.probes[0].tally;
                    tally.failed = tally.attempts;
                }),
            ),
        ],
    }
}
