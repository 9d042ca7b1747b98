//! G-02 NamesFree.

use super::{Evidence, Gate, Verdict, count, examples};
use crate::commands::Command;

pub(super) static GATE: Gate = Gate {
    id: "G-02",
    name: "NamesFree",
    doc: "Every exact name of the run's objects was free or is held by this run, and the volumes will be deleted with their claims.",
    command: Command::Preflight,
    evidence: &["/preflight"],
    needs: &[],
    reasons: &[
        (
            "NameTaken",
            "An object of somebody else has one of the names.",
        ),
        (
            "ReclaimPolicy",
            "The StorageClass does not delete its volumes: production's data would stay behind.",
        ),
        (
            "NotPrepared",
            "The namespace, or that of probes, is not prepared for runs, or there is no StorageClass for the volumes.",
        ),
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let Some(preflight) = &evidence.facts.preflight else {
        return Verdict::pending();
    };
    if !preflight.taken.is_empty() {
        return Verdict::fail(
            "NameTaken",
            format!("taken by somebody else: {}", examples(&preflight.taken)),
        );
    }
    if !preflight.missing_prerequisites.is_empty() {
        return Verdict::fail("NotPrepared", examples(&preflight.missing_prerequisites));
    }
    match &preflight.storage_class {
        Some(class) if class.reclaim_policy == "Delete" => Verdict::pass(format!(
            "{} free; volumes of {} are deleted",
            count(preflight.names.into(), "name"),
            class.name
        )),
        Some(class) => Verdict::fail(
            "ReclaimPolicy",
            format!(
                "StorageClass {} has reclaim policy {}, not Delete",
                class.name, class.reclaim_policy
            ),
        ),
        None => Verdict::fail(
            "NotPrepared",
            "there is no default StorageClass: name one in postgres.storage.storageClassName",
        ),
    }
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::test_support::{World, Worlds};
    Worlds {
        fail: vec![
            (
                "NameTaken",
                World::with(|f| {
                    f.preflight.as_mut().unwrap().taken = vec!["Pod/demo-postgres".into()]
                }),
            ),
            (
                "ReclaimPolicy",
                World::with(|f| {
                    f.preflight
                        .as_mut()
                        .unwrap()
                        .storage_class
                        .as_mut()
                        .unwrap()
                        .reclaim_policy = "Retain".into()
                }),
            ),
            (
                "NotPrepared",
                World::with(|f| f.preflight.as_mut().unwrap().storage_class = None),
            ),
            (
                "NotPrepared",
                World::with(|f| {
                    f.preflight.as_mut().unwrap().missing_prerequisites =
                        vec!["no deny-all NetworkPolicy".into()]
                }),
            ),
        ],
        unknown: vec![("Pending", World::empty())],
    }
}
