//! G-12 NothingRestarted.

use super::{Evidence, Gate, Verdict, all_inspected, count, examples};
use crate::commands::{Command, Facts};
use crate::run::facts::CRASHED;
use std::collections::BTreeMap;

pub(super) static GATE: Gate = Gate {
    id: "G-12",
    name: "NothingRestarted",
    doc: "No container of the run restarted, no backend of the copy crashed, one image reference meant one image, and a digest in a reference is that of the image that ran.",
    command: Command::Verify,
    evidence: &["/inspections", "/verification/pods"],
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
        (
            "ImageDiffers",
            "A container runs another image than the digest in its reference names.",
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
    if let Some(other) = other_image(evidence.facts) {
        return other;
    }
    let Some(verification) = &evidence.facts.verification else {
        return Verdict::pending();
    };
    let mut containers: u64 = 0;
    let mut restarted = Vec::new();
    for pod in &verification.pods {
        for (name, container) in &pod.containers {
            containers += 1;
            if container.restarts > 0 {
                restarted.push(format!("{}/{name}", pod.name));
            }
        }
    }
    if !restarted.is_empty() {
        return Verdict::fail("Restarted", examples(&restarted));
    }
    if !verification.crashes.is_empty() {
        return Verdict::fail(CRASHED, examples(&verification.crashes));
    }
    if containers == 0 || !all_inspected(evidence.facts) {
        return Verdict::pending();
    }
    Verdict::pass(format!(
        "{}, no restart, no crash",
        count(containers, "container")
    ))
}

/// Every reference of an image that ran, and the image that it meant.
fn ran(facts: &Facts) -> Vec<(&str, &str)> {
    let inspected = facts.inspections.values().chain(&facts.copy_pod_after);
    let images: Vec<_> = inspected.flat_map(|pod| &pod.images).collect();
    // What is called alike in several pods has one image in all of them.
    let reference = |name: &String| {
        let known = images.iter().find(|(container, _)| *container == name);
        known.map(|(_, (reference, _))| reference.as_str())
    };
    let last = facts.verification.iter().flat_map(|v| &v.pods);
    let last: Vec<_> = last
        .flat_map(|pod| &pod.containers)
        .filter_map(|(name, last)| Some((reference(name)?, last.image_id.as_str())))
        .collect();
    let first = images.iter().map(|(_, (r, image))| (&**r, &**image));
    let all = first.chain(last);
    all.filter(|(_, image)| !image.is_empty()).collect()
}

/// An image that is not the one that its reference pins, or that the reference meant before.
fn other_image(facts: &Facts) -> Option<Verdict> {
    let mut meant: BTreeMap<&str, &str> = BTreeMap::new();
    for (reference, image) in ran(facts) {
        if let Some((_, pinned)) = reference.split_once('@')
            && image.rsplit_once('@').map_or(image, |(_, digest)| digest) != pinned
        {
            let what = format!("{reference} ran as {image}");
            return Some(Verdict::fail("ImageDiffers", what));
        }
        let first = *meant.entry(reference).or_insert(image);
        if first != image {
            let what = format!("{reference} was {first} and is {image}");
            return Some(Verdict::fail("ImageChanged", what));
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
                "ImageDiffers",
                World::with(|f| {
                    let images = &mut f.inspections.get_mut(&RunPod::Dump).unwrap().images;
                    let (_, image) = images.get_mut(RunPod::Dump.role()).unwrap();
                    *image = "registry.example/mirror@sha256:other".into();
                }),
            ),
            // Of a container that had not begun when its pod was inspected.
            (
                "ImageDiffers",
                World::with(|f| {
                    let images = &mut f.inspections.get_mut(&RunPod::Harness).unwrap().images;
                    images.get_mut(RunPod::Harness.role()).unwrap().1.clear();
                    let pods = &mut f.verification.as_mut().unwrap().pods;
                    let container = pods[0].containers.get_mut(RunPod::Harness.role());
                    container.unwrap().image_id = "sha256:other".into();
                }),
            ),
            // As soon as it is known.
            (
                "ImageDiffers",
                World::with(|f| {
                    f.verification = None;
                    let images = &mut f.inspections.get_mut(&RunPod::Dump).unwrap().images;
                    images.get_mut(RunPod::Dump.role()).unwrap().1 = "sha256:other".into();
                }),
            ),
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
                    let images = &mut f.inspections.get_mut(&RunPod::Harness).unwrap().images;
                    let tagged = ("python:3".into(), "sha256:harness".into());
                    images.insert(RunPod::Harness.role().into(), tagged);
                    f.verification.as_mut().unwrap().pods[0]
                        .containers
                        .values_mut()
                        .for_each(|c| c.image_id = "other".into())
                }),
            ),
        ],
        unknown: vec![
            ("Pending", World::empty()),
            ("Pending", World::with(|f| f.inspections.clear())),
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
