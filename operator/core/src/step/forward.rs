//! The commands C-01 to C-12: each says how far it is.

use jiff::Timestamp;
use std::time::Duration;

use super::world::later;
use super::{Action, Job, Progress, ReportView, World};
use crate::command::Command;
use crate::facts::Facts;
use crate::names::Object;

/// The first command that is not done, how far it is, and its deadline. Its begin is written into the facts.
pub(super) fn advance(
    world: &World<'_>,
    report: &ReportView,
    facts: &mut Facts,
) -> (Command, Progress, Timestamp) {
    let end = world.after(report.began, &world.spec.deadlines.total);
    for command in Command::ALL {
        if command == Command::Teardown {
            break;
        }
        let began = *facts.began.get(command.id()).unwrap_or(&world.now);
        let deadline = later(began, budget(world, command)).min(end);
        let progress = match command {
            Command::Preflight => preflight(world, deadline),
            Command::Secrets => secrets(world, deadline),
            Command::Dump => dump(world, deadline),
            Command::Isolate => isolate(world, deadline),
            Command::Restore => restore(world, deadline),
            Command::Roles => job(
                world.facts.roles.is_some(),
                world,
                Job::ApplyMatrix,
                deadline,
            ),
            // Read with the matrix, on the same connection.
            Command::Identity => Progress::Done,
            Command::Harness => harness(world, deadline),
            Command::Stage => stage(world, deadline),
            Command::Scenarios => scenarios(world, deadline),
            Command::Verify => job(
                world.facts.verification.is_some(),
                world,
                Job::Verify,
                deadline,
            ),
            Command::Evidence | Command::Teardown => Progress::Done,
        };
        if !matches!(progress, Progress::Done) {
            facts
                .began
                .entry(command.id().to_owned())
                .or_insert(world.now);
            return (command, progress, deadline);
        }
    }
    (Command::Evidence, Progress::Done, end)
}

/// How long a command may take.
fn budget(world: &World<'_>, command: Command) -> Duration {
    let deadlines = &world.spec.deadlines;
    let start = deadlines.start.or(Duration::ZERO);
    let work = match command {
        Command::Dump => deadlines.dump.or(Duration::ZERO),
        Command::Restore => deadlines.restore.or(Duration::ZERO),
        Command::Scenarios => deadlines.scenarios.or(Duration::ZERO),
        Command::Preflight
        | Command::Secrets
        | Command::Isolate
        | Command::Roles
        | Command::Identity
        | Command::Harness
        | Command::Stage
        | Command::Verify
        | Command::Evidence
        | Command::Teardown => Duration::ZERO,
    };
    start.saturating_add(work)
}

/// A command that is one job.
fn job(done: bool, world: &World<'_>, job: Job, deadline: Timestamp) -> Progress {
    if done {
        Progress::Done
    } else if world.running.contains(&job) {
        Progress::Wait
    } else {
        Progress::Act(vec![Action::Start(job, deadline)])
    }
}

/// A job in a container of a pod: it waits for the container, and stops when the pod has ended.
fn job_in(
    done: bool,
    world: &World<'_>,
    pod: Object,
    container: &str,
    work: Job,
    deadline: Timestamp,
) -> Progress {
    if done || world.running.contains(&work) {
        return job(done, world, work, deadline);
    }
    if let Some(stop) = ended(world, pod) {
        return stop;
    }
    if world.runs(pod, container) {
        job(false, world, work, deadline)
    } else {
        Progress::Wait
    }
}

/// Creates what is missing of these; a pod that is being deleted is waited for.
fn ensure(world: &World<'_>, objects: &[Object]) -> Option<Progress> {
    let missing: Vec<Action> = objects
        .iter()
        .filter(|o| !world.objects.contains_key(o))
        .map(|o| Action::Create(*o))
        .collect();
    (!missing.is_empty()).then_some(Progress::Act(missing))
}

/// Why the run cannot go on with this pod.
fn ended(world: &World<'_>, object: Object) -> Option<Progress> {
    let reference = object.reference(world.name);
    let observed = world.objects.get(&object)?;
    if observed.deleting {
        return Some(Progress::Stop(
            "PodDeleted",
            format!("{reference} was deleted by somebody else"),
        ));
    }
    let pod = observed.pod.as_ref()?;
    if pod.phase != "Failed" && pod.phase != "Succeeded" {
        return None;
    }
    let cause = pod.terminated.iter().find(|(_, (code, _))| *code != 0).map(
        |(container, (code, message))| {
            format!(
                "{reference}: {container} ended with {code}: {}",
                message.trim()
            )
        },
    );
    Some(Progress::Stop(
        "PodEnded",
        cause.unwrap_or_else(|| format!("{reference} ended early")),
    ))
}

fn preflight(world: &World<'_>, deadline: Timestamp) -> Progress {
    job(
        world.facts.preflight.is_some(),
        world,
        Job::Preflight,
        deadline,
    )
}

