//! Every name and label of a run's objects is made here and nowhere else.

use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

use crate::tree::hex;

/// Label with the DryRun's UID on every object of a run.
pub const RUN_LABEL: &str = "dryrun.dev/run";
/// Label with the part that a pod plays in its run; NetworkPolicies select by it.
pub const ROLE_LABEL: &str = "dryrun.dev/role";
/// Label with the DryRun's UID on what outlives the run.
pub const RETAINED_LABEL: &str = "dryrun.dev/retained-run";
/// Label of a run's intruder with the UID of its run: its other labels are those of a harness of another run.
pub const INTRUDER_LABEL: &str = "dryrun.dev/intruder-of";
/// Label of a run's objects in the namespace of probes with the namespace of their DryRun.
pub const NAMESPACE_LABEL: &str = "dryrun.dev/run-namespace";
/// Label of a namespace that is prepared for runs: `true`, or `probes` for the one of canaries.
pub const REHEARSAL_LABEL: &str = "dryrun.dev/rehearsal";
/// Value of [`REHEARSAL_LABEL`] on the namespace of probes.
pub const PROBES: &str = "probes";
/// Our finalizer on a DryRun.
pub const FINALIZER: &str = "dryrun.dev/teardown";
/// Annotation with the name of who lets go of a DryRun by force.
pub const ABANDONED_BY: &str = "dryrun.dev/abandoned-by";
/// Who writes: field manager of every apply, and `app.kubernetes.io/managed-by`.
pub const MANAGER: &str = "dryrun-operator";

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

/// Labels of an object of the run with this UID.
pub fn labels(run: &str, uid: &str, object: Object) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        (RUN_LABEL.to_owned(), uid.to_owned()),
        (ROLE_LABEL.to_owned(), object.role().to_owned()),
        (
            "app.kubernetes.io/managed-by".to_owned(),
            MANAGER.to_owned(),
        ),
        ("app.kubernetes.io/instance".to_owned(), run.to_owned()),
    ]);
    if object == Object::IntruderPod {
        labels.insert(RUN_LABEL.to_owned(), stranger(uid));
        labels.insert(ROLE_LABEL.to_owned(), Object::HarnessPod.role().to_owned());
        labels.insert(INTRUDER_LABEL.to_owned(), uid.to_owned());
    }
    labels
}

/// The UID of the run whose harness the intruder looks like: no run has it.
fn stranger(uid: &str) -> String {
    let digest = hex(&Sha256::digest(uid));
    format!("{}-intruder", digest.get(..16).unwrap_or_default())
}

/// Labels of what outlives the run.
pub fn retained_labels(run: &str, uid: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (RETAINED_LABEL.to_owned(), uid.to_owned()),
        (
            "app.kubernetes.io/managed-by".to_owned(),
            MANAGER.to_owned(),
        ),
        ("app.kubernetes.io/instance".to_owned(), run.to_owned()),
    ])
}

/// Name of the report: with a part of the UID, since it outlives the DryRun and another of the same name may follow.
pub fn report(run: &str, uid: &str) -> String {
    format!("{run}-{}", short(uid))
}

/// Name of the ConfigMap with this part of the evidence, counted from 0. That of a run that ended early has names of its own: C-12 may have stored
/// parts before it was cut short.
pub fn evidence(run: &str, uid: &str, partial: bool, part: usize) -> String {
    let word = if partial { "-partial" } else { "" };
    format!("{}-evidence{word}-{part}", report(run, uid))
}

/// Name of the copy's bootstrap superuser, with which the operator judges it.
pub fn bootstrap_role(uid: &str) -> String {
    format!("dryrun_{}", short(uid))
}

/// Name of the superuser that restores; it is locked when the restore is over.
pub fn restore_role(uid: &str) -> String {
    format!("dryrun_{}_restore", short(uid))
}

/// The first eight hex digits of a UID.
pub fn short(uid: &str) -> &str {
    uid.get(..8).unwrap_or(uid)
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

    #[test]
    fn what_was_sealed_on_the_way_out_meets_no_other() {
        let name = |partial| evidence("a", "01234567-89", partial, 0);
        assert_eq!(name(false), "a-01234567-evidence-0");
        assert_eq!(name(true), "a-01234567-evidence-partial-0");
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
