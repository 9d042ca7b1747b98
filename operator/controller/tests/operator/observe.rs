//! What an operator makes of what it can see, and of what it cannot.

use dryrun_core::api::DryRun;
use dryrun_core::run::id::ABANDONED_BY;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::cluster::{Cluster, NAME, NAMESPACE, PROBES, create};
use crate::model_apiserver::Model;
use crate::model_apiserver::faults::{Call, Effect, Fault, MakeEffect, forbidden, internal, on};
use crate::model_apiserver::store::Key;

fn listing(plural: &'static str, namespace: &'static str) -> impl Fn(&Call) -> bool + Send + Copy {
    move |call| call.verb == "list" && call.plural == plural && call.namespace == namespace
}

async fn abandon(cluster: &Cluster) {
    let runs: Api<DryRun> = Api::namespaced(cluster.model.user(), NAMESPACE);
    let patch = json!({"metadata": {"annotations": {ABANDONED_BY: "carol"}}});
    runs.patch(NAME, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
}

/// Waits until this pod of the run runs.
async fn runs(cluster: &Cluster, name: &str) {
    let running = |model: &Model| {
        let pod: Pod = model.get(NAMESPACE, name)?;
        (pod.status?.phase? == "Running").then_some(())
    };
    cluster.model.until(name, running).await;
}

#[test]
fn a_namespace_that_is_not_prepared_is_said_to_be() {
    let cluster = Cluster::new().without_namespaces();
    let message = cluster.operate(async {
        cluster.ask().await;
        cluster.condition("Approved", "NamespaceNotPrepared").await
    });
    assert!(message.unwrap().contains("rehearsalNamespaces={rehearsal}"));
    assert_eq!(
        cluster.done(|call| call.verb == "create" && call.plural != "events"),
        0
    );
}

/// An upgrade forgets the namespace in mid-run, and the next one brings it back.
#[test]
fn a_run_that_is_shut_out_waits_and_goes_on() {
    let mut cluster = Cluster::new();
    cluster.pods.stick("scenario-0");
    cluster.operate(async {
        cluster.begin().await;
        cluster.pods.stuck().await;
    });
    cluster.namespaces.clear();
    let before = cluster.done(|call| call.write.is_some());
    let message = cluster.operate(cluster.condition("Reconciling", "NotPrepared"));
    assert!(message.unwrap().contains("is not prepared"));
    assert_eq!(
        cluster.done(|call| call.write.is_some()),
        before + 1,
        "the status alone"
    );
    cluster.namespaces.push(NAMESPACE.into());
    cluster.pods.stick("");
    let status = cluster.operate(cluster.ended());
    cluster.assert_passed(&status.unwrap(), "shut out for a while");
}

#[test]
fn a_read_that_fails_is_made_again() {
    let reads: [(&str, MakeEffect); 6] = [
        ("get dryruns/demo", || Effect::Refuse(internal())),
        ("get dryrunreports/*", || Effect::LoseAnswer),
        ("get namespaces/rehearsal", || Effect::Hang),
        (
            "list persistentvolumeclaims",
            || Effect::Refuse(forbidden()),
        ),
        ("list networkpolicies", || Effect::LoseRequest),
        (
            "get secrets/demo-credentials",
            || Effect::Refuse(internal()),
        ),
    ];
    let cluster = Cluster::new();
    for (read, effect) in reads {
        cluster
            .model
            .fault(Fault::times(3, on(read), effect).after(10));
    }
    let status = cluster.complete();
    cluster.assert_passed(&status, "reads that fail");
}

/// Rights that are taken away stop a run; they do not end it, and nothing is taken for gone that cannot be seen.
#[test]
fn forbidden_lists_are_no_empty_lists() {
    for (plural, namespace) in [("pods", NAMESPACE), ("pods", PROBES)] {
        let cluster = Cluster::new();
        let fault = Fault::times(
            5,
            listing(plural, namespace),
            || Effect::Refuse(forbidden()),
        );
        cluster.model.fault(fault.after(25));
        let status = cluster.complete();
        cluster.assert_passed(&status, namespace);
        let creates = cluster.model.calls();
        let creates = creates
            .iter()
            .filter(|call| call.verb == "create" && call.answer == Some(409));
        assert_eq!(creates.count(), 0, "nothing is made twice");
    }
}

/// Whoever lets go of a run gets through, whatever of it can be seen.
#[test]
fn an_abandoned_run_is_let_go_of_blindly() {
    let cluster = Cluster::new();
    cluster.pods.stick("scenario-0");
    let status = cluster.operate(async {
        cluster.begin().await;
        runs(&cluster, "demo-harness").await;
        let blind = Fault::times(usize::MAX, listing("pods", NAMESPACE), || {
            Effect::Refuse(forbidden())
        });
        cluster.model.fault(blind);
        abandon(&cluster).await;
        cluster.ended().await
    });
    let status = status.unwrap();
    assert_eq!(status.outcome.unwrap().as_str(), "Abandoned");
    // What could be seen was told to go.
    assert_eq!(
        cluster.done(|call| call.verb == "delete" && call.namespace == PROBES),
        2
    );
}

/// Deletes that hang in a finalizer hold no abandoned run.
#[test]
fn an_abandoned_run_waits_for_nothing() {
    let cluster = Cluster::new();
    cluster.pods.stick("scenario-0");
    let status = cluster.operate(async {
        cluster.begin().await;
        runs(&cluster, "demo-harness").await;
        cluster
            .model
            .state()
            .pods
            .undying
            .insert("demo-postgres".into());
        let reports = Fault::times(usize::MAX, on("apply dryrunreports/*/status"), || {
            Effect::Refuse(internal())
        });
        cluster.model.fault(reports);
        abandon(&cluster).await;
        cluster.ended().await
    });
    assert_eq!(status.unwrap().outcome.unwrap().as_str(), "Abandoned");
    let pod: Pod = cluster.model.get(NAMESPACE, "demo-postgres").unwrap();
    assert!(pod.metadata.deletion_timestamp.is_some());
}

#[test]
fn a_run_that_is_abandoned_before_it_began_has_made_nothing() {
    let cluster = Cluster::new();
    let status = cluster.operate(async {
        cluster.ask().await;
        cluster.condition("Approved", "AwaitingApproval").await;
        abandon(&cluster).await;
        cluster.ended().await
    });
    assert_eq!(status.unwrap().outcome.unwrap().as_str(), "Abandoned");
    assert_eq!(
        cluster.done(|call| call.verb == "create" && call.plural != "events"),
        0
    );
}

/// The namespace is deleted in mid-run: the operator's Roles go with it, and the run must not hold it.
#[test]
fn a_terminating_namespace_is_let_go_of() {
    let cluster = Cluster::new();
    cluster.pods.stick("scenario-0");
    cluster.operate(async {
        cluster.begin().await;
        runs(&cluster, "demo-harness").await;
        for plural in ["pods", "persistentvolumeclaims", "networkpolicies"] {
            let gone = Fault::times(usize::MAX, listing(plural, NAMESPACE), || {
                Effect::Refuse(forbidden())
            });
            cluster.model.fault(gone);
        }
        let namespaces: Api<Namespace> = Api::all(cluster.model.user());
        namespaces
            .delete(NAMESPACE, &DeleteParams::default())
            .await
            .unwrap();
        let gone = |model: &Model| {
            let namespace: Option<Namespace> = model.get("", NAMESPACE);
            namespace.is_none().then_some(())
        };
        cluster.model.until("the end of the namespace", gone).await;
    });
    // Nobody else would have deleted these.
    let left = cluster.model.state().store.of("pods", PROBES).count();
    assert_eq!(left, 0);
    let created = cluster.model.calls();
    let refused = created.iter().filter(|call| {
        call.verb == "create" && call.plural != "events" && call.answer == Some(403)
    });
    assert_eq!(
        refused.count(),
        0,
        "nothing is created in a terminating namespace"
    );
}

/// A pod that does not start says why, and so does the run that has waited for it.
#[test]
fn a_pod_that_waits_gives_its_reason() {
    let cluster =
        Cluster::new().spec(|spec| spec["deadlines"] = json!({"start": "1s", "dump": "1s"}));
    cluster
        .model
        .state()
        .pods
        .unstarted
        .insert("demo-dump".into());
    let status = cluster.operate(async {
        cluster.begin().await;
        cluster.called(1, on("create pods/demo-dump")).await;
        let waiting = json!({"name": "dump", "image": "postgres:17", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}});
        cluster.model.state().store.change(&Key::new("pods", NAMESPACE, "demo-dump"), |pod| {
            pod["status"]["containerStatuses"] = json!([waiting]);
        });
        cluster.ended().await
    });
    let status = status.unwrap();
    let dump = status
        .conditions
        .iter()
        .find(|c| c.type_ == "SourceIdentified")
        .unwrap();
    assert_eq!(
        (dump.status.as_str(), dump.reason.as_str()),
        ("Unknown", "ImagePullBackOff")
    );
    assert!(dump.message.contains("no such image"), "{}", dump.message);
    cluster.assert_nothing_left("a pod did not start");
}