fn secrets(world: &World<'_>, deadline: Timestamp) -> Progress {
    if world.facts.secrets.is_some() {
        return Progress::Done;
    }
    ensure(world, &[Object::Secret])
        .unwrap_or_else(|| job(false, world, Job::InspectSecret, deadline))
}

fn dump(world: &World<'_>, deadline: Timestamp) -> Progress {
    if world.facts.dump.is_some() {
        return Progress::Done;
    }
    let attempt = Job::Dump(world.facts.dump_attempts + 1);
    ensure(
        world,
        &[
            Object::DataVolume,
            Object::EvidenceVolume,
            Object::ProductionEgress,
            Object::DumpPod,
        ],
    )
    .unwrap_or_else(|| job_in(false, world, Object::DumpPod, "dump", attempt, deadline))
}

fn isolate(world: &World<'_>, deadline: Timestamp) -> Progress {
    if world.facts.released.contains("isolate") {
        return Progress::Done;
    }
    if let Some(create) = ensure(
        world,
        &[Object::CopyEgress, Object::CopyIngress, Object::PostgresPod],
    ) {
        return create;
    }
    if world.alive(Object::DumpPod).is_some() {
        return Progress::Act(vec![Action::Delete(Object::DumpPod)]);
    }
    job_in(
        false,
        world,
        Object::PostgresPod,
        "isolate",
        Job::ReleaseIsolate,
        deadline,
    )
}

fn restore(world: &World<'_>, deadline: Timestamp) -> Progress {
    if world.facts.restore.is_some() {
        return Progress::Done;
    }
    if let Some(create) = ensure(world, &[Object::RestorePod]) {
        return create;
    }
    if world.facts.copy_identity.is_empty() {
        return job_in(
            false,
            world,
            Object::PostgresPod,
            "postgres",
            Job::PrepareCopy,
            deadline,
        );
    }
    job_in(
        false,
        world,
        Object::RestorePod,
        "restore",
        Job::Restore,
        deadline,
    )
}

fn harness(world: &World<'_>, deadline: Timestamp) -> Progress {
    if world.facts.harness.is_some() {
        return Progress::Done;
    }
    if let Some(create) = ensure(world, &[Object::HarnessPod]) {
        return create;
    }
    if world.alive(Object::RestorePod).is_some() {
        return Progress::Act(vec![Action::Delete(Object::RestorePod)]);
    }
    job_in(
        false,
        world,
        Object::HarnessPod,
        "inputs",
        Job::InspectHarness,
        deadline,
    )
}

fn stage(world: &World<'_>, deadline: Timestamp) -> Progress {
    let facts = world.facts;
    if facts.inputs.is_none() {
        return job_in(
            false,
            world,
            Object::HarnessPod,
            "inputs",
            Job::VerifyInputs,
            deadline,
        );
    }
    if !facts.released.contains("inputs") {
        return job(false, world, Job::ReleaseInputs, deadline);
    }
    let next = facts.setup.len();
    if next < world.spec.harness.setup.len() {
        return job_in(
            false,
            world,
            Object::HarnessPod,
            "harness",
            Job::Setup(next),
            deadline,
        );
    }
    Progress::Done
}

fn scenarios(world: &World<'_>, deadline: Timestamp) -> Progress {
    if let Some(stop) = ended(world, Object::PostgresPod) {
        return stop;
    }
    if world.facts.before.is_none() {
        return job(false, world, Job::Baseline, deadline);
    }
    let next = world.facts.scenarios.len();
    if next == world.spec.harness.scenarios.len() {
        return Progress::Done;
    }
    job_in(
        false,
        world,
        Object::HarnessPod,
        "harness",
        Job::Scenario(next),
        deadline,
    )
}

/// What a command waited for when its deadline passed.
pub(super) fn why_waiting(world: &World<'_>, command: Command) -> String {
    let pod = match command {
        Command::Dump => Some(Object::DumpPod),
        Command::Isolate => Some(Object::PostgresPod),
        Command::Restore => [Object::PostgresPod, Object::RestorePod]
            .into_iter()
            .find(|p| world.pod(*p).is_some_and(|p| p.waiting.is_some())),
        Command::Harness | Command::Stage | Command::Scenarios => Some(Object::HarnessPod),
        Command::Preflight
        | Command::Secrets
        | Command::Roles
        | Command::Identity
        | Command::Verify
        | Command::Evidence
        | Command::Teardown => None,
    };
    let waiting = pod.and_then(|object| {
        let (reason, message) = world.pod(object)?.waiting.clone()?;
        Some(format!(
            "{} waits: {reason}: {message}",
            object.reference(world.name)
        ))
    });
    waiting
        .or_else(|| world.trouble.clone())
        .unwrap_or_else(|| format!("{} did not end before its deadline", command.id()))
}
