//! The commands C-01 to C-12: each says how far it is.

use jiff::Timestamp;
use std::time::Duration;

use super::decide::Progress;
use super::snapshot::later;
use super::{Action, Ended, Job, Moment, PodView, ReportView, World};
use crate::commands::Command;
use crate::gate::{self, Evidence, Status};
use crate::problem::Problem;
use crate::run::facts::{CRASHED, Facts, REFUSALS};
use crate::run::object::Object;

/// Something must change first.
const WAIT: Progress = Progress::Act(Vec::new());

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
        let began = *facts.began.get(&command).unwrap_or(&world.now);
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
            Command::Verify => verify(world, deadline),
            Command::Evidence => seal(world, deadline),
            Command::Teardown => Progress::Done,
        };
        if !matches!(progress, Progress::Done) {
            // What the copy's server does not outlive, no later command can bring on.
            let progress = if command > Command::Isolate {
                pod_ended(world, Object::PostgresPod).unwrap_or(progress)
            } else {
                progress
            };
            facts.began.entry(command).or_insert(world.now);
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
        Command::Verify => deadlines.verify.or(Duration::ZERO),
        Command::Preflight
        | Command::Secrets
        | Command::Isolate
        | Command::Roles
        | Command::Identity
        | Command::Harness
        | Command::Stage
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
        WAIT
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
    if done {
        return Progress::Done;
    }
    // Before the job is asked: one that talks to a server which has ended tries until its deadline.
    if let Some(stop) = pod_ended(world, pod) {
        return stop;
    }
    if world.running.contains(&work) {
        return WAIT;
    }
    if world.runs(pod, container) {
        job(false, world, work, deadline)
    } else {
        WAIT
    }
}

/// A job in a pod that was looked at before.
fn inspected_job_in(
    world: &World<'_>,
    pod: Object,
    container: &str,
    work: Job,
    deadline: Timestamp,
) -> Progress {
    let inspected = world.facts.inspections.contains_key(pod.role());
    let work = if inspected { work } else { Job::Inspect(pod) };
    job_in(false, world, pod, container, work, deadline)
}

/// Deletes a pod that has done its work, once its logs were read. Nothing is left to do when it is on its way out.
fn dismiss(world: &World<'_>, pod: Object, deadline: Timestamp) -> Option<Progress> {
    world.alive(pod)?;
    Some(if world.facts.container_logs.contains_key(pod.role()) {
        Progress::Act(vec![Action::Delete(pod)])
    } else {
        job(false, world, Job::ReadLogs(pod), deadline)
    })
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
fn pod_ended(world: &World<'_>, object: Object) -> Option<Progress> {
    let reference = object.reference(world.name, world.uid);
    let observed = world.objects.get(&object)?;
    if observed.deleting {
        return Some(Progress::Stop(Problem::permanent(
            "PodDeleted",
            format!("{reference} was deleted by somebody else"),
        )));
    }
    let pod = observed.pod.as_ref()?;
    let server = (object == Object::PostgresPod)
        .then(|| pod.terminated.get(SERVER))
        .flatten();
    if server.is_none() && pod.phase != "Failed" && pod.phase != "Succeeded" {
        return None;
    }
    let failed = pod.terminated.iter().find(|(_, ended)| ended.code != 0);
    let cause = failed.map(|(container, ended)| {
        // The user's code can write its container's termination message, and signal its PID 1.
        let said = match ended.message.trim() {
            "" => &ended.reason,
            _ if (object, container.as_str()) == (Object::HarnessPod, HARNESS) => &ended.reason,
            message => message,
        };
        format!("{reference}: {container} ended with {}: {said}", ended.code)
    });
    let reason = server.map_or("PodEnded", why_ended);
    Some(Progress::Stop(Problem::permanent(
        reason,
        cause.unwrap_or_else(|| format!("{reference} ended early")),
    )))
}

/// Container of the copy's server.
const SERVER: &str = "postgres";
/// Container of the user's code.
const HARNESS: &str = "harness";

/// Exit codes of a server that was told to go, by the kubelet or whoever else has power over its node: 0, and 128 with SIGKILL or SIGTERM.
const TOLD_TO_GO: [i32; 3] = [0, 137, 143];

/// Why the copy's server is not there any more: its agent refused to start it, it broke down, or it was ended from outside.
fn why_ended(ended: &Ended) -> &'static str {
    let Ok(told) = serde_json::from_str::<Problem>(&ended.message) else {
        return if TOLD_TO_GO.contains(&ended.code) {
            "PodEnded"
        } else {
            CRASHED
        };
    };
    let refusal = REFUSALS.iter().find(|(refusal, _)| *refusal == told.reason);
    refusal.map_or("PodEnded", |(refusal, _)| refusal)
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
    // As soon as it is known where the copy will be: they start while the dump is made.
    .or_else(|| {
        world
            .pod(Object::DumpPod)?
            .node
            .as_ref()
            .and_then(|_| ensure(world, &Object::PROBERS))
    })
    .unwrap_or_else(|| inspected_job_in(world, Object::DumpPod, "dump", attempt, deadline))
}

