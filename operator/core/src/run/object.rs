//! The objects of a run.

use super::id::short;

/// The objects that a run creates, in the order of creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// Credentials of the run.
    Secret,
    /// Volume of the dump and the copy.
    DataVolume,
    /// Volume of logs.
    EvidenceVolume,
    /// Lets the dump and identity pods reach production.
    ProductionEgress,
    /// Lets the restore and harness pods reach the copy.
    CopyEgress,
    /// Lets the copy be reached by the restore and harness pods.
    CopyIngress,
    /// Dumps production.
    DumpPod,
    /// The copy.
    PostgresPod,
    /// Restores the dump.
    RestorePod,
    /// Runs the scenarios.
    HarnessPod,
    /// Searches and seals what is kept.
    SealPod,
    /// Reads production's identity again.
    IdentityPod,
    /// Tries to reach everything, with the labels of another run's harness.
    IntruderPod,
    /// Reaches what the run's pods must not, on the same node, in the namespace of probes.
    CanaryPod,
    /// Answers there, on another node where there is one, and tries to reach the copy from afar.
    ListenerPod,
}

impl Object {
    /// All objects of a run.
    pub const ALL: [Self; 15] = [
        Self::Secret,
        Self::DataVolume,
        Self::EvidenceVolume,
        Self::ProductionEgress,
        Self::CopyEgress,
        Self::CopyIngress,
        Self::DumpPod,
        Self::PostgresPod,
        Self::RestorePod,
        Self::HarnessPod,
        Self::SealPod,
        Self::IdentityPod,
        Self::IntruderPod,
        Self::CanaryPod,
        Self::ListenerPod,
    ];

    /// The pods among them.
    pub const PODS: [Self; 9] = [
        Self::DumpPod,
        Self::PostgresPod,
        Self::RestorePod,
        Self::HarnessPod,
        Self::SealPod,
        Self::IdentityPod,
        Self::IntruderPod,
        Self::CanaryPod,
        Self::ListenerPod,
    ];

    /// Pods that hold nothing: they probe, or answer probes.
    pub const PROBERS: [Self; 3] = [Self::IntruderPod, Self::CanaryPod, Self::ListenerPod];

    /// The pods whose containers' logs are read: all that hold data or run somebody's code.
    pub const LOGGED: [Self; 4] = [
        Self::DumpPod,
        Self::RestorePod,
        Self::PostgresPod,
        Self::HarnessPod,
    ];

    /// Kind of the object.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::DataVolume | Self::EvidenceVolume => "PersistentVolumeClaim",
            Self::ProductionEgress | Self::CopyEgress | Self::CopyIngress => "NetworkPolicy",
            Self::DumpPod
            | Self::PostgresPod
            | Self::RestorePod
            | Self::HarnessPod
            | Self::SealPod
            | Self::IdentityPod
            | Self::IntruderPod
            | Self::ListenerPod
            | Self::CanaryPod => "Pod",
        }
    }

    /// The part that it plays: the last part of its name, and the value of [`ROLE_LABEL`].
    pub fn role(self) -> &'static str {
        match self {
            Self::Secret => "credentials",
            Self::DataVolume => "data",
            Self::EvidenceVolume => "evidence",
            Self::ProductionEgress => "production-egress",
            Self::CopyEgress => "copy-egress",
            Self::CopyIngress => "copy-ingress",
            Self::DumpPod => "dump",
            Self::PostgresPod => "postgres",
            Self::RestorePod => "restore",
            Self::HarnessPod => "harness",
            Self::SealPod => "seal",
            Self::IdentityPod => "identity",
            Self::IntruderPod => "intruder",
            Self::CanaryPod => "canary",
            Self::ListenerPod => "listener",
        }
    }

    /// It lives in the namespace of probes, not in the rehearsal namespace.
    pub fn is_outside(self) -> bool {
        matches!(self, Self::CanaryPod | Self::ListenerPod)
    }

    /// The NetworkPolicies that allow a pod something. No other of the namespace may.
    pub fn allowances(self) -> &'static [Self] {
        match self {
            Self::DumpPod | Self::IdentityPod => &[Self::ProductionEgress],
            Self::PostgresPod => &[Self::CopyIngress],
            Self::RestorePod | Self::HarnessPod => &[Self::CopyEgress],
            Self::Secret
            | Self::DataVolume
            | Self::EvidenceVolume
            | Self::ProductionEgress
            | Self::CopyEgress
            | Self::CopyIngress
            | Self::SealPod
            | Self::IntruderPod
            | Self::ListenerPod
            | Self::CanaryPod => &[],
        }
    }

    /// Name of the object in the run of the DryRun `run`. Those in the namespace of probes have a part of its UID: DryRuns of the same name in
    /// several namespaces meet there.
    pub fn name(self, run: &str, uid: &str) -> String {
        if self.is_outside() {
            format!("{run}-{}-{}", self.role(), short(uid))
        } else {
            format!("{run}-{}", self.role())
        }
    }

    /// `Kind/name`, as facts and messages have it.
    pub fn reference(self, run: &str, uid: &str) -> String {
        format!("{}/{}", self.kind(), self.name(run, uid))
    }
}

