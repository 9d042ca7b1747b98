//! Results of actions whose request fails.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::cluster::{Cluster, NAME, NAMESPACE, foreign_pod};
use crate::model_apiserver::State;
use crate::model_apiserver::faults::{
    Call, Effect, Fault, MakeEffect, conflict, forbidden, internal, invalid, on, timeout,
    too_many_requests,
};
use crate::model_apiserver::store::Key;

fn key(plural: &str, name: &str) -> Key {
    Key::new(plural, NAMESPACE, name)
}

/// Something that happens right before a request.
fn first(happens: impl FnOnce(&mut State) + Send + 'static) -> Effect {
    Effect::First(Box::new(happens))
}

/// Puts a foreign pod in the place of one of the run's.
fn replace(state: &mut State, name: &str) {
    state.store.remove(&key("pods", name));
    state.store.seed(foreign_pod(name));
}

/// Adds a foreign finalizer to the run.
fn foreign_finalizer(state: &mut State) {
    state.store.change(&key("dryruns", NAME), |run| {
        let finalizers = &mut run["metadata"]["finalizers"];
        if finalizers.is_null() {
            *finalizers = json!([]);
        }
        finalizers
            .as_array_mut()
            .unwrap()
            .push(json!("example.com/hold"));
    });
}

#[test]
fn a_finalizer_that_is_added_meanwhile_stays() {
    for patch in [0, 1] {
        let cluster = Cluster::new();
        let race = Fault::once(on("patch dryruns/demo"), first(foreign_finalizer));
        cluster.model.fault(race.after(patch));
        let status = cluster.operate(async {
            cluster.begin().await;
            let over = |_: &_| {
                let run = cluster.run()?;
                let finalizers = run.metadata.finalizers.clone().unwrap_or_default();
                let status = run.status.filter(|status| status.outcome.is_some())?;
                (finalizers == ["example.com/hold"]).then_some(status)
            };
            cluster.model.until("the end of the run", over).await
        });
        cluster.assert_passed(&status.unwrap(), "a race for the finalizers");
        let conflicts = cluster.model.calls();
        let conflicts = conflicts
            .iter()
            .filter(|call| call.verb == "patch" && call.answer == Some(409));
        assert_eq!(conflicts.count(), 1);
    }
}

/// Another client takes the operator's finalizer off in the last moment, and the object goes.
#[test]
fn a_run_that_is_gone_needs_no_finalizer_removed() {
    let cluster = Cluster::new();
    let gone = first(|state| state.store.remove(&key("dryruns", NAME)));
    cluster
        .model
        .fault(Fault::once(on("patch dryruns/demo"), gone).after(1));
    cluster.operate(async {
        cluster.begin().await;
        cluster.gone().await;
        // The report gets the end of the run before the finalizer is removed.
        cluster
            .called(1, |call| {
                on("patch dryruns/demo")(call) && call.answer == Some(404)
            })
            .await;
    });
    cluster.assert_nothing_left("the run vanished");
}

/// The run is deleted by force between its approval and its begin: nothing is made for it.
#[test]
fn a_run_that_is_gone_gets_no_finalizer() {
    let cluster = Cluster::new();
    let gone = first(|state| state.store.remove(&key("dryruns", NAME)));
    cluster
        .model
        .fault(Fault::once(on("patch dryruns/demo"), gone));
    cluster.operate(async {
        cluster.begin().await;
        let refused = |call: &Call| on("patch dryruns/demo")(call) && call.answer == Some(404);
        cluster.called(1, refused).await;
        // The pass after it finds that the run is gone.
        cluster
            .called(1, |call| {
                on("get dryruns/demo")(call) && call.answer == Some(404)
            })
            .await;
    });
    assert!(cluster.run().is_none());
    assert_eq!(
        cluster.done(|call| call.verb == "create" && call.plural != "events"),
        0
    );
}

