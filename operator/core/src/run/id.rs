//! Names and labels of a run: they are made here and in [`super::object`], and nowhere else.

use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

use super::object::Object;
use crate::digest::hex;

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

    #[test]
    fn what_was_sealed_on_the_way_out_meets_no_other() {
        let name = |partial| evidence("a", "01234567-89", partial, 0);
        assert_eq!(name(false), "a-01234567-evidence-0");
        assert_eq!(name(true), "a-01234567-evidence-partial-0");
    }
}
