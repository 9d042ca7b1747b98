//! Approvals of DryRuns that do not exist.

use k8s_openapi::api::events::v1::Event;
use serde_json::{Value, json};

use crate::cluster::{Cluster, NAME, NAMESPACE, approval, create};
use crate::model_apiserver::Model;
use crate::model_apiserver::faults::{Effect, Fault, internal, on};
use dryrun_core::api::DryRunApproval;

const NO_RUN: &str = "00000000-0000-4000-8000-000000000000";

fn named(name: &str) -> Value {
    let hash = format!("sha256:{}", "0".repeat(64));
    let mut approval = approval(NO_RUN, &hash);
    approval["metadata"]["name"] = json!(name);
    approval
}

/// Names of the approvals that events speak of.
fn told(model: &Model) -> Vec<String> {
    let events = model.all::<Event>().into_iter();
    let told = events.filter(|event| event.reason.as_deref() == Some("NoSuchDryRun"));
    told.filter_map(|event| event.regarding?.name).collect()
}

async fn telling(cluster: &Cluster, name: &str) {
    let look = |model: &Model| told(model).iter().any(|told| told == name).then_some(());
    cluster.model.until(name, look).await;
}

#[test]
fn an_approval_of_no_dry_run_is_told_of() {
    let cluster = Cluster::new();
    cluster.operate(async {
        create::<DryRunApproval>(&cluster.model.user(), named("lost")).await;
        telling(&cluster, "lost").await;
    });
    let note = cluster.model.all::<Event>().pop().unwrap().note.unwrap();
    assert!(note.contains(NAME), "{note}");
}

#[test]
fn only_what_is_new_and_names_nothing_is_told_of() {
    let cluster = Cluster::new();
    let mut old = named("old");
    old["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    cluster.model.seed(old);
    cluster.model.seed(json!({
        "apiVersion": "dryrun.dev/v1alpha1", "kind": "DryRunApproval",
        "metadata": {"name": "alien", "namespace": NAMESPACE}, "spec": {"fromTheFuture": true},
    }));
    cluster.operate(async {
        cluster.ask().await;
        create::<DryRunApproval>(&cluster.model.user(), named("of-another-uid")).await;
        let mut lost = named("lost");
        lost["spec"]["dryRunName"] = json!("nothing");
        create::<DryRunApproval>(&cluster.model.user(), lost).await;
        telling(&cluster, "lost").await;
    });
    assert_eq!(told(&cluster.model), ["lost"]);
}

#[test]
fn an_approval_that_comes_while_no_watch_is_at_work_is_told_of() {
    for happens in [Model::drop_watches as fn(&Model), Model::silence_watches] {
        let cluster = Cluster::new();
        cluster.operate(async {
            create::<DryRunApproval>(&cluster.model.user(), named("first")).await;
            telling(&cluster, "first").await;
            happens(&cluster.model);
            create::<DryRunApproval>(&cluster.model.user(), named("second")).await;
            telling(&cluster, "second").await;
        });
    }
}

/// It is a courtesy: a failed event is not retried, and does not prevent others.
#[test]
fn a_look_that_fails_keeps_no_other_approval() {
    let cluster = Cluster::new();
    cluster.model.fault(Fault::once(
        on(&format!("get dryruns/{NAME}")),
        Effect::Refuse(internal()),
    ));
    cluster
        .model
        .fault(Fault::once(on("create events"), Effect::LoseRequest));
    cluster.operate(async {
        for name in ["first", "second", "third"] {
            create::<DryRunApproval>(&cluster.model.user(), named(name)).await;
        }
        telling(&cluster, "third").await;
    });
    assert_eq!(told(&cluster.model), ["third"]);
}
