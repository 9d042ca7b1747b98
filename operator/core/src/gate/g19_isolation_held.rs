//! G-19 IsolationHeld.

use super::probes::{self, NOT_PROVEN, REACHABLE};
use super::{Evidence, Gate, Verdict, all_inspected, count, examples};
use crate::api::TargetClass;
use crate::commands::Command;
use crate::isolation::judge::{self, FORBIDDEN, Judgement};
use crate::run::facts::Probe;
use crate::run::object::RunPod;

pub(super) static GATE: Gate = Gate {
    id: "G-19",
    name: "IsolationHeld",
    doc: "The copy's isolation, and the harness's, held while the scenarios ran and after them; the live dump, restore, seal and identity pods were as the operator built them, confined, and opened by nothing.",
    command: Command::Verify,
    evidence: &[
        "/inspections",
        "/copyPodAfter",
        "/isolation/during",
        "/isolation/after",
    ],
    needs: &["G-07"],
    reasons: &[
        (
            "NotIsolated",
            "The copy's pod is not as the operator built it, or another one than before, or a Service or NetworkPolicy opens it.",
        ),
        (
            "NotConfined",
            "The dump, restore, seal or identity pod is not as the operator built it, may do something that it should not, or a Service or NetworkPolicy opens it.",
        ),
        REACHABLE,
        NOT_PROVEN[0],
        NOT_PROVEN[1],
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

/// The pods with data or secrets whose inspection no other gate judges.
const JUDGED: [RunPod; 4] = [
    RunPod::Dump,
    RunPod::Restore,
    RunPod::Seal,
    RunPod::Identity,
];

/// Probes that must have been tried after the scenarios.
const AFTER: [(RunPod, &[TargetClass]); 6] = [
    (RunPod::Postgres, &FORBIDDEN),
    (RunPod::Harness, &FORBIDDEN),
    (RunPod::Harness, &[TargetClass::CopyOtherPort]),
    (RunPod::Intruder, &FORBIDDEN),
    (RunPod::Intruder, &[TargetClass::Copy]),
    (RunPod::Canary, &[TargetClass::Copy]),
];
/// Probes that must have been tried while the scenarios ran.
const DURING: [(RunPod, &[TargetClass]); 2] = [
    (RunPod::Postgres, &FORBIDDEN),
    (RunPod::Harness, &FORBIDDEN),
];

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let facts = evidence.facts;
    // One connection is enough, whenever it was: the run stops before the end of the scenarios.
    let during: Vec<&Probe> = facts.isolation.during.iter().collect();
    let judge_during =
        |controls| judge::judge(&evidence.spec.isolation, &during, controls, &DURING);
    if let breached @ Judgement::Breached(_) = judge_during([&[], &[]]) {
        return probes::said(&breached, "");
    }
    // Before the pod is given anything to do: the run stops.
    for pod in JUDGED {
        if let Some(found) = facts.inspections.get(&pod)
            && !found.violations.is_empty()
        {
            let what = format!("the {} pod: {}", pod.role(), examples(&found.violations));
            return Verdict::fail("NotConfined", what);
        }
    }
    if !all_inspected(facts) {
        return Verdict::pending();
    }
    let (Some(now), Some(after)) = (&facts.copy_pod_after, &facts.isolation.after) else {
        return Verdict::pending();
    };
    let before = facts.inspections.get(&RunPod::Postgres);
    if before.is_some_and(|before| before.uid != now.uid) {
        return Verdict::fail("NotIsolated", "the copy's pod is another one than before");
    }
    if !now.violations.is_empty() {
        return Verdict::fail("NotIsolated", examples(&now.violations));
    }
    let verdict = probes::verdict(evidence, after, &AFTER);
    if verdict.reason != super::PASSED {
        return verdict;
    }
    // The controls before the scenarios and after them enclose what was tried in between.
    let controls_before = facts
        .isolation
        .harness
        .as_ref()
        .map_or(&[][..], |phase| &phase.controls_after);
    match judge_during([controls_before, &after.controls_before]) {
        Judgement::Isolated(summary) => {
            let rounds = during.iter().map(|probe| probe.tally.attempts).min();
            let rounds = count(rounds.unwrap_or_default(), "round");
            Verdict::pass(format!(
                "{}, and {} in {rounds} meanwhile",
                verdict.message, summary.blocked
            ))
        }
        other => probes::said(&other, ""),
    }
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::isolation::judge::{NO_CONTROL, NOT_TRIED};
    use crate::test_support::{World, Worlds};
    let injected = |pod: RunPod| {
        World::with(move |f| {
            f.inspections.get_mut(&pod).unwrap().violations =
                vec!["mesh was added to containers".into()];
        })
    };
    Worlds {
        fail: vec![
            ("NotConfined", injected(RunPod::Dump)),
            ("NotConfined", injected(RunPod::Restore)),
            ("NotConfined", injected(RunPod::Seal)),
            ("NotConfined", injected(RunPod::Identity)),
            // As soon as it is known.
            (
                "NotConfined",
                World::with(|f| {
                    f.inspections.get_mut(&RunPod::Dump).unwrap().violations =
                        vec!["mesh was added to containers".into()];
                    (f.isolation.after, f.copy_pod_after) = (None, None);
                }),
            ),
            (
                "NotIsolated",
                World::with(|f| {
                    f.copy_pod_after.as_mut().unwrap().violations = vec![
                        "NetworkPolicy hole selects this pod and allows additional traffic".into(),
                    ]
                }),
            ),
            (
                "NotIsolated",
                World::with(|f| f.copy_pod_after.as_mut().unwrap().uid = "other".into()),
            ),
            (
                "Reachable",
                World::with(|f| {
                    f.isolation.after.as_mut().unwrap().probes[3]
                        .tally
                        .connected = 1;
                }),
            ),
            (
                "Reachable",
                World::with(|f| f.isolation.during[2].tally.connected = 1),
            ),
            (
                "Reachable",
                World::with(|f| {
                    f.isolation.during[2].tally.connected = 1;
                    (f.isolation.after, f.copy_pod_after) = (None, None);
                }),
            ),
        ],
        unknown: vec![
            ("Pending", World::empty()),
            ("Pending", World::with(|f| f.isolation.after = None)),
            (
                "Pending",
                World::with(|f| drop(f.inspections.remove(&RunPod::Seal))),
            ),
            (NOT_TRIED, World::with(|f| f.isolation.during.clear())),
            (
                NOT_TRIED,
                World::with(|f| {
                    let tally = &mut f.isolation.during[0].tally;
                    (tally.silent, tally.failed) = (1, 2);
                }),
            ),
            (NO_CONTROL, World::with(|f| f.isolation.harness = None)),
            (
                NO_CONTROL,
                World::with(|f| f.isolation.after.as_mut().unwrap().controls_after.clear()),
            ),
        ],
    }
}
