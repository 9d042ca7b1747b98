//! Decisions of an operator from objects that it can and cannot read.

use dryrun_core::api::DryRun;
use dryrun_core::run::id::{ABANDONED_BY, FINALIZER, RUN_LABEL};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::json;
use std::time::Duration;

use crate::cluster::{Cluster, INSTALLED, NAME, NAMESPACE, PROBES, create, foreign_pod};
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

/// A run that is over has nothing to wait for in a namespace that is not prepared any more.
#[test]
fn a_run_that_is_over_is_left_as_it_is() {
    let mut cluster = Cluster::new();
    cluster.complete();
    cluster.namespaces.clear();
    let before = cluster.model.calls().len();
    cluster.operate(async {
        let looked = |model: &Model| {
            let calls = model.calls();
            let mut after = calls[before..].iter();
            after
                .any(|call| on("get dryruns/demo")(call) && call.answer.is_some())
                .then_some(())
        };
        cluster.model.until("a look", looked).await;
        // As long as a pass could take.
        tokio::time::sleep(Duration::from_secs(60)).await;
    });
    let calls = cluster.model.calls();
    let writes = calls[before..].iter().filter(|call| call.write.is_some());
    assert_eq!(writes.count(), 0);
}

/// Its objects can be neither seen nor deleted; the one who abandons it takes them over.
#[test]
fn a_run_that_is_shut_out_can_be_abandoned() {
    let mut cluster = Cluster::new();
    cluster.pods.stick("scenario-0");
    cluster.operate(async {
        cluster.begin().await;
        cluster.pods.stuck().await;
    });
    cluster.namespaces.clear();
    let deletes = || cluster.done(|call| call.verb == "delete");
    let before = deletes();
    let status = cluster.operate(async {
        cluster.condition("Reconciling", "NotPrepared").await;
        abandon(&cluster).await;
        cluster.ended().await
    });
    assert_eq!(status.unwrap().outcome.unwrap().as_str(), "Abandoned");
    assert_eq!(deletes(), before);
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

/// Rights that are taken away stop a run; they do not end it, and nothing is taken for gone that
/// cannot be seen.
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

/// The finalizer of an abandoned run is removed even if its objects cannot be seen.
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
    // The objects that could be seen were deleted.
    assert_eq!(
        cluster.done(|call| call.verb == "delete" && call.namespace == PROBES),
        2
    );
}

/// The pods outside of its namespace cannot be seen either: an abandoned run waits for no look at
/// all.
#[test]
fn an_abandoned_run_is_let_go_of_without_a_look_at_the_probes() {
    let cluster = Cluster::new();
    cluster.pods.stick("scenario-0");
    let status = cluster.operate(async {
        cluster.begin().await;
        cluster.pods.stuck().await;
        let blind = Fault::times(usize::MAX, listing("pods", PROBES), || {
            Effect::Refuse(forbidden())
        });
        cluster.model.fault(blind);
        abandon(&cluster).await;
        cluster.ended().await
    });
    assert_eq!(status.unwrap().outcome.unwrap().as_str(), "Abandoned");
    let pods = cluster.model.state().store.of("pods", NAMESPACE).count();
    assert_eq!(pods, 0, "what could be seen was deleted");
}