/// Probes at this moment, once all who take part are running. `pods` are those beside the probers, with the container that probes.
fn probe(
    world: &World<'_>,
    moment: Moment,
    pods: &[(Object, &str)],
    deadline: Timestamp,
) -> Progress {
    let all = Object::PROBERS
        .iter()
        .map(|pod| (*pod, PROBER))
        .chain(pods.iter().copied());
    for (pod, container) in all {
        if world.objects.get(&pod).is_none() {
            let missing = pod.reference(world.name, world.uid);
            return Progress::Stop(Problem::permanent(
                "PodDeleted",
                format!("{missing} was deleted by somebody else"),
            ));
        }
        if let Some(stop) = pod_ended(world, pod) {
            return stop;
        }
        if !world.runs(pod, container) {
            return WAIT;
        }
    }
    job(false, world, Job::Probe(moment), deadline)
}

/// The one container of a pod that only probes or answers.
const PROBER: &str = "probe";

/// A gate of isolation that its probes leave open stops the run: nothing goes on without the proof.
fn unproven(world: &World<'_>, id: &str) -> Option<Progress> {
    let gate = gate::ALL.into_iter().find(|gate| gate.id == id)?;
    let verdict = (gate.evaluate)(&Evidence {
        spec: world.spec,
        facts: world.facts,
        uid: world.uid,
    });
    (verdict.status != Status::True).then(|| {
        Progress::Stop(Problem::permanent(
            &verdict.reason,
            format!("{id}: {}", verdict.message),
        ))
    })
}

fn isolate(world: &World<'_>, deadline: Timestamp) -> Progress {
    let facts = world.facts;
    if facts.released.contains("isolate") {
        return Progress::Done;
    }
    let copy = [
        Object::CopyEgress,
        Object::CopyIngress,
        Object::PostgresPod,
        Object::RestorePod,
    ];
    if let Some(create) = ensure(world, &[&copy[..], &Object::PROBERS].concat()) {
        return create;
    }
    if facts.isolation.before.is_none() {
        let pods = [
            (Object::PostgresPod, "isolate"),
            (Object::RestorePod, "restore"),
        ];
        for (pod, container) in pods {
            if !facts.inspections.contains_key(pod.role()) {
                return job_in(false, world, pod, container, Job::Inspect(pod), deadline);
            }
        }
        // The dump pod may reach production: it is the positive control of those that may not.
        let pods = [&pods[..], &[(Object::DumpPod, "dump")]].concat();
        return probe(world, Moment::Before, &pods, deadline);
    }
    if let Some(stop) = unproven(world, "G-07") {
        return stop;
    }
    if let Some(progress) = dismiss(world, Object::DumpPod, deadline) {
        return progress;
    }
    released(world, Object::PostgresPod, "isolate").unwrap_or_else(|| {
        job_in(
            false,
            world,
            Object::PostgresPod,
            "isolate",
            Job::ReleaseIsolate,
            deadline,
        )
    })
}

/// An init container that was released and has ended, although nobody came to write it down.
fn released(world: &World<'_>, pod: Object, container: &str) -> Option<Progress> {
    (world.pod(pod)?.succeeded(container)).then_some(Progress::Done)
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
    inspected_job_in(world, Object::RestorePod, "restore", Job::Restore, deadline)
}

fn harness(world: &World<'_>, deadline: Timestamp) -> Progress {
    let facts = world.facts;
    if facts.harness.is_some() && facts.isolation.harness.is_some() {
        return unproven(world, "G-11").unwrap_or(Progress::Done);
    }
    // From here on the identity pod is who may reach production, the positive control of those that may not.
    if let Some(create) = ensure(world, &[Object::HarnessPod, Object::IdentityPod]) {
        return create;
    }
    if let Some(progress) = dismiss(world, Object::RestorePod, deadline) {
        return progress;
    }
    if facts.harness.is_none() {
        return inspected_job_in(
            world,
            Object::HarnessPod,
            "inputs",
            Job::InspectHarness,
            deadline,
        );
    }
    probe(world, Moment::Harness, &LATER_PROBES, deadline)
}