/// Keys of the run's Secret. Each pod mounts only its own.
pub mod key {
    use super::Object;

    /// Password of the copy's bootstrap superuser.
    pub const SUPERUSER: &str = "superuser";
    /// Password of the superuser that restores.
    pub const RESTORE: &str = "restore";
    /// Planted in the copy's log, to be found there by the search for credentials.
    pub const CANARY: &str = "canary";
    /// Agents that have a control token of their own, by the name of their container.
    pub const AGENTS: [&str; 9] = [
        "dump", "isolate", "probe", "restore", "inputs", "observer", "harness", "seal", "identity",
    ];

    /// Control token of the agent in this container.
    pub fn token(container: &str) -> String {
        format!("token-{container}")
    }

    /// Every key.
    pub fn all() -> Vec<String> {
        let passwords = [SUPERUSER, RESTORE, CANARY].map(str::to_owned);
        passwords.into_iter().chain(AGENTS.map(token)).collect()
    }

    /// The keys that this pod may mount.
    pub fn of(pod: Object) -> Vec<String> {
        match pod {
            Object::DumpPod => vec![token("dump")],
            Object::PostgresPod => vec![token("isolate"), token("probe"), SUPERUSER.into()],
            Object::RestorePod => vec![token("restore"), RESTORE.into()],
            Object::HarnessPod => ["inputs", "observer", "harness"].map(token).into(),
            // It looks for all of them.
            Object::SealPod => all(),
            Object::IdentityPod => vec![token("identity")],
            Object::Secret
            | Object::DataVolume
            | Object::EvidenceVolume
            | Object::ProductionEgress
            | Object::CopyEgress
            | Object::CopyIngress
            | Object::IntruderPod
            | Object::ListenerPod
            | Object::CanaryPod => Vec::new(),
        }
    }

    /// Whether this pod may mount production's password.
    pub fn needs_source(pod: Object) -> bool {
        matches!(pod, Object::DumpPod | Object::SealPod | Object::IdentityPod)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_distinct() {
        let names: std::collections::BTreeSet<_> = Object::ALL
            .iter()
            .map(|o| o.name("a", "01234567-89"))
            .collect();
        assert_eq!(names.len(), Object::ALL.len());
        assert!(
            Object::ALL
                .iter()
                .filter(|o| o.kind() == "Pod")
                .eq(Object::PODS.iter())
        );
    }

    proptest! {
        #[test]
        fn names_are_dns_labels(run in "[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?") {
            for object in Object::ALL {
                let name = object.name(&run, "01234567-89");
                prop_assert!(name.len() <= 63, "{name}");
                prop_assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
            }
        }
    }
}
