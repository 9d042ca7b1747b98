//! Names and labels of a run: they are made here and in [`super::object`], and nowhere else.

use kube::{Resource, ResourceExt};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

use super::object::{Object, RunPod};
use crate::digest::hex;

/// Label with the DryRun's UID on every object of a run.
pub const RUN_LABEL: &str = "dryrun.dev/run";
/// Label with the part that a pod plays in its run; NetworkPolicies select by it.
pub const ROLE_LABEL: &str = "dryrun.dev/role";
/// Label with the DryRun's UID on what outlives the run.
pub const RETAINED_LABEL: &str = "dryrun.dev/retained-run";
/// Label of a run's intruder with the UID of its run: its other labels are those of a harness of
/// another run.
pub const INTRUDER_LABEL: &str = "dryrun.dev/intruder-of";
/// Label of a run's objects in the namespace of probes with the namespace of their DryRun.
pub const NAMESPACE_LABEL: &str = "dryrun.dev/run-namespace";
/// Label of a namespace that is prepared for runs: `true`, or `probes` for the one of canaries.
pub const REHEARSAL_LABEL: &str = "dryrun.dev/rehearsal";
/// Value of [`REHEARSAL_LABEL`] on the namespace of probes.
pub const PROBES: &str = "probes";
/// Our finalizer on a DryRun.
pub const FINALIZER: &str = "dryrun.dev/teardown";
/// Annotation with the name of the user who abandons a DryRun.
pub const ABANDONED_BY: &str = "dryrun.dev/abandoned-by";
/// Name of the operator as a writer: field manager of every apply, and
/// `app.kubernetes.io/managed-by`.
pub const MANAGER: &str = "dryrun-operator";
/// Label with the name of the DryRun.
pub const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";

/// The DryRun that a run belongs to. Every name and label of the run's objects is made from it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunRef {
    /// Namespace of the DryRun.
    pub namespace: String,
    /// Name of the DryRun.
    pub name: String,
    /// UID of the DryRun.
    pub uid: String,
}

impl RunRef {
    /// The run of a stored DryRun, or of its metadata.
    pub fn of(run: &impl ResourceExt) -> Self {
        Self {
            namespace: run.namespace().unwrap_or_default(),
            name: run.name_any(),
            uid: run.uid().unwrap_or_default(),
        }
    }

    /// Name of an object. Those in the namespace of probes have a part of the UID: DryRuns of the
    /// same name in several namespaces meet there.
    pub fn name_of(&self, object: impl Into<Object>) -> String {
        let object = object.into();
        if object.is_outside() {
            format!("{}-{}-{}", self.name, object.role(), short(&self.uid))
        } else {
            format!("{}-{}", self.name, object.role())
        }
    }

    /// `Kind/name` of an object, as facts and messages have it.
    pub fn reference(&self, object: impl Into<Object>) -> String {
        let object = object.into();
        format!("{}/{}", object.kind(), self.name_of(object))
    }

    /// Namespace of an object.
    pub fn namespace_of<'a>(&'a self, object: Object, probes_namespace: &'a str) -> &'a str {
        if object.is_outside() {
            probes_namespace
        } else {
            &self.namespace
        }
    }

    /// Labels of an object.
    pub fn labels(&self, object: Object) -> BTreeMap<String, String> {
        let mut labels = self.instance_labels();
        labels.insert(RUN_LABEL.to_owned(), self.uid.clone());
        labels.insert(ROLE_LABEL.to_owned(), object.role().to_owned());
        if object == Object::Pod(RunPod::Intruder) {
            labels.insert(RUN_LABEL.to_owned(), self.stranger());
            labels.insert(ROLE_LABEL.to_owned(), RunPod::Harness.role().to_owned());
            labels.insert(INTRUDER_LABEL.to_owned(), self.uid.clone());
        }
        if object.is_outside() {
            labels.insert(NAMESPACE_LABEL.to_owned(), self.namespace.clone());
        }
        labels
    }

    /// Labels of what outlives the run.
    pub fn retained_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.instance_labels();
        labels.insert(RETAINED_LABEL.to_owned(), self.uid.clone());
        labels
    }

    fn instance_labels(&self) -> BTreeMap<String, String> {
        let managed_by = "app.kubernetes.io/managed-by";
        BTreeMap::from([
            (managed_by.to_owned(), MANAGER.to_owned()),
            (INSTANCE_LABEL.to_owned(), self.name.clone()),
        ])
    }

    /// Label selector of all objects but the intruder.
    pub fn selector(&self) -> String {
        format!("{RUN_LABEL}={}", self.uid)
    }

    /// Label selector of the intruder.
    pub fn intruder_selector(&self) -> String {
        format!("{INTRUDER_LABEL}={}", self.uid)
    }

    /// Returns true for an object that carries the UID of this run.
    pub fn owns<K: Resource>(&self, object: &K) -> bool {
        let labels = object.labels();
        [RUN_LABEL, INTRUDER_LABEL]
            .iter()
            .any(|label| labels.get(*label) == Some(&self.uid))
    }

    /// The UID of the run whose harness the intruder looks like: no run has it.
    fn stranger(&self) -> String {
        let digest = hex(&Sha256::digest(&self.uid));
        format!("{}-intruder", digest.get(..16).unwrap_or_default())
    }

    /// Name of the report: with a part of the UID, since it outlives the DryRun and another of the
    /// same name may follow.
    pub fn report(&self) -> String {
        format!("{}-{}", self.name, short(&self.uid))
    }

    /// Name of the ConfigMap with this part of the evidence, counted from 0. That of a run that
    /// ended early has other names: C-12 may have stored parts before it was cut short.
    pub fn evidence(&self, partial: bool, part: usize) -> String {
        let word = if partial { "-partial" } else { "" };
        format!("{}-evidence{word}-{part}", self.report())
    }

    /// Name of the copy's bootstrap superuser, with which the operator judges it.
    pub fn bootstrap_role(&self) -> String {
        bootstrap_role(&self.uid)
    }

    /// Name of the superuser that restores; it is locked when the restore is over.
    pub fn restore_role(&self) -> String {
        restore_role(&self.uid)
    }
}

/// [`RunRef::bootstrap_role`] of the run with this UID: agents know no more of a run.
pub fn bootstrap_role(uid: &str) -> String {
    format!("dryrun_{}", short(uid))
}

/// [`RunRef::restore_role`] of the run with this UID.
pub fn restore_role(uid: &str) -> String {
    format!("dryrun_{}_restore", short(uid))
}

/// The first eight hex digits of a UID.
fn short(uid: &str) -> &str {
    uid.get(..8).unwrap_or(uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn run(name: &str) -> RunRef {
        RunRef {
            namespace: "rehearsal".into(),
            name: name.into(),
            uid: "01234567-89".into(),
        }
    }

    #[test]
    fn names_are_distinct() {
        let names: BTreeSet<_> = Object::ALL.iter().map(|o| run("a").name_of(*o)).collect();
        assert_eq!(names.len(), Object::ALL.len());
    }

    #[test]
    fn what_was_sealed_on_the_way_out_meets_no_other() {
        assert_eq!(run("a").evidence(false, 0), "a-01234567-evidence-0");
        assert_eq!(run("a").evidence(true, 0), "a-01234567-evidence-partial-0");
    }

    proptest! {
        #[test]
        fn names_are_dns_labels(name in "[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?") {
            for object in Object::ALL {
                let name = run(&name).name_of(object);
                prop_assert!(name.len() <= 63, "{name}");
                prop_assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
            }
        }
    }
}
