//! Reports that expire.

use dryrun_core::api::DryRunReport;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use crate::cluster::{Cluster, NAMESPACE};
use crate::model_apiserver::Model;
use crate::model_apiserver::faults::{Effect, Fault, forbidden, on};
use crate::model_apiserver::store::Key;

fn report(name: &str, expires: Option<Timestamp>) -> Value {
    json!({
        "apiVersion": "dryrun.dev/v1alpha1", "kind": "DryRunReport",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "dryRunName": "gone", "dryRunUID": "00000000-0000-4000-8000-000000000000", "planHash": "sha256:p",
            "plan": {}, "requestedBy": "alice", "approvedBy": "bob", "approvalName": "a", "approvalUID": "u",
        },
        "status": {"expiresAt": expires},
    })
}

fn ago() -> Option<Timestamp> {
    Some(Timestamp::now() - SignedDuration::from_hours(1))
}

async fn gone(cluster: &Cluster, name: &str) {
    let look = |model: &Model| {
        let found: Option<DryRunReport> = model.get(NAMESPACE, name);
        found.is_none().then_some(())
    };
    cluster.model.until(name, look).await;
}

fn is_there(cluster: &Cluster, name: &str) -> bool {
    cluster.model.get::<DryRunReport>(NAMESPACE, name).is_some()
}

#[test]
fn an_expired_report_goes_with_its_evidence_and_no_other() {
    let cluster = Cluster::new();
    let later = Timestamp::now() + SignedDuration::from_hours(1);
    cluster.model.seed(report("later", Some(later)));
    cluster.model.seed(report("never", None));
    // An undecodable one keeps no other from expiring.
    cluster.model.seed(json!({
        "apiVersion": "dryrun.dev/v1alpha1", "kind": "DryRunReport",
        "metadata": {"name": "alien", "namespace": NAMESPACE}, "spec": {"fromTheFuture": true},
    }));
    cluster.model.seed(report("expired", ago()));
    let uid = cluster
        .model
        .get::<DryRunReport>(NAMESPACE, "expired")
        .unwrap()
        .metadata
        .uid;
    cluster.model.seed(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "evidence", "namespace": NAMESPACE,
            "ownerReferences": [{"apiVersion": "dryrun.dev/v1alpha1", "kind": "DryRunReport", "name": "expired", "uid": uid}],
        },
    }));
    cluster.operate(gone(&cluster, "expired"));
    assert!(
        cluster
            .model
            .get::<ConfigMap>(NAMESPACE, "evidence")
            .is_none()
    );
    assert!(is_there(&cluster, "later") && is_there(&cluster, "never"));
    assert!(
        cluster
            .model
            .state()
            .store
            .read(&Key::new("dryrunreports", NAMESPACE, "alien"))
            .is_some()
    );
    assert_eq!(cluster.done(|call| call.verb == "delete"), 1);
}

#[test]
fn a_report_is_deleted_when_its_time_comes() {
    let cluster = Cluster::new();
    let soon = Timestamp::now() + SignedDuration::from_millis(300);
    cluster.model.seed(report("soon", Some(soon)));
    cluster.operate(gone(&cluster, "soon"));
    assert!(Timestamp::now() >= soon);
}

#[test]
fn a_delete_that_fails_is_tried_again() {
    let cluster = Cluster::new();
    cluster.model.seed(report("expired", ago()));
    let refused = Fault::times(2, on("delete dryrunreports/expired"), || {
        Effect::Refuse(forbidden())
    });
    cluster.model.fault(refused);
    cluster.model.fault(Fault::once(
        on("delete dryrunreports/expired"),
        Effect::LoseRequest,
    ));
    cluster.operate(gone(&cluster, "expired"));
    assert_eq!(
        cluster
            .model
            .calls()
            .iter()
            .filter(|call| call.verb == "delete")
            .count(),
        4
    );
}

#[test]
fn a_report_that_a_user_deletes_is_no_error() {
    let cluster = Cluster::new();
    cluster.model.seed(report("expired", ago()));
    let gone_before = Effect::First(Box::new(|state| {
        state
            .store
            .remove(&Key::new("dryrunreports", NAMESPACE, "expired"))
    }));
    cluster
        .model
        .fault(Fault::once(on("delete dryrunreports/expired"), gone_before));
    cluster.operate(cluster.called(1, |call| {
        on("delete dryrunreports/expired")(call) && call.answer == Some(404)
    }));
    assert_eq!(
        cluster
            .model
            .calls()
            .iter()
            .filter(|call| call.verb == "delete")
            .count(),
        1
    );
}

/// Another report of the same name came in the last moment: it is not the one that has expired.
#[test]
fn a_report_of_the_same_name_is_not_deleted() {
    let cluster = Cluster::new();
    cluster.model.seed(report("expired", ago()));
    let replaced = Effect::First(Box::new(|state| {
        state
            .store
            .remove(&Key::new("dryrunreports", NAMESPACE, "expired"));
        state.store.seed(report("expired", None));
    }));
    cluster
        .model
        .fault(Fault::once(on("delete dryrunreports/expired"), replaced));
    cluster.operate(cluster.called(1, |call| {
        on("delete dryrunreports/expired")(call) && call.answer == Some(409)
    }));
    assert!(is_there(&cluster, "expired"));
}

/// A foreign finalizer holds it: its deletion was requested once.
#[test]
fn a_report_that_is_being_deleted_is_left_alone() {
    let cluster = Cluster::new();
    let mut held = report("held", ago());
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    cluster.model.seed(held);
    cluster.model.seed(report("expired", ago()));
    cluster.operate(async {
        gone(&cluster, "expired").await;
        let deleting = |model: &Model| {
            let held: DryRunReport = model.get(NAMESPACE, "held")?;
            held.metadata.deletion_timestamp.map(drop)
        };
        cluster.model.until("the deletion", deleting).await;
        cluster
            .model
            .state()
            .store
            .change(&Key::new("dryrunreports", NAMESPACE, "held"), |held| {
                held["metadata"]["labels"] = json!({"touched": "yes"});
            });
        // It is looked at again, and a report that expires after it is deleted.
        cluster.model.seed(report("another", ago()));
        gone(&cluster, "another").await;
    });
    assert_eq!(cluster.done(on("delete dryrunreports/held")), 1);
}
