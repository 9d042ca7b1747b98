//! G-21 ProductionUntouched.

use super::probes::{self, NOT_PROVEN, REACHABLE};
use super::{Evidence, Gate, Verdict, all_inspected};
use crate::api::TargetClass;
use crate::commands::Command;
use crate::isolation::judge::{self, Judgement};
use crate::isolation::pod;
use crate::run::facts::{Phase, Probe};
use crate::run::key;
use crate::run::object::RunPod;

pub(super) static GATE: Gate = Gate {
    id: "G-21",
    name: "ProductionUntouched",
    doc: "Neither the copy's pod nor the harness nor the intruder could open a connection to production, of the dump, copy, restore, harness and seal pods only dump and seal mounted its password, and the agent's session wrote nothing.",
    command: Command::Verify,
    evidence: &[
        "/verification",
        "/inspections",
        "/dump/sessions",
        "/isolation/before",
        "/isolation/harness",
        "/isolation/during",
        "/isolation/after",
    ],
    needs: &["G-05", "G-06"],
    reasons: &[
        (
            "PasswordMounted",
            "A pod that does not need it has production's password.",
        ),
        (
            "SessionWrote",
            "The agent's session with production could write, or did.",
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
    let facts = evidence.facts;
    let source = format!("{}/", pod::SOURCE);
    let mounted = facts.inspections.iter().find(|(which, pod)| {
        !key::needs_source(**which) && pod.secrets.iter().any(|key| key.starts_with(&source))
    });
    if let Some((pod, _)) = mounted {
        let role = pod.role();
        return Verdict::fail("PasswordMounted", format!("the {role} pod mounts it"));
    }
    let sessions = facts.dump.as_ref().and_then(|dump| dump.sessions.as_ref());
    if sessions.is_some_and(|s| s.xid_assigned || !s.read_only) {
        return Verdict::fail("SessionWrote", "it was not read-only to its end");
    }
    let isolation = &facts.isolation;
    let phases = [&isolation.before, &isolation.harness, &isolation.after];
    let reached = isolation
        .probes()
        .find(|probe| probe.target.class == TargetClass::Production && probe.tally.connected > 0);
    if let Some(probe) = reached {
        return Verdict::fail(REACHABLE.0, format!("{} reached it", probe.from.role()));
    }
    let [Some(before), Some(harness), Some(after)] = phases.map(Option::as_ref) else {
        return Verdict::pending();
    };
    if facts.verification.is_none() || sessions.is_none() || !all_inspected(facts) {
        return Verdict::pending();
    }
    let during = Phase {
        controls_before: before.controls_after.clone(),
        probes: isolation.during.clone(),
        controls_after: after.controls_before.clone(),
        ..Phase::default()
    };
    let mut blocked = 0;
    for (phase, pods) in [
        (before, &[RunPod::Postgres, RunPod::Intruder][..]),
        (harness, &[RunPod::Harness]),
        (&during, &[RunPod::Postgres, RunPod::Harness]),
        (
            after,
            &[RunPod::Postgres, RunPod::Harness, RunPod::Intruder],
        ),
    ] {
        match judged(evidence, phase, pods) {
            Judgement::Isolated(summary) => blocked += summary.blocked,
            other => return probes::said(&other, ""),
        }
    }
    Verdict::pass(format!(
        "{blocked} attempts to reach it were blocked, of the pods looked at only dump and seal mounted its password, the session was read-only"
    ))
}

/// Returns the verdict of a phase on production alone.
fn judged(evidence: &Evidence<'_>, phase: &Phase, pods: &[RunPod]) -> Judgement {
    let production: Vec<&Probe> = phase
        .probes
        .iter()
        .filter(|probe| probe.target.class == TargetClass::Production)
        .collect();
    let demanded: Vec<(RunPod, &[TargetClass])> = pods
        .iter()
        .map(|pod| (*pod, &[TargetClass::Production][..]))
        .collect();
    let controls = [&*phase.controls_before, &*phase.controls_after];
    judge::judge(&evidence.spec.isolation, &production, controls, &demanded)
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::isolation::judge::{NO_CONTROL, NOT_TRIED};
    use crate::test_support::{World, Worlds};
    fn reach(probes: &mut [Probe]) {
        let production = |probe: &&mut Probe| probe.target.class == TargetClass::Production;
        let probe = probes.iter_mut().find(production);
        probe.unwrap().tally.connected = 1;
    }
    Worlds {
        fail: vec![
            (
                "PasswordMounted",
                World::with(|f| {
                    let pod = f.inspections.get_mut(&RunPod::Restore).unwrap();
                    pod.secrets.insert("source/password".into());
                }),
            ),
            (
                "SessionWrote",
                World::with(|f| {
                    let dump = f.dump.as_mut().unwrap();
                    dump.sessions.as_mut().unwrap().xid_assigned = true;
                }),
            ),
            (
                "Reachable",
                World::with(|f| reach(&mut f.isolation.after.as_mut().unwrap().probes)),
            ),
            ("Reachable", World::with(|f| reach(&mut f.isolation.during))),
        ],
        unknown: vec![
            ("Pending", World::empty()),
            ("Pending", World::with(|f| f.isolation.harness = None)),
            ("Pending", World::with(|f| f.inspections.clear())),
            (
                "Pending",
                World::with(|f| drop(f.inspections.remove(&RunPod::Restore))),
            ),
            (NOT_TRIED, World::with(|f| f.isolation.during.clear())),
            (
                NO_CONTROL,
                World::with(|f| f.isolation.before.as_mut().unwrap().controls_after.clear()),
            ),
        ],
    }
}
