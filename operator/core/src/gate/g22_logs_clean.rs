//! G-22 LogsClean.

use super::{Evidence, Gate, Verdict, count, leak};
use crate::commands::Command;
use crate::run::object::RunPod;

pub(super) static GATE: Gate = Gate {
    id: "G-22",
    name: "LogsClean",
    doc: "Neither the copy's own log, nor what the harness wrote, nor the log of a container of the dump, restore, copy or harness pod, as the kubelet has it, holds a credential of the run or of production in any form that is looked for.",
    command: Command::Verify,
    evidence: &["/search", "/containerLogs"],
    needs: &[],
    reasons: &[
        (
            "CredentialFound",
            "A log holds a credential; the message says which, in what form, and where.",
        ),
        (
            "CanaryMissed",
            "The search did not find the canary that was planted in the copy's log: it proves nothing.",
        ),
        (
            "NotSearched",
            "A log could not be searched, or not to its end.",
        ),
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let facts = evidence.facts;
    let searches = || facts.search.iter().chain(facts.container_logs.values());
    if let Some(found) = searches().find_map(|search| search.found.first()) {
        return Verdict::fail("CredentialFound", leak(found));
    }
    let Some(volume) = &facts.search else {
        return Verdict::pending();
    };
    if RunPod::LOGGED
        .iter()
        .any(|pod| !facts.container_logs.contains_key(pod))
    {
        return Verdict::pending();
    }
    if !volume.canary {
        return Verdict::unknown("CanaryMissed", "the canary in the copy's log was not found");
    }
    if let Some(unread) = searches().find_map(|search| search.unread.first()) {
        return Verdict::unknown("NotSearched", unread.clone());
    }
    let sum = |of: fn(&crate::run::facts::LeakFacts) -> u64| searches().map(of).sum::<u64>();
    let warnings = sum(|search| search.shapes.values().sum());
    let shapes = match warnings {
        0 => String::new(),
        n => format!("; {} of the shape of a token", count(n, "text")),
    };
    Verdict::pass(format!(
        "{}, {} KiB{shapes}",
        count(sum(|search| search.texts), "log"),
        sum(|search| search.bytes) >> 10
    ))
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::run::facts::LeakFacts;
    use crate::test_support::{World, Worlds, leaking};
    let volume =
        |change: fn(&mut LeakFacts)| World::with(move |f| change(f.search.as_mut().unwrap()));
    Worlds {
        fail: vec![
            (
                "CredentialFound",
                World::with(|f| f.search = Some(leaking("harness/S2.log"))),
            ),
            (
                "CredentialFound",
                World::with(|f| {
                    f.container_logs
                        .insert(RunPod::Dump, leaking("demo-dump/dump"));
                }),
            ),
        ],
        unknown: vec![
            ("Pending", World::empty()),
            (
                "Pending",
                World::with(|f| drop(f.container_logs.remove(&RunPod::Harness))),
            ),
            ("CanaryMissed", volume(|search| search.canary = false)),
            (
                "NotSearched",
                volume(|search| search.unread = vec!["harness/x: permission denied".into()]),
            ),
            (
                "NotSearched",
                World::with(|f| {
                    let log = f.container_logs.get_mut(&RunPod::Harness).unwrap();
                    log.unread = vec!["demo-harness/harness: only its beginning".into()];
                }),
            ),
        ],
    }
}
