//! The progress of a command, and what all commands have in common.

use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Facts, Job};
use crate::api::DryRunSpec;
use crate::problem::Problem;
use crate::run::container::Container;
use crate::run::facts::{CRASHED, REFUSALS};
use crate::run::id::RunRef;
use crate::run::object::{Object, RunPod};
use crate::run::observed::{Ended, Observed, PodView};

/// An effect of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Put our finalizer on the DryRun.
    AddFinalizer,
    /// Take our finalizer off the DryRun.
    RemoveFinalizer,
    /// Create the report: the run begins, and the approval is used.
    CreateReport,
    /// Create this object.
    Create(Object),
    /// Delete this object by its UID.
    Delete(Object),
    /// Begin this job, to be given up at the time.
    Start(Job, Timestamp),
    /// End every job that does not belong to teardown.
    CancelJobs,
    /// End this job.
    End(Job),
    /// End every job of the run.
    EndJobs,
}

/// The progress of a command.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Its facts are there.
    Done,
    /// These actions bring it on. None: something must change first.
    Act(Vec<Action>),
    /// The run continues with this if the gate with this id is True, and stops the run otherwise:
    /// no run continues without that proof.
    Prove(&'static str, Box<Progress>),
    /// The run cannot continue.
    Stop(Problem),
}

/// Something must change first.
pub(super) const WAIT: Progress = Progress::Act(Vec::new());

/// Everything that commands look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) run: &'a RunRef,
    pub(crate) spec: &'a DryRunSpec,
    pub(crate) facts: &'a Facts,
    /// The run's objects: those that carry its UID.
    pub(crate) objects: &'a BTreeMap<Object, Observed>,
    /// Jobs that are at work.
    pub(crate) running: &'a BTreeSet<Job>,
    /// Deadline of the command.
    pub(crate) deadline: Timestamp,
    pub(crate) now: Timestamp,
}

impl View<'_> {
    /// An object that exists and is not being deleted.
    pub(crate) fn alive(&self, object: impl Into<Object>) -> Option<&Observed> {
        self.objects.get(&object.into()).filter(|o| !o.deleting)
    }

    /// A pod that exists and is not being deleted.
    pub(crate) fn pod(&self, pod: RunPod) -> Option<&PodView> {
        self.alive(pod)?.pod.as_ref()
    }

    /// Returns true while a container runs.
    pub(crate) fn runs(&self, container: Container) -> bool {
        self.pod(container.pod())
            .is_some_and(|pod| pod.runs(container))
    }

    /// A job, in parallel to other actions.
    pub(super) fn job(&self, job: Job) -> Progress {
        Progress::Act(self.start(job))
    }

    /// Starts a job unless it is at work.
    pub(super) fn start(&self, job: Job) -> Vec<Action> {
        if self.running.contains(&job) {
            Vec::new()
        } else {
            vec![Action::Start(job, self.deadline)]
        }
    }

    /// A job in a container: it waits for the container, and stops when the pod has ended.
    pub(super) fn job_in(&self, container: Container, job: Job) -> Progress {
        // Before the job is asked: one that talks to a server which has ended tries until its
        // deadline.
        if let Some(stop) = self.pod_ended(container.pod()) {
            stop
        } else if self.runs(container) {
            self.job(job)
        } else {
            WAIT
        }
    }

    /// Inspects the pod of a container that runs; nothing when it was inspected.
    pub(super) fn inspect(&self, container: Container) -> Option<Progress> {
        let pod = container.pod();
        let inspected = self.facts.inspections.contains_key(&pod);
        (!inspected).then(|| self.job_in(container, Job::Inspect(pod)))
    }

    /// A job in a container of a pod that is inspected first.
    pub(super) fn inspected_job_in(&self, container: Container, job: Job) -> Progress {
        self.inspect(container)
            .unwrap_or_else(|| self.job_in(container, job))
    }

    /// Deletes a pod that has done its work, once its logs were read. Nothing is left to do when it
    /// is on its way out.
    pub(super) fn dismiss(&self, pod: RunPod) -> Option<Progress> {
        self.alive(pod)?;
        Some(if self.facts.container_logs.contains_key(&pod) {
            Progress::Act(vec![Action::Delete(pod.into())])
        } else {
            self.job(Job::ReadLogs(pod))
        })
    }

    /// Creates what is missing of these; a pod that is being deleted is waited for.
    pub(super) fn ensure<O: Into<Object> + Copy>(&self, objects: &[O]) -> Option<Progress> {
        let missing: Vec<Action> = objects
            .iter()
            .map(|object| (*object).into())
            .filter(|object| !self.objects.contains_key(object))
            .map(Action::Create)
            .collect();
        (!missing.is_empty()).then_some(Progress::Act(missing))
    }

    /// Stops the run when it cannot continue with this pod.
    pub(crate) fn pod_ended(&self, pod: RunPod) -> Option<Progress> {
        let reference = self.run.reference(pod);
        let observed = self.objects.get(&pod.into())?;
        if observed.deleting {
            return Some(self.deleted(pod));
        }
        let view = observed.pod.as_ref()?;
        let server = (pod == Container::Server.pod())
            .then(|| view.terminated.get(Container::Server.name()))
            .flatten();
        if server.is_none() && view.phase != "Failed" && view.phase != "Succeeded" {
            return None;
        }
        let failed = view.terminated.iter().find(|(_, ended)| ended.code != 0);
        let cause = failed.map(|(container, ended)| {
            let foreign = Container::ALL
                .into_iter()
                .any(|c| c.is_foreign() && c.pod() == pod && c.name() == container);
            let said = match ended.message.trim() {
                "" => &ended.reason,
                // The user's code can write its container's termination message, and signal its
                // PID 1.
                _ if foreign => &ended.reason,
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

    /// Stops the run because another hand deleted one of its pods.
    pub(super) fn deleted(&self, pod: RunPod) -> Progress {
        Progress::Stop(Problem::permanent(
            "PodDeleted",
            format!("{} was deleted by somebody else", self.run.reference(pod)),
        ))
    }
}

/// Exit codes of a server that the kubelet, or a process with power over its node, has stopped: 0,
/// and 128 with SIGKILL or SIGTERM.
const TOLD_TO_GO: [i32; 3] = [0, 137, 143];

/// The reason why the copy's server is not there any more: its agent refused to start it, it broke
/// down, or it was ended from outside.
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

/// A time so much later, or the end of time.
pub(crate) fn later(start: Timestamp, duration: Duration) -> Timestamp {
    start.checked_add(duration).unwrap_or(Timestamp::MAX)
}