#[test]
fn a_finalizer_that_cannot_be_changed_is_tried_again() {
    let effects: [MakeEffect; 4] = [
        || Effect::Refuse(forbidden()),
        || Effect::Refuse(too_many_requests()),
        || Effect::LoseAnswer,
        || Effect::HangAfter,
    ];
    let cluster = Cluster::new();
    for patch in [0, 1] {
        for effect in effects {
            let fault = Fault::once(on("patch dryruns/demo"), effect());
            cluster.model.fault(fault.after(patch));
        }
    }
    let status = cluster.complete();
    cluster.assert_passed(&status, "finalizers that cannot be changed");
    assert!(cluster.run().unwrap().metadata.finalizers.is_none());
}

/// Returns true for the second request once the first one has come.
fn following(before: &str, then: &str) -> impl Fn(&Call) -> bool + Send + use<> {
    let (before, then) = (on(before), on(then));
    let begun = AtomicBool::new(false);
    move |call| {
        begun.fetch_or(before(call), Ordering::Relaxed);
        begun.load(Ordering::Relaxed) && then(call)
    }
}

/// A create was carried out twice, and the look at what is there is refused: nothing is made again,
/// and nothing given up.
#[test]
fn an_object_that_cannot_be_told_from_a_foreign_one_is_looked_at_again() {
    for (create, get) in [
        ("create pods/demo-dump", "get pods/demo-dump"),
        ("create dryrunreports/*", "get dryrunreports/*"),
    ] {
        let cluster = Cluster::new();
        let looks = Fault::times(2, following(create, get), || Effect::Refuse(internal()));
        cluster.model.fault(looks);
        cluster.model.fault(Fault::once(on(create), Effect::Repeat));
        let status = cluster.complete();
        cluster.assert_passed(&status, create);
        assert_eq!(cluster.done(on(create)), 1, "{create}");
        let calls = cluster.model.calls();
        let refused = calls
            .iter()
            .filter(|call| on(get)(call) && call.answer == Some(500));
        assert_eq!(refused.count(), 2, "{get}");
    }
}

#[test]
fn a_create_that_finds_its_own_object_is_a_success() {
    let creates = [
        "create dryrunreports/*",
        "create secrets/demo-credentials",
        "create persistentvolumeclaims/demo-data",
        "create networkpolicies/demo-copy-egress",
        "create pods/demo-intruder",
        "create configmaps/*",
    ];
    for effect in [|| Effect::Repeat, || Effect::LoseAnswer] {
        let cluster = Cluster::new();
        for create in creates {
            cluster.model.fault(Fault::once(on(create), effect()));
        }
        let status = cluster.complete();
        cluster.assert_passed(&status, "creates that were carried out already");
        for create in creates {
            assert_eq!(cluster.done(on(create)), 1, "{create}: it is made once");
        }
    }
}

/// An object with the name of one of the run's and without its label is never used, and never
/// deleted.
#[test]
fn a_create_that_finds_a_foreign_object_fails_until_the_deadline() {
    let cluster =
        Cluster::new().spec(|spec| spec["deadlines"] = json!({"start": "1s", "dump": "1s"}));
    let stranger = first(|state| state.store.seed(foreign_pod("demo-dump")));
    cluster
        .model
        .fault(Fault::once(on("create pods/demo-dump"), stranger));
    let status = cluster.complete();
    assert_eq!(status.outcome.unwrap().as_str(), "Inconclusive");
    let dump = status
        .conditions
        .iter()
        .find(|c| c.type_ == "SourceIdentified")
        .unwrap();
    assert_eq!(dump.reason, "DeadlineExceeded");
    assert!(dump.message.contains("Pod/demo-dump"), "{}", dump.message);
    assert!(dump.message.contains("already exists"), "{}", dump.message);
    assert!(cluster.model.get::<Pod>(NAMESPACE, "demo-dump").is_some());
    assert_eq!(cluster.done(on("delete pods/demo-dump")), 0);
    cluster.assert_nothing_left("a foreign pod was in the way");
}