/// The operator is killed between the last status of an abandoned run and its deletes: the next one
/// does what is left.
#[test]
fn an_abandoned_run_is_let_go_of_by_the_next_operator() {
    let cluster = Cluster::new();
    cluster.pods.stick("scenario-0");
    let status = Fault::once(on("apply dryruns/demo/status"), Effect::KillAfter);
    let killed = cluster.operate(async {
        cluster.begin().await;
        cluster.pods.stuck().await;
        cluster.model.fault(status);
        abandon(&cluster).await;
        std::future::pending::<()>().await;
    });
    assert!(killed.is_none());
    let run = cluster.run().unwrap();
    assert_eq!(run.status.unwrap().outcome.unwrap().as_str(), "Abandoned");
    assert_eq!(run.metadata.finalizers.unwrap(), [FINALIZER]);
    assert_eq!(cluster.done(on("delete pods/demo-postgres")), 0);
    cluster.operate(cluster.ended());
    assert_eq!(cluster.done(on("delete pods/demo-postgres")), 1);
    cluster.assert_nothing_left("abandoned twice");
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

/// The namespace is deleted in mid-run: the operator's Roles go with it, and the run must not hold
/// it.
#[test]
fn a_terminating_namespace_is_let_go_of() {
    for word in [
        "/v1/tasks/dump",
        "/v1/tasks/probe",
        "restore",
        "scenario-2",
        "/v1/tasks/seal",
    ] {
        for roles_go in [false, true] {
            namespace_is_deleted(word, roles_go);
        }
    }
}

fn namespace_is_deleted(word: &str, roles_go: bool) {
    let cluster = Cluster::new();
    cluster.pods.stick(word);
    cluster.operate(async {
        cluster.begin().await;
        cluster.pods.stuck().await;
        if roles_go {
            for plural in ["pods", "persistentvolumeclaims", "networkpolicies"] {
                let gone = Fault::times(usize::MAX, listing(plural, NAMESPACE), || {
                    Effect::Refuse(forbidden())
                });
                cluster.model.fault(gone);
            }
        }
        // Nothing in the namespace of probes is taken for gone because it cannot be seen.
        let blind = Fault::times(2, listing("pods", PROBES), || Effect::Refuse(forbidden()));
        cluster.model.fault(blind);
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
    // No other controller would have deleted these.
    let left = cluster.model.state().store.of("pods", PROBES).count();
    assert_eq!(left, 0, "{word}");
    let created = cluster.model.calls();
    let refused = created.iter().filter(|call| {
        call.verb == "create" && call.plural != "events" && call.answer == Some(403)
    });
    assert_eq!(
        refused.count(),
        0,
        "nothing is created in a terminating namespace"
    );
    cluster.assert_nothing_left(word);
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

/// A name that a foreign object has is found before anything is created.
#[test]
fn a_name_that_is_taken_fails_the_first_gate() {
    for (kind, plural, name) in [
        ("Pod", "pods", "demo-restore"),
        ("Pod", "pods", "demo-intruder"),
        ("Secret", "secrets", "demo-credentials"),
        (
            "PersistentVolumeClaim",
            "persistentvolumeclaims",
            "demo-data",
        ),
        ("NetworkPolicy", "networkpolicies", "demo-copy-egress"),
    ] {
        let cluster = Cluster::new();
        let version = if kind == "NetworkPolicy" {
            "networking.k8s.io/v1"
        } else {
            "v1"
        };
        cluster.model.seed(json!({
            "apiVersion": version, "kind": kind,
            "metadata": {"name": name, "namespace": NAMESPACE, "creationTimestamp": INSTALLED},
        }));
        let status = cluster.complete();
        assert_eq!(status.outcome.unwrap().as_str(), "Failed", "{name}");
        assert!(status.failed_gate.unwrap().starts_with("G-02"), "{name}");
        let made = ["secrets", "persistentvolumeclaims", "networkpolicies"];
        assert_eq!(
            cluster.done(|call| call.verb == "create" && made.contains(&call.plural.as_str())),
            0
        );
        let foreign = Key::new(plural, NAMESPACE, name);
        assert!(
            cluster.model.state().store.read(&foreign).is_some(),
            "{name} stays"
        );
    }
}

/// A pod with the run's label and none of its names is not the operator's to delete: the run is not
/// over while it is there.
#[test]
fn a_labelled_stranger_keeps_the_proof_from_being_made() {
    let cluster = Cluster::new();
    let status = cluster.operate(async {
        cluster.begin().await;
        cluster.called(1, on("create pods/demo-harness")).await;
        let mut stranger = foreign_pod("extra");
        let uid = cluster.run().unwrap().metadata.uid;
        stranger["metadata"]["labels"] = json!({RUN_LABEL: uid});
        cluster.model.seed(stranger);
        let last = "delete networkpolicies/demo-copy-egress";
        cluster.called(1, on(last)).await;
        let volumes = |call: &Call| call.verb == "list" && call.plural == "persistentvolumes";
        // Two looks make a proof.
        cluster.called(4, volumes).await;
        assert!(cluster.run().unwrap().status.unwrap().outcome.is_none());
        let extra = Key::new("pods", NAMESPACE, "extra");
        cluster.model.state().store.remove(&extra);
        cluster.ended().await
    });
    cluster.assert_passed(&status.unwrap(), "a labelled stranger");
    assert_eq!(cluster.done(on("delete pods/extra")), 0);
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
            // By force, with everything that it had.
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