/// A volume that is being made when the run is deleted comes later, and is gone in the end as well.
#[test]
fn a_volume_that_comes_late_is_waited_for() {
    let cluster = Cluster::new();
    cluster.model.state().pods.unprovisioned = true;
    cluster.operate(async {
        cluster.begin().await;
        let chosen = |model: &Model| {
            let state = model.state();
            let claim =
                state
                    .store
                    .read(&Key::new("persistentvolumeclaims", NAMESPACE, "demo-data"))?;
            claim["metadata"]["annotations"].is_object().then_some(())
        };
        cluster.model.until("a node for the volume", chosen).await;
        cluster.delete().await;
        let alone = |model: &Model| {
            let mut pods = model.all::<Pod>();
            pods.retain(|pod| pod.metadata.namespace.as_deref() != Some("incomex"));
            pods.is_empty().then_some(())
        };
        cluster.model.until("the end of the pods", alone).await;
        assert_eq!(
            cluster.done(|call| call.verb == "delete" && call.plural == "persistentvolumeclaims"),
            0
        );
        {
            let mut state = cluster.model.state();
            let state = &mut *state;
            state.pods.unprovisioned = false;
            for name in ["demo-data", "demo-evidence"] {
                state.pods.provision(
                    &mut state.store,
                    &Key::new("persistentvolumeclaims", NAMESPACE, name),
                );
            }
        }
        cluster.gone().await;
    });
    cluster.assert_nothing_left("a volume came late");
}