/// A report carries the facts of one run: what another has left under its name is no report of this
/// one.
#[test]
fn a_foreign_report_is_no_report_and_no_reason_to_hurry() {
    let cluster = Cluster::new();
    cluster.operate(async {
        cluster.ask().await;
        cluster.condition("Approved", "AwaitingApproval").await;
        let uid = cluster.run().unwrap().metadata.uid.unwrap();
        let plan = json!({"resolved": {}});
        cluster.model.seed(json!({
            "apiVersion": "dryrun.dev/v1alpha1", "kind": "DryRunReport",
            "metadata": {"name": format!("{NAME}-{}", &uid[..8]), "namespace": NAMESPACE},
            "spec": {
                "dryRunName": NAME, "dryRunUID": "00000000-0000-4000-8000-000000000000", "planHash": "sha256:p",
                "plan": plan, "requestedBy": "alice", "approvedBy": "bob", "approvalName": "a", "approvalUID": "u",
            },
        }));
        let begin = tokio::time::Instant::now();
        cluster.approve().await;
        cluster.called(4, |call| on("create dryrunreports/*")(call) && call.answer == Some(409)).await;
        // The clock advances only while the operator rests.
        assert!(
            begin.elapsed() > Duration::from_millis(500),
            "it does not rest"
        );
    });
    assert_eq!(
        cluster.done(|call| call.verb == "create"
            && call.plural != "events"
            && call.plural != "dryruns"),
        0
    );
}

#[test]
fn a_quota_that_refuses_is_waited_for() {
    let cluster = Cluster::new();
    cluster.model.seed(json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": NAMESPACE},
        "spec": {"hard": {"persistentvolumeclaims": "1"}},
    }));
    let status = cluster.operate(async {
        cluster.begin().await;
        cluster
            .called(2, |call| call.verb == "create" && call.answer == Some(403))
            .await;
        // What could be made beside it was made.
        assert!(cluster.model.get::<Pod>(NAMESPACE, "demo-dump").is_some());
        cluster
            .model
            .state()
            .store
            .remove(&key("resourcequotas", "none"));
        cluster.ended().await
    });
    cluster.assert_passed(&status.unwrap(), "a quota");
}

#[test]
fn refusals_and_hangs_of_a_create_are_tried_again() {
    let effects: [MakeEffect; 7] = [
        || Effect::Refuse(forbidden()),
        || Effect::Refuse(invalid()),
        || Effect::Refuse(too_many_requests()),
        || Effect::Refuse(internal()),
        || Effect::RefuseAfter(timeout()),
        || Effect::Hang,
        || Effect::HangAfter,
    ];
    // One for each kind of object, and one for an object outside of the namespace.
    let creates = [
        "create secrets/*",
        "create persistentvolumeclaims/demo-data",
        "create networkpolicies/demo-copy-ingress",
        "create pods/demo-postgres",
        "create pods/demo-listener-*",
        "create dryrunreports/*",
        "create pods/demo-harness",
    ];
    let cluster = Cluster::new();
    for (effect, create) in effects.into_iter().zip(creates) {
        let matches = move |call: &_| on(create)(call) || create.ends_with("-*") && listener(call);
        cluster.model.fault(Fault::times(2, matches, effect));
    }
    let status = cluster.complete();
    cluster.assert_passed(&status, "refusals");
    for plural in [
        "secrets",
        "persistentvolumeclaims",
        "networkpolicies",
        "pods",
        "dryrunreports",
    ] {
        let calls = cluster.model.calls();
        let made = calls
            .iter()
            .filter(|call| call.committed && call.verb == "create" && call.plural == plural);
        let mut names: Vec<&str> = made.map(|call| call.name.as_str()).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all, "{plural} were made twice: {names:?}");
    }
}

fn listener(call: &Call) -> bool {
    call.verb == "create" && call.name.starts_with("demo-listener-")
}

