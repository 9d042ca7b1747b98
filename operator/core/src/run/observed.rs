//! The run's objects as they were seen.

use std::collections::{BTreeMap, BTreeSet};

use super::container::Container;
use crate::problem::Problem;

/// One of the run's objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Its UID.
    pub uid: String,
    /// It has a deletionTimestamp.
    pub deleting: bool,
    /// State of the pod.
    pub pod: Option<PodView>,
    /// The PersistentVolume that a claim is bound to.
    pub volume: Option<String>,
    /// A volume is being made for a claim: it comes, whether the claim is still there or not.
    pub provisioning: bool,
}

/// State of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodView {
    /// Pending, Running, Succeeded, Failed.
    pub phase: String,
    /// Node that it is bound to.
    pub node: Option<String>,
    /// Its address.
    pub ip: Option<String>,
    /// Containers, init containers included, that are running.
    pub running: BTreeSet<String>,
    /// Containers that have ended.
    pub terminated: BTreeMap<String, Ended>,
    /// Reason why it does not run yet: a reason and a message of the scheduler or the kubelet.
    pub waiting: Option<Problem>,
}

/// Exit of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code.
    pub code: i32,
    /// The kubelet's word for it, such as Error or OOMKilled.
    pub reason: String,
    /// The container's own termination message.
    pub message: String,
}

impl PodView {
    /// Returns true when this container did its work and ended.
    pub fn succeeded(&self, container: Container) -> bool {
        self.terminated
            .get(container.name())
            .is_some_and(|ended| ended.code == 0)
    }

    /// Returns true while this container runs.
    pub fn runs(&self, container: Container) -> bool {
        self.running.contains(container.name())
    }

    /// Reasons of a pod that starts as it should: they do not say why it does not run.
    pub const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];
}
