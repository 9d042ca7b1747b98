//! Findings about any pod.

#[cfg(test)]
use super::Job;
use super::{Command, Facts, Finding};
use crate::run::container::Container;
use crate::run::facts::{LeakFacts, PodInspection};
use crate::run::object::RunPod;

/// The command that inspects a pod.
pub(super) fn inspected_in(pod: RunPod) -> Command {
    match pod {
        RunPod::Dump => Command::Dump,
        // The restore pod is there from C-04 on: it shows that the copy can be reached from where
        // it may be.
        RunPod::Postgres | RunPod::Restore => Command::Isolate,
        RunPod::Harness | RunPod::Identity => Command::Harness,
        RunPod::Seal => Command::Verify,
        RunPod::Intruder | RunPod::Canary | RunPod::Listener => Command::Teardown,
    }
}

/// The command that reads the logs of a pod, before it is deleted.
pub(super) fn dismissed_in(pod: RunPod) -> Command {
    match pod {
        RunPod::Dump => Command::Isolate,
        RunPod::Restore => Command::Harness,
        RunPod::Postgres
        | RunPod::Harness
        | RunPod::Seal
        | RunPod::Identity
        | RunPod::Intruder
        | RunPod::Canary
        | RunPod::Listener => Command::Verify,
    }
}

/// A pod as it is.
#[derive(Clone, Debug)]
pub struct Inspected(pub RunPod, pub PodInspection);

impl Finding for Inspected {
    fn absorb(&self, facts: &mut Facts) {
        facts.inspections.insert(self.0, self.1.clone());
    }
}

/// The search of the logs of a pod's containers.
#[derive(Clone, Debug)]
pub struct LogsRead(pub RunPod, pub LeakFacts);

impl Finding for LogsRead {
    fn absorb(&self, facts: &mut Facts) {
        facts.container_logs.insert(self.0, self.1.clone());
    }
}

#[cfg(test)]
pub(super) fn found(known: &Facts, job: Job) -> Option<std::sync::Arc<dyn Finding>> {
    if let Job::Inspect(pod) = job {
        let inspection = known.inspections.get(&pod)?.clone();
        Some(std::sync::Arc::new(Inspected(pod, inspection)))
    } else if let Job::ReadLogs(pod) = job {
        let search = known.container_logs.get(&pod)?.clone();
        Some(std::sync::Arc::new(LogsRead(pod, search)))
    } else {
        None
    }
}

/// An init container was released.
#[derive(Clone, Copy, Debug)]
pub struct Released(pub Container);

impl Finding for Released {
    fn absorb(&self, facts: &mut Facts) {
        facts.released.insert(self.0);
    }
}