/// A name that somebody else has is found before anything is created.
#[test]
fn a_name_that_is_taken_fails_the_first_gate() {
    let cluster = Cluster::new();
    cluster.foreign_pod("demo-restore");
    let status = cluster.complete();
    assert_eq!(status.outcome.unwrap().as_str(), "Failed");
    assert!(status.failed_gate.unwrap().starts_with("G-02"));
    assert_eq!(
        cluster.done(|call| call.verb == "create" && call.plural == "secrets"),
        0
    );
}

#[test]
fn a_plan_that_lacks_something_waits_for_it() {
    let cluster = Cluster::new();
    let input = Key::new("configmaps", NAMESPACE, "iu-cutter");
    let stored = cluster
        .model
        .state()
        .store
        .read(&input)
        .unwrap()
        .as_ref()
        .clone();
    cluster.model.state().store.remove(&input);
    let status = cluster.operate(async {
        cluster.ask().await;
        let message = cluster.condition("Approved", "ConfigMapMissing").await;
        assert!(message.contains("iu-cutter"));
        cluster.model.seed(stored);
        cluster.approve().await;
        cluster.ended().await
    });
    cluster.assert_passed(&status.unwrap(), "an input came late");
}

#[test]
fn without_its_policies_no_approval_counts() {
    let cluster = Cluster::new();
    let binding = Key::new("validatingadmissionpolicybindings", "", "dryrun-approver");
    let stored = cluster
        .model
        .state()
        .store
        .read(&binding)
        .unwrap()
        .as_ref()
        .clone();
    cluster.model.state().store.remove(&binding);
    let status = cluster.operate(async {
        cluster.begin().await;
        cluster.condition("Approved", "ApprovalNotEnforced").await;
        assert_eq!(cluster.done(on("create dryrunreports/*")), 0);
        cluster.model.seed(stored);
        cluster.ended().await
    });
    cluster.assert_passed(&status.unwrap(), "the policies came back");
}