/// Between the look and the delete another client has put its own object in the place of the run's.
#[test]
fn a_delete_never_meets_a_stranger_of_the_same_name() {
    let cluster = Cluster::new();
    let stranger = first(|state| replace(state, "demo-seal"));
    cluster
        .model
        .fault(Fault::once(on("delete pods/demo-seal"), stranger));
    let status = cluster.complete();
    cluster.assert_passed(&status, "a stranger in the place of a pod");
    assert!(cluster.model.get::<Pod>(NAMESPACE, "demo-seal").is_some());
    let deletes = cluster.model.calls();
    let deletes: Vec<Option<u16>> = deletes
        .iter()
        .filter(|call| on("delete pods/demo-seal")(call))
        .map(|call| call.answer)
        .collect();
    assert_eq!(
        deletes,
        [Some(409)],
        "it is refused once, and not tried again"
    );
}

#[test]
fn a_delete_that_finds_nothing_is_a_success() {
    let cluster = Cluster::new();
    for (plural, name) in [
        ("pods", "demo-postgres"),
        ("secrets", "demo-credentials"),
        ("networkpolicies", "demo-copy-egress"),
    ] {
        let gone = first(move |state| state.store.remove(&key(plural, name)));
        cluster
            .model
            .fault(Fault::once(on(&format!("delete {plural}/{name}")), gone));
    }
    let status = cluster.complete();
    cluster.assert_passed(&status, "another client deleted them");
}

#[test]
fn deletes_that_fail_keep_no_other_object_and_are_tried_again() {
    let cluster = Cluster::new();
    let effects: [MakeEffect; 4] = [
        || Effect::Refuse(forbidden()),
        || Effect::Refuse(conflict()),
        || Effect::LoseAnswer,
        || Effect::Hang,
    ];
    let deletes = [
        "demo-postgres",
        "demo-intruder",
        "demo-harness",
        "demo-seal",
    ];
    for (effect, name) in effects.into_iter().zip(deletes) {
        let fault = Fault::times(2, on(&format!("delete pods/{name}")), effect);
        cluster.model.fault(fault);
    }
    let claim = Fault::times(3, on("delete persistentvolumeclaims/demo-data"), || {
        Effect::Refuse(internal())
    });
    cluster.model.fault(claim);
    let status = cluster.complete();
    cluster.assert_passed(&status, "deletes that fail");
    let calls = cluster.model.calls();
    let at = |pattern: &str| {
        let matches = on(pattern);
        calls
            .iter()
            .position(|call| matches(call) && call.committed)
            .unwrap()
    };
    assert!(
        at("delete persistentvolumeclaims/demo-evidence")
            < at("delete persistentvolumeclaims/demo-data")
    );
}

/// A foreign finalizer holds a pod: teardown continues beside it, and ends when it is gone.
#[test]
fn teardown_waits_for_a_pod_that_does_not_go() {
    let cluster = Cluster::new();
    cluster
        .model
        .state()
        .pods
        .undying
        .insert("demo-dump".into());
    let status = cluster.operate(async {
        cluster.begin().await;
        cluster.called(1, on("delete pods/demo-dump")).await;
        cluster.pods.stick("scenario-1");
        let others = |model: &crate::model_apiserver::Model| {
            let pods = model.all::<Pod>();
            let left = pods.iter().filter(|pod| pod.metadata.labels.is_some());
            let names: Vec<String> = left.filter_map(|pod| pod.metadata.name.clone()).collect();
            (names == ["directus", "demo-dump"]).then_some(())
        };
        cluster.called(1, on("create pods/demo-harness")).await;
        cluster.delete().await;
        cluster
            .model
            .until("the end of all other pods", others)
            .await;
        assert!(cluster.run().is_some(), "the finalizer stays");
        let left: Option<Value> = cluster
            .model
            .state()
            .store
            .read(&key("persistentvolumeclaims", "demo-data"))
            .map(|c| c.as_ref().clone());
        assert!(left.is_some(), "data is not deleted under a pod");
        {
            let mut state = cluster.model.state();
            state.pods.undying.clear();
            state.store.remove(&key("pods", "demo-dump"));
        }
        cluster.gone().await;
    });
    assert!(status.is_some());
    cluster.assert_nothing_left("a pod was held");
}