/// Who takes part in probes from C-08 on, beside the probers.
const LATER_PROBES: [(Object, &str); 3] = [
    (Object::PostgresPod, "probe"),
    (Object::HarnessPod, "observer"),
    (Object::IdentityPod, "identity"),
];

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
    let released = released(world, Object::HarnessPod, "inputs").is_some();
    if !facts.released.contains("inputs") && !released {
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

fn verify(world: &World<'_>, deadline: Timestamp) -> Progress {
    let facts = world.facts;
    let read = |pod: Object| facts.container_logs.contains_key(pod.role());
    let jobs = [
        (facts.verification.is_some(), Job::Verify),
        (
            read(Object::PostgresPod),
            Job::ReadLogs(Object::PostgresPod),
        ),
        (read(Object::HarnessPod), Job::ReadLogs(Object::HarnessPod)),
    ];
    let probed = facts.isolation.after.is_some();
    if probed && facts.search.is_some() && jobs.iter().all(|(done, _)| *done) {
        return Progress::Done;
    }
    let open = jobs
        .iter()
        .filter(|(done, job)| !done && !world.running.contains(job))
        .map(|(_, job)| Action::Start(*job, deadline));
    let mut actions: Vec<Action> = open.collect();
    let mut open = Vec::new();
    if facts.search.is_none() {
        open.push(ensure(world, &[Object::SealPod]).unwrap_or_else(|| {
            inspected_job_in(world, Object::SealPod, "seal", Job::Search, deadline)
        }));
    }
    if !probed {
        open.push(probe(world, Moment::After, &LATER_PROBES, deadline));
    }
    for progress in open {
        match progress {
            Progress::Act(more) => actions.extend(more),
            Progress::Done | Progress::Stop(..) => return progress,
        }
    }
    Progress::Act(actions)
}

fn seal(world: &World<'_>, deadline: Timestamp) -> Progress {
    if world.facts.evidence.is_some() {
        return Progress::Done;
    }
    let sealing = job_in(false, world, Object::SealPod, "seal", Job::Seal, deadline);
    // They have done their work, and nothing of the harness may run beside the seal.
    let idle = Object::PROBERS.into_iter().chain([Object::HarnessPod]);
    let delete = idle
        .filter(|pod| world.alive(*pod).is_some())
        .map(Action::Delete);
    match sealing {
        Progress::Act(actions) => Progress::Act(actions.into_iter().chain(delete).collect()),
        Progress::Done | Progress::Stop(..) => sealing,
    }
}

/// What a command waited for when its deadline passed: one CamelCase word, which is the scheduler's or the kubelet's if a pod says why it
/// does not run, and a sentence.
pub(super) fn why_waiting(world: &World<'_>, command: Command) -> Problem {
    let pod = match command {
        Command::Dump => Some(Object::DumpPod),
        Command::Isolate => [Object::PostgresPod, Object::RestorePod]
            .into_iter()
            .chain(Object::PROBERS)
            .find(|p| world.pod(*p).is_some_and(|p| p.waiting.is_some())),
        Command::Restore => [Object::PostgresPod, Object::RestorePod]
            .into_iter()
            .find(|p| world.pod(*p).is_some_and(|p| p.waiting.is_some())),
        Command::Harness | Command::Stage | Command::Scenarios => Some(Object::HarnessPod),
        Command::Verify | Command::Evidence => Some(Object::SealPod),
        Command::Preflight
        | Command::Secrets
        | Command::Roles
        | Command::Identity
        | Command::Teardown => None,
    };
    let waiting = pod.and_then(|object| {
        let waiting = world.pod(object)?.waiting.as_ref()?;
        let sentence = format!(
            "{} waits: {waiting}",
            object.reference(world.name, world.uid)
        );
        let late =
            waiting.reason.is_empty() || PodView::STARTING.contains(&waiting.reason.as_str());
        let reason = if late { LATE } else { &waiting.reason };
        Some(Problem::permanent(reason, sentence))
    });
    waiting.unwrap_or_else(|| {
        let sentence = world
            .trouble
            .clone()
            .unwrap_or_else(|| format!("{} did not end before its deadline", command.id()));
        Problem::permanent(LATE, sentence)
    })
}

/// Reason of a command that nothing but time stopped.
const LATE: &str = "DeadlineExceeded";