/// A policy that cannot be read is none.
#[test]
fn a_policy_that_cannot_be_read_enforces_nothing() {
    let cluster = Cluster::new();
    let policy = "get validatingadmissionpolicies/dryrun-records";
    cluster
        .model
        .fault(Fault::times(usize::MAX, on(policy), || {
            Effect::Refuse(forbidden())
        }));
    let message = cluster.operate(async {
        cluster.begin().await;
        cluster.condition("Approved", "ApprovalNotEnforced").await
    });
    assert!(message.unwrap().contains("cannot be read"));
}

/// Objects that another version of the operator has written keep no run from being driven.
#[test]
fn what_cannot_be_decoded_is_left_alone() {
    let cluster = Cluster::new();
    cluster.model.seed(json!({
        "apiVersion": "dryrun.dev/v1alpha1", "kind": "DryRun",
        "metadata": {"name": "other", "namespace": NAMESPACE}, "spec": {"fromTheFuture": true},
    }));
    cluster.model.seed(json!({
        "apiVersion": "dryrun.dev/v1alpha1", "kind": "DryRunApproval",
        "metadata": {"name": "other", "namespace": NAMESPACE}, "spec": {"fromTheFuture": true},
    }));
    let status = cluster.operate(async {
        cluster.ask().await;
        cluster.approve().await;
        cluster.ended().await
    });
    cluster.assert_passed(&status.unwrap(), "objects of another version");
    let touched = cluster.model.calls();
    assert!(
        !touched
            .iter()
            .any(|call| call.write.is_some() && call.name == "other")
    );
}

/// A DryRun of the same name that comes after one whose finalizer was taken off starts anew.
#[test]
fn a_second_run_of_the_same_name_is_another_run() {
    let cluster = Cluster::new();
    cluster.pods.stick("scenario-0");
    let status = cluster.operate(async {
        cluster.begin().await;
        runs(&cluster, "demo-harness").await;
        let first = cluster.run().unwrap().metadata.uid;
        {
            let mut state = cluster.model.state();
            // By force, with all that it had.
            for plural in [
                "dryruns",
                "dryrunreports",
                "dryrunapprovals",
                "pods",
                "secrets",
                "networkpolicies",
                "persistentvolumeclaims",
                "persistentvolumes",
            ] {
                let keys: Vec<Key> = state
                    .store
                    .of(plural, "")
                    .map(|(key, _)| key.clone())
                    .collect();
                for key in keys.iter().filter(|key| {
                    key.name.starts_with("demo")
                        || key.name.starts_with("by-bob")
                        || key.plural == "persistentvolumes"
                }) {
                    state.store.remove(key);
                }
            }
        }
        cluster.pods.stick("");
        create::<DryRun>(&cluster.model.user(), cluster.request()).await;
        assert_ne!(cluster.run().unwrap().metadata.uid, first);
        cluster.approve().await;
        cluster.ended().await
    });
    cluster.assert_passed(&status.unwrap(), "the second of its name");
}
