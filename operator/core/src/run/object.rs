//! The objects of a run.

use serde::{Deserialize, Serialize};

/// An object that a run creates. The order is that of creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// Credentials of the run.
    Secret,
    /// A PersistentVolumeClaim.
    Volume(RunVolume),
    /// A NetworkPolicy.
    Policy(RunPolicy),
    /// A pod.
    Pod(RunPod),
}

/// A volume of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunVolume {
    /// The dump and the copy.
    Data,
    /// Logs.
    Evidence,
}

/// A NetworkPolicy of the run. Each allows something on top of the namespace's deny-all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunPolicy {
    /// Lets the dump and identity pods reach production.
    ProductionEgress,
    /// Lets the restore and harness pods reach the copy.
    CopyEgress,
    /// Lets the copy be reached by the restore and harness pods.
    CopyIngress,
}

/// A pod of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RunPod {
    /// Dumps production.
    Dump,
    /// The copy.
    Postgres,
    /// Restores the dump.
    Restore,
    /// Runs the scenarios.
    Harness,
    /// Searches and seals what is kept.
    Seal,
    /// Reads production's identity again.
    Identity,
    /// Tries to reach everything, with the labels of another run's harness.
    Intruder,
    /// Reaches what the run's pods must not, on the same node, in the namespace of probes.
    Canary,
    /// Answers there, on another node where there is one, and tries to reach the copy from afar.
    Listener,
}

impl Object {
    /// All objects of a run.
    pub const ALL: [Self; 15] = [
        Self::Secret,
        Self::Volume(RunVolume::Data),
        Self::Volume(RunVolume::Evidence),
        Self::Policy(RunPolicy::ProductionEgress),
        Self::Policy(RunPolicy::CopyEgress),
        Self::Policy(RunPolicy::CopyIngress),
        Self::Pod(RunPod::Dump),
        Self::Pod(RunPod::Postgres),
        Self::Pod(RunPod::Restore),
        Self::Pod(RunPod::Harness),
        Self::Pod(RunPod::Seal),
        Self::Pod(RunPod::Identity),
        Self::Pod(RunPod::Intruder),
        Self::Pod(RunPod::Canary),
        Self::Pod(RunPod::Listener),
    ];

    /// Kind of the object.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::Volume(_) => "PersistentVolumeClaim",
            Self::Policy(_) => "NetworkPolicy",
            Self::Pod(_) => "Pod",
        }
    }

    /// The part that it plays: the last part of its name, and the value of
    /// [`ROLE_LABEL`](super::id::ROLE_LABEL).
    pub fn role(self) -> &'static str {
        match self {
            Self::Secret => "credentials",
            Self::Volume(RunVolume::Data) => "data",
            Self::Volume(RunVolume::Evidence) => "evidence",
            Self::Policy(RunPolicy::ProductionEgress) => "production-egress",
            Self::Policy(RunPolicy::CopyEgress) => "copy-egress",
            Self::Policy(RunPolicy::CopyIngress) => "copy-ingress",
            Self::Pod(pod) => pod.role(),
        }
    }

    /// It is a pod.
    pub fn is_pod(self) -> bool {
        matches!(self, Self::Pod(_))
    }

    /// It lives in the namespace of probes, not in the rehearsal namespace.
    pub fn is_outside(self) -> bool {
        matches!(self, Self::Pod(pod) if pod.is_outside())
    }
}

impl RunVolume {
    /// All volumes of a run.
    pub const ALL: [Self; 2] = [Self::Data, Self::Evidence];
}

impl RunPolicy {
    /// All NetworkPolicies of a run.
    pub const ALL: [Self; 3] = [Self::ProductionEgress, Self::CopyEgress, Self::CopyIngress];
}

impl RunPod {
    /// All pods of a run.
    pub const ALL: [Self; 9] = [
        Self::Dump,
        Self::Postgres,
        Self::Restore,
        Self::Harness,
        Self::Seal,
        Self::Identity,
        Self::Intruder,
        Self::Canary,
        Self::Listener,
    ];

    /// Pods that hold nothing: they probe, or answer probes.
    pub const PROBERS: [Self; 3] = [Self::Intruder, Self::Canary, Self::Listener];

    /// The pods whose containers' logs are read: each that holds data or run the user's code.
    pub const LOGGED: [Self; 4] = [Self::Dump, Self::Restore, Self::Postgres, Self::Harness];

    /// The pods that are inspected as the apiserver has them, each while it lives: each that holds
    /// data or secrets.
    pub const INSPECTED: [Self; 6] = [
        Self::Dump,
        Self::Postgres,
        Self::Restore,
        Self::Harness,
        Self::Seal,
        Self::Identity,
    ];

    /// The part that it plays in the run.
    pub fn role(self) -> &'static str {
        match self {
            Self::Dump => "dump",
            Self::Postgres => "postgres",
            Self::Restore => "restore",
            Self::Harness => "harness",
            Self::Seal => "seal",
            Self::Identity => "identity",
            Self::Intruder => "intruder",
            Self::Canary => "canary",
            Self::Listener => "listener",
        }
    }

    /// It lives in the namespace of probes, not in the rehearsal namespace.
    pub fn is_outside(self) -> bool {
        matches!(self, Self::Canary | Self::Listener)
    }

    /// The NetworkPolicies that allow it something. No other of the namespace may.
    pub fn allowances(self) -> &'static [RunPolicy] {
        match self {
            Self::Dump | Self::Identity => &[RunPolicy::ProductionEgress],
            Self::Postgres => &[RunPolicy::CopyIngress],
            Self::Restore | Self::Harness => &[RunPolicy::CopyEgress],
            Self::Seal | Self::Intruder | Self::Canary | Self::Listener => &[],
        }
    }
}

impl From<RunVolume> for Object {
    fn from(volume: RunVolume) -> Self {
        Self::Volume(volume)
    }
}

impl From<RunPolicy> for Object {
    fn from(policy: RunPolicy) -> Self {
        Self::Policy(policy)
    }
}

impl From<RunPod> for Object {
    fn from(pod: RunPod) -> Self {
        Self::Pod(pod)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_complete() {
        let pods = Object::ALL.into_iter().filter(|object| object.is_pod());
        assert!(pods.eq(RunPod::ALL.map(Object::Pod)));
        for pod in RunPod::ALL {
            let written = serde_json::to_value(pod).unwrap();
            assert_eq!(written, pod.role(), "facts name pods by their role");
        }
    }
}
