//! G-24 ProtectedUnchanged.

use super::{Evidence, Gate, Verdict, count, examples};
use crate::commands::Command;
#[cfg(test)]
use crate::run::facts::PodFingerprint;
use crate::run::facts::protected_changes;

pub(super) static GATE: Gate = Gate {
    id: "G-24",
    name: "ProtectedUnchanged",
    doc: "Every protected workload is the one that was recorded before the first create: none restarted, was replaced, came or went at any moment of the run.",
    command: Command::Teardown,
    evidence: &["/preflight", "/teardown/protected"],
    needs: &["G-03"],
    reasons: &[
        (
            "Changed",
            "A protected workload restarted, was replaced, came or went.",
        ),
        (
            "NotReadable",
            "The protected workloads could not be looked at again.",
        ),
        (
            "NotWatched",
            "The protected workloads could not be watched while the run went on.",
        ),
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let facts = evidence.facts;
    if !facts.protected_changes.is_empty() {
        return Verdict::fail("Changed", examples(&facts.protected_changes));
    }
    let (Some(preflight), Some(teardown)) = (&facts.preflight, &facts.teardown) else {
        return Verdict::pending();
    };
    if !teardown.protected_errors.is_empty() {
        return Verdict::unknown("NotReadable", examples(&teardown.protected_errors));
    }
    let Some(now) = &teardown.protected else {
        return Verdict::pending();
    };
    let changes = protected_changes(&preflight.protected, now);
    if !changes.is_empty() {
        return Verdict::fail("Changed", examples(&changes));
    }
    if let Some(error) = &facts.watch_error {
        return Verdict::unknown("NotWatched", error.to_string());
    }
    let gaps = match facts.watched_since.get(1..) {
        // Who was away sees no restart, but a container that restarted has another ID.
        Some(again) if !again.is_empty() => format!(
            "; nobody watched before {}: container IDs bridge the gap",
            examples(&again.iter().map(ToString::to_string).collect::<Vec<_>>())
        ),
        _ => String::new(),
    };
    Verdict::pass(format!(
        "{} unchanged{gaps}",
        count(now.len() as u64, "pod")
    ))
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::problem::Problem;
    use crate::test_support::{World, Worlds};
    let now = |change: fn(&mut Vec<PodFingerprint>)| {
        World::with(move |f| change(f.teardown.as_mut().unwrap().protected.as_mut().unwrap()))
    };
    Worlds {
        fail: vec![
            // It came and went between the two looks: the watch saw it.
            (
                "Changed",
                World::with(|f| f.protected_changes = vec!["incomex/directus-2 is new".into()]),
            ),
            ("Changed", now(Vec::clear)),
            (
                "Changed",
                now(|pods| {
                    pods.push(PodFingerprint {
                        name: "new".into(),
                        ..PodFingerprint::default()
                    })
                }),
            ),
            ("Changed", now(|pods| pods[0].uid = "other".into())),
            (
                "Changed",
                now(|pods| {
                    pods[0]
                        .containers
                        .values_mut()
                        .for_each(|c| c.restarts += 1)
                }),
            ),
            (
                "Changed",
                now(|pods| {
                    pods[0]
                        .containers
                        .values_mut()
                        .for_each(|c| c.container_id = "other".into())
                }),
            ),
        ],
        unknown: vec![
            ("Pending", World::empty()),
            (
                "NotReadable",
                World::with(|f| {
                    f.teardown.as_mut().unwrap().protected_errors = vec!["forbidden".into()]
                }),
            ),
            (
                "NotWatched",
                World::with(|f| {
                    f.watch_error = Some(Problem::permanent("Forbidden", "may not watch pods"))
                }),
            ),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::World;
    use jiff::Timestamp;

    #[test]
    fn the_gaps_of_a_crash_loop_fit_into_a_message() {
        let world = World::with(|f| f.watched_since = vec![Timestamp::UNIX_EPOCH; 2_000]);
        let message = evaluate(&world.evidence()).message;
        assert!(message.contains("and 1996 more"), "{message}");
        assert!(message.len() < 512, "{message}");
    }
}
