//! G-12 NothingRestarted.

use super::{Evidence, Gate, Verdict, count, examples};
use crate::commands::{Command, Facts};
use crate::run::facts::CRASHED;
use std::collections::BTreeMap;

pub(super) static GATE: Gate = Gate {
    id: "G-12",
    name: "NothingRestarted",
    doc: "No container of the run restarted, no backend of the copy crashed, and one image reference meant one image.",
    command: Command::Verify,
    evidence: &["/verification/pods"],
    needs: &["G-10"],
    reasons: &[
        (
            "Restarted",
            "A container of the run restarted or is another one than before.",
        ),
        (
            CRASHED,
            "The copy's server broke down, or its log tells of a crash or a recovery.",
        ),
        (
            "ImageChanged",
            "A container runs another image than the one recorded before.",
        ),
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    if let Some(stopped) = &evidence.facts.stopped
        && stopped.problem.reason == CRASHED
    {
        return Verdict::fail(CRASHED, stopped.problem.message.clone());
    }
    let Some(verification) = &evidence.facts.verification else {
        return Verdict::pending();
    };
    let mut containers: u64 = 0;
    let mut restarted = Vec::new();
    let recorded: BTreeMap<&str, &str> = evidence
        .facts
        .inspections
        .values()
        .flat_map(|pod| &pod.images)
        .map(|(container, (_, image))| (container.as_str(), image.as_str()))
        .collect();
    for pod in &verification.pods {
        for (name, container) in &pod.containers {
            containers += 1;
            if container.restarts > 0 {
                restarted.push(format!("{}/{name}", pod.name));
            }
            // A container that still waits for its start has no image yet.
            if !container.image_id.is_empty()
                && let Some(before) = recorded.get(name.as_str())
                && *before != container.image_id
            {
                return Verdict::fail(
                    "ImageChanged",
                    format!(
                        "{}/{name} runs {}, not {before}",
                        pod.name, container.image_id
                    ),
                );
            }
        }
    }
    if let Some(change) = other_image(evidence.facts) {
        return Verdict::fail("ImageChanged", change);
    }
    if !restarted.is_empty() {
        return Verdict::fail("Restarted", examples(&restarted));
    }
    if !verification.crashes.is_empty() {
        return Verdict::fail(CRASHED, examples(&verification.crashes));
    }
    if containers == 0 {
        return Verdict::pending();
    }
    Verdict::pass(format!(
        "{}, no restart, no crash",
        count(containers, "container")
    ))
}

/// A reference that meant one image first and another one later.
fn other_image(facts: &Facts) -> Option<String> {
    let mut meant: BTreeMap<&str, &str> = BTreeMap::new();
    let pods = facts.inspections.values().chain(&facts.copy_pod_after);
    for (reference, image) in pods.flat_map(|pod| pod.images.values()) {
        let first = meant.entry(reference).or_insert(image);
        if *first != image {
            return Some(format!("{reference} was {first} and is {image}"));
        }
    }
    None
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::commands::Stopped;
    use crate::problem::Problem;
    use crate::run::object::RunPod;
    use crate::test_support::{World, Worlds};
    Worlds {
        fail: vec![
            (
                "ImageChanged",
                World::with(|f| {
                    for (pod, image) in [(RunPod::Dump, "sha256:1"), (RunPod::Restore, "sha256:2")]
                    {
                        let images = &mut f.inspections.get_mut(&pod).unwrap().images;
                        let meant = ("postgres:17".into(), image.into());
                        images.insert(pod.role().into(), meant);
                    }
                }),
            ),
            (
                "Restarted",
                World::with(|f| {
                    let pod = &mut f.verification.as_mut().unwrap().pods[0];
                    pod.containers.values_mut().next().unwrap().restarts = 1;
                }),
            ),
            (
                "Crashed",
                World::with(|f| {
                    f.verification.as_mut().unwrap().crashes = vec!["terminated by signal 9".into()]
                }),
            ),
            (
                CRASHED,
                World::with(|f| {
                    f.verification = None;
                    f.stopped = Some(Stopped {
                        command: Command::Scenarios,
                        problem: Problem::permanent(CRASHED, "its server ended with 1"),
                    });
                }),
            ),
            (
                "ImageChanged",
                World::with(|f| {
                    f.verification.as_mut().unwrap().pods[0]
                        .containers
                        .values_mut()
                        .for_each(|c| c.image_id = "other".into())
                }),
            ),
        ],
        unknown: vec![
            ("Pending", World::empty()),
            (
                "Pending",
                World::with(|f| f.verification.as_mut().unwrap().pods.clear()),
            ),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Status;
    use crate::test_support::World;

    #[test]
    fn a_container_that_waits_for_its_start_has_no_image_yet() {
        let world = World::with(|f| {
            let pods = &mut f.verification.as_mut().unwrap().pods;
            pods.iter_mut()
                .flat_map(|pod| pod.containers.values_mut())
                .for_each(|container| container.image_id.clear());
        });
        assert_eq!(evaluate(&world.evidence()).status, Status::True);
    }
}
