//! Behaviour of an apiserver that the operator relies on, as cases over a `kube::Client`.
//!
//! The same cases run against the model and, in the end-to-end tests, against a real apiserver: the
//! model is right as far as both pass. They need the definition of [`crd`], and nothing else.

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ResourceQuota, Secret, Service};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
    Preconditions, WatchEvent, WatchParams,
};
use kube::core::Status;
use kube::{Api, Client, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::time::Duration;

/// The longest time that a controller of Kubernetes may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The definition of a kind with a status whose conditions are a list by type.
pub fn crd() -> Value {
    let text = json!({"type": "string"});
    let conditions = json!({
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object", "required": ["type", "status"],
            "properties": {"type": text, "status": text, "message": text},
        },
    });
    let status = json!({
        "type": "object",
        "properties": {
            "conditions": conditions, "step": text, "outcome": text,
            "plan": {"type": "object", "properties": {"hash": text, "name": text}},
            "verdict": {"type": "array", "items": text},
        },
    });
    let spec = json!({"type": "object", "properties": {"size": {"type": "integer"}, "word": text}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "samples.conformance.dryrun.dev"},
        "spec": {
            "group": "conformance.dryrun.dev", "scope": "Namespaced",
            "names": {"plural": "samples", "singular": "sample", "kind": "Sample"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}},
            }],
        },
    })
}

/// A namespace of an apiserver.
struct Scene {
    client: Client,
    namespace: String,
    samples: Api<DynamicObject>,
    config_maps: Api<ConfigMap>,
}

/// Runs all cases, in a namespace that is made for them.
///
/// # Panics
/// The apiserver answers otherwise than the operator relies on.
pub async fn check(client: Client, namespace: &str) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let made = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    create(&namespaces, made).await;
    let resource = ApiResource {
        group: "conformance.dryrun.dev".into(),
        version: "v1".into(),
        api_version: "conformance.dryrun.dev/v1".into(),
        kind: "Sample".into(),
        plural: "samples".into(),
    };
    let scene = Scene {
        samples: Api::namespaced_with(client.clone(), namespace, &resource),
        config_maps: Api::namespaced(client.clone(), namespace),
        namespace: namespace.into(),
        client,
    };
    creates(&scene).await;
    metadata_only(&scene).await;
    merge_patches(&scene).await;
    status_is_apart(&scene).await;
    applies_own_fields(&scene).await;
    applies_conditions_by_type(&scene).await;
    applies_demand_versions(&scene).await;
    deletes_by_uid(&scene).await;
    finalizers_hold(&scene).await;
    lists_by_label_and_page(&scene).await;
    watches(&scene).await;
    watches_a_selector(&scene).await;
    watch_from_too_far_back(&scene).await;
    secrets_are_immutable(&scene).await;
    owners_take_their_own(&scene).await;
    quotas_refuse(&scene).await;
    terminating_namespace(&scene).await;
    namespaces
        .delete(&scene.namespace, &DeleteParams::default())
        .await
        .unwrap();
}

fn sample(name: &str) -> Value {
    json!({
        "apiVersion": "conformance.dryrun.dev/v1", "kind": "Sample",
        "metadata": {"name": name, "labels": {"case": name}}, "spec": {"size": 1, "word": "a"},
        "status": {"step": "never taken over"},
    })
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"case": name}}})
}

async fn create<K>(api: &Api<K>, object: Value) -> K
where
    K: Clone + Debug + DeserializeOwned + Serialize,
{
    try_create(api, object).await.unwrap()
}

async fn try_create<K>(api: &Api<K>, object: Value) -> kube::Result<K>
where
    K: Clone + Debug + DeserializeOwned + Serialize,
{
    api.create(
        &PostParams::default(),
        &serde_json::from_value(object).unwrap(),
    )
    .await
}

/// Code and reason of a refusal.
fn refusal<T: Debug>(result: kube::Result<T>) -> (u16, String) {
    match result {
        Err(kube::Error::Api(status)) => (status.code, status.reason.clone()),
        other => panic!("it was not refused: {other:?}"),
    }
}

fn is(code: u16, reason: &str) -> (u16, String) {
    (code, reason.to_owned())
}

/// Waits for what a controller of Kubernetes does.
async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begin = tokio::time::Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn version(object: &DynamicObject) -> String {
    object.resource_version().unwrap()
}

async fn creates(scene: &Scene) {
    let made = create(&scene.samples, sample("created")).await;
    let metadata = &made.metadata;
    assert!(metadata.uid.as_ref().is_some_and(|uid| uid.len() == 36));
    assert!(metadata.creation_timestamp.is_some() && metadata.resource_version.is_some());
    assert_eq!(metadata.generation, Some(1));
    assert!(made.data["status"].is_null(), "a create takes no status");
    let read = scene.samples.get("created").await.unwrap();
    assert_eq!((read.uid(), version(&read)), (made.uid(), version(&made)));

    let again = try_create(&scene.samples, sample("created")).await;
    assert_eq!(refusal(again), is(409, "AlreadyExists"));
    assert_eq!(
        refusal(scene.samples.get("missing").await),
        is(404, "NotFound")
    );
    assert!(scene.samples.get_opt("missing").await.unwrap().is_none());
    let unnamed = try_create(&scene.samples, sample("Not_A_Name")).await;
    assert_eq!(refusal(unnamed), is(422, "Invalid"));
    let mut versioned = config_map("versioned");
    versioned["metadata"]["resourceVersion"] = json!("1");
    let versioned = refusal(try_create(&scene.config_maps, versioned).await);
    assert!([400, 500].contains(&versioned.0), "{versioned:?}");
    let nowhere: Api<ConfigMap> = Api::namespaced(scene.client.clone(), "no-such-namespace");
    let nowhere = try_create(&nowhere, config_map("lost")).await;
    assert_eq!(refusal(nowhere), is(404, "NotFound"));
}

async fn metadata_only(scene: &Scene) {
    let made = create(&scene.config_maps, config_map("partial")).await;
    let read = scene.config_maps.get_metadata("partial").await.unwrap();
    assert_eq!(read.metadata.uid, made.metadata.uid);
    assert_eq!(read.metadata.labels, made.metadata.labels);
    let selector = ListParams::default().labels("case=partial");
    let listed = scene.config_maps.list_metadata(&selector).await.unwrap();
    assert_eq!(listed.items.len(), 1);
    assert_eq!(listed.items[0].metadata.uid, made.metadata.uid);
    let missing = scene.config_maps.get_metadata_opt("missing").await.unwrap();
    assert!(missing.is_none());
}

async fn patch(scene: &Scene, name: &str, patch: Value) -> kube::Result<DynamicObject> {
    let params = PatchParams::default();
    scene
        .samples
        .patch(name, &params, &Patch::Merge(patch))
        .await
}

async fn merge_patches(scene: &Scene) {
    let made = create(&scene.samples, sample("merged")).await;
    let labels = json!({"metadata": {"labels": {"case": null, "more": "yes"}}});
    let labelled = patch(scene, "merged", labels.clone()).await.unwrap();
    let found: Vec<(&str, &str)> = labelled
        .labels()
        .iter()
        .map(|(k, v)| (&**k, &**v))
        .collect();
    assert_eq!(found, [("more", "yes")]);
    assert_eq!(labelled.metadata.generation, Some(1));
    assert_ne!(version(&labelled), version(&made));
    let same = patch(scene, "merged", labels.clone()).await.unwrap();
    assert_eq!(version(&same), version(&labelled), "nothing was changed");

    let stale = json!({"metadata": {"resourceVersion": version(&made), "labels": {"more": "no"}}});
    assert_eq!(
        refusal(patch(scene, "merged", stale).await),
        is(409, "Conflict")
    );
    let other = "00000000-0000-4000-8000-000000000000";
    let stranger = json!({"metadata": {"uid": other, "labels": {"more": "no"}}});
    // Kubernetes says Conflict of some writes and Invalid of others.
    let stranger = refusal(patch(scene, "merged", stranger).await);
    assert!(
        [is(409, "Conflict"), is(422, "Invalid")].contains(&stranger),
        "{stranger:?}"
    );
    // Of both, the version is looked at first.
    let both = json!({"metadata": {"uid": other, "resourceVersion": version(&made)}});
    assert_eq!(
        refusal(patch(scene, "merged", both).await),
        is(409, "Conflict")
    );
    assert_eq!(
        refusal(patch(scene, "missing", labels).await),
        is(404, "NotFound")
    );

    let grown = patch(scene, "merged", json!({"spec": {"size": 2}}))
        .await
        .unwrap();
    assert_eq!(grown.metadata.generation, Some(2));
    assert_eq!(grown.data["spec"], json!({"size": 2, "word": "a"}));
}

async fn status_is_apart(scene: &Scene) {
    create(&scene.samples, sample("apart")).await;
    let both = json!({"spec": {"size": 7}, "status": {"step": "C-01"}});
    let main = patch(scene, "apart", both.clone()).await.unwrap();
    assert_eq!(main.data["spec"]["size"], 7);
    assert!(main.data["status"].is_null());
    let both = json!({"spec": {"size": 9}, "status": {"step": "C-01"}});
    let params = PatchParams::default();
    let status = scene
        .samples
        .patch_status("apart", &params, &Patch::Merge(both))
        .await
        .unwrap();
    assert_eq!(status.data["spec"]["size"], 7);
    assert_eq!(status.data["status"]["step"], "C-01");
    assert_eq!(status.metadata.generation, main.metadata.generation);
}

async fn apply(
    scene: &Scene,
    name: &str,
    manager: &str,
    force: bool,
    metadata: Value,
    status: Value,
) -> kube::Result<DynamicObject> {
    let body = json!({
        "apiVersion": "conformance.dryrun.dev/v1", "kind": "Sample", "metadata": metadata, "status": status,
    });
    let mut params = PatchParams::apply(manager);
    params.force = force;
    scene
        .samples
        .patch_status(name, &params, &Patch::Apply(body))
        .await
}

async fn applies_own_fields(scene: &Scene) {
    create(&scene.samples, sample("applied")).await;
    let one = async |force, status| apply(scene, "applied", "one", force, json!({}), status).await;
    let two = async |force, status| apply(scene, "applied", "two", force, json!({}), status).await;
    let first = json!({"step": "C-01", "plan": {"hash": "h", "name": "n"}, "verdict": ["a", "b"]});
    let applied = one(true, first.clone()).await.unwrap();
    assert_eq!(applied.data["status"], first);
    assert_eq!(applied.data["spec"]["size"], 1);
    let again = one(true, first).await.unwrap();
    assert_eq!(
        version(&again),
        version(&applied),
        "the same apply changes nothing"
    );

    // What is not applied any more goes, whole objects too; lists are replaced as a whole.
    let less = json!({"step": "C-02", "verdict": ["c"]});
    assert_eq!(one(true, less.clone()).await.unwrap().data["status"], less);

    // A field of another manager is a conflict, unless both mean the same or one has force.
    let other = json!({"step": "C-03", "outcome": "Passed"});
    assert_eq!(
        refusal(two(false, other.clone()).await),
        is(409, "Conflict")
    );
    two(false, json!({"step": "C-02"})).await.unwrap();
    let taken = two(true, other).await.unwrap();
    assert_eq!(
        taken.data["status"],
        json!({"step": "C-03", "outcome": "Passed", "verdict": ["c"]})
    );
    // It is the other's now: a field that `one` no longer applies stays.
    let left = one(true, json!({"verdict": ["c"]})).await.unwrap();
    assert_eq!(left.data["status"]["step"], "C-03");
}

fn conditions(object: &DynamicObject) -> Vec<(String, String)> {
    let all = object.data["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut found: Vec<_> = all
        .map(|c| (text(&c["type"]), text(&c["status"])))
        .collect();
    found.sort();
    found
}

async fn applies_conditions_by_type(scene: &Scene) {
    create(&scene.samples, sample("conditions")).await;
    let by = async |manager, conditions| {
        let status = json!({"conditions": conditions});
        apply(scene, "conditions", manager, true, json!({}), status)
            .await
            .unwrap()
    };
    let condition = |type_: &str, status: &str| json!({"type": type_, "status": status});
    let pair = |type_: &str, status: &str| (type_.to_owned(), status.to_owned());
    by(
        "one",
        json!([condition("A", "True"), condition("B", "Unknown")]),
    )
    .await;
    let both = by("two", json!([condition("C", "False")])).await;
    assert_eq!(
        conditions(&both),
        [pair("A", "True"), pair("B", "Unknown"), pair("C", "False")]
    );
    let less = by("one", json!([condition("A", "False")])).await;
    assert_eq!(conditions(&less), [pair("A", "False"), pair("C", "False")]);
}

async fn applies_demand_versions(scene: &Scene) {
    let made = create(&scene.samples, sample("versions")).await;
    let demanding = async |version: String, step: &str| {
        let metadata = json!({"resourceVersion": version, "uid": made.uid()});
        apply(
            scene,
            "versions",
            "one",
            true,
            metadata,
            json!({"step": step}),
        )
        .await
    };
    let applied = demanding(version(&made), "C-01").await.unwrap();
    assert_eq!(applied.data["status"]["step"], "C-01");
    let stale = demanding(version(&made), "C-02").await;
    assert_eq!(refusal(stale), is(409, "Conflict"));
    let missing = apply(
        scene,
        "missing",
        "one",
        true,
        json!({}),
        json!({"step": "C-01"}),
    )
    .await;
    assert_eq!(refusal(missing), is(404, "NotFound"));
}

fn only(uid: &str) -> DeleteParams {
    DeleteParams::default().preconditions(Preconditions {
        uid: Some(uid.into()),
        resource_version: None,
    })
}

async fn deletes_by_uid(scene: &Scene) {
    let made = create(&scene.config_maps, config_map("deleted")).await;
    let other = only("00000000-0000-4000-8000-000000000000");
    let refused = scene.config_maps.delete("deleted", &other).await;
    assert_eq!(refusal(refused), is(409, "Conflict"));
    let own = only(&made.uid().unwrap());
    let answer = scene.config_maps.delete("deleted", &own).await.unwrap();
    assert!(answer.right().is_some_and(|status| status.is_success()));
    let again = scene.config_maps.delete("deleted", &own).await;
    assert_eq!(refusal(again), is(404, "NotFound"));
}

async fn finalizers_hold(scene: &Scene) {
    let mut object = sample("held");
    object["metadata"]["finalizers"] = json!(["conformance.dryrun.dev/hold"]);
    create(&scene.samples, object).await;
    let params = DeleteParams::default();
    let deleted = scene.samples.delete("held", &params).await.unwrap();
    let deleted = deleted
        .left()
        .expect("the object itself, since it is still there");
    let at = deleted.metadata.deletion_timestamp.clone();
    assert!(at.is_some());
    scene.samples.delete("held", &params).await.unwrap();
    let held = scene.samples.get("held").await.unwrap();
    assert_eq!(held.metadata.deletion_timestamp, at);
    let more = json!({"metadata": {"finalizers": ["conformance.dryrun.dev/hold", "conformance.dryrun.dev/more"]}});
    assert_eq!(
        refusal(patch(scene, "held", more).await),
        is(422, "Invalid")
    );
    let labels = json!({"metadata": {"labels": {"still": "here"}}});
    patch(scene, "held", labels).await.unwrap();
    patch(scene, "held", json!({"metadata": {"finalizers": []}}))
        .await
        .unwrap();
    assert!(scene.samples.get_opt("held").await.unwrap().is_none());
}

async fn lists_by_label_and_page(scene: &Scene) {
    for n in 0..5 {
        let mut object = config_map(&format!("page-{n}"));
        object["metadata"]["labels"] =
            json!({"case": "page", "half": if n < 2 { "one" } else { "two" }});
        create(&scene.config_maps, object).await;
    }
    let names = async |selector: &str| {
        let found = scene
            .config_maps
            .list(&ListParams::default().labels(selector))
            .await
            .unwrap();
        assert!(found.metadata.resource_version.is_some());
        found.iter().map(ResourceExt::name_any).collect::<Vec<_>>()
    };
    assert_eq!(names("case=page,half=one").await, ["page-0", "page-1"]);
    assert_eq!(names("case=page,half!=one").await.len(), 3);
    assert_eq!(names("half").await.len(), 5);
    let mut params = ListParams::default().labels("case=page").limit(2);
    let mut all = Vec::new();
    loop {
        let page = scene.config_maps.list(&params).await.unwrap();
        assert!(page.items.len() <= 2);
        all.extend(page.iter().map(ResourceExt::name_any));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => break,
        }
    }
    assert_eq!(all, (0..5).map(|n| format!("page-{n}")).collect::<Vec<_>>());
}

/// Kind of event and name of each object, up to the deletion of the last.
async fn told(scene: &Scene, selector: &str, from: &str, last: &str) -> Vec<String> {
    let params = WatchParams::default().labels(selector).timeout(60);
    let events = scene.config_maps.watch(&params, from).await.unwrap();
    let mut events = events.boxed();
    let mut told = Vec::new();
    let all = async {
        while let Some(event) = events.try_next().await.unwrap() {
            let (word, object) = match event {
                WatchEvent::Added(object) => ("added", object),
                WatchEvent::Modified(object) => ("modified", object),
                WatchEvent::Deleted(object) => ("deleted", object),
                WatchEvent::Bookmark(_) => continue,
                WatchEvent::Error(status) => panic!("{status:?}"),
            };
            let name = object.name_any();
            told.push((
                word.to_owned() + " " + &name,
                object.resource_version().unwrap(),
            ));
            if word == "deleted" && name == last {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, all)
        .await
        .unwrap_or_else(|_| panic!("no deletion of {last}"));
    let versions: Vec<u64> = told
        .iter()
        .map(|(_, version)| version.parse().unwrap())
        .collect();
    assert!(versions.is_sorted_by(|a, b| a < b), "{told:?}");
    told.into_iter().map(|(word, _)| word).collect()
}

async fn relabel(scene: &Scene, name: &str, labels: Value) {
    let patch = json!({"metadata": {"labels": labels}});
    let params = PatchParams::default();
    scene
        .config_maps
        .patch(name, &params, &Patch::Merge(patch))
        .await
        .unwrap();
}

async fn watches(scene: &Scene) {
    let list = scene
        .config_maps
        .list(&ListParams::default())
        .await
        .unwrap();
    let from = list.metadata.resource_version.unwrap();
    for name in ["seen", "end"] {
        let mut object = config_map(name);
        object["metadata"]["labels"] = json!({"case": "watch"});
        create(&scene.config_maps, object).await;
    }
    relabel(scene, "seen", json!({"more": "yes"})).await;
    for name in ["seen", "end"] {
        scene
            .config_maps
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }
    let expected = [
        "added seen",
        "added end",
        "modified seen",
        "deleted seen",
        "deleted end",
    ];
    assert_eq!(told(scene, "case=watch", &from, "end").await, expected);
}

async fn watches_a_selector(scene: &Scene) {
    create(&scene.config_maps, config_map("wanders")).await;
    let list = scene
        .config_maps
        .list(&ListParams::default())
        .await
        .unwrap();
    let from = list.metadata.resource_version.unwrap();
    relabel(scene, "wanders", json!({"case": "inside"})).await;
    relabel(scene, "wanders", json!({"case": "inside", "more": "yes"})).await;
    relabel(scene, "wanders", json!({"case": "outside"})).await;
    let expected = ["added wanders", "modified wanders", "deleted wanders"];
    assert_eq!(told(scene, "case=inside", &from, "wanders").await, expected);
}

async fn watch_from_too_far_back(scene: &Scene) {
    let params = WatchParams::default().timeout(60);
    let expired = |status: &Status| (status.code, status.reason.clone());
    let found = match scene.samples.watch(&params, "1").await {
        Ok(events) => match events.boxed().try_next().await {
            Ok(Some(WatchEvent::Error(status))) => expired(&status),
            Err(kube::Error::Api(status)) => expired(&status),
            other => panic!("{other:?}"),
        },
        Err(kube::Error::Api(status)) => expired(&status),
        Err(other) => panic!("{other:?}"),
    };
    assert_eq!(found, is(410, "Expired"));
}

async fn secrets_are_immutable(scene: &Scene) {
    let secrets: Api<Secret> = Api::namespaced(scene.client.clone(), &scene.namespace);
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sealed"},
        "immutable": true, "data": {"key": "dmFsdWU="},
    });
    create(&secrets, object).await;
    let params = PatchParams::default();
    let patch = async |patch| secrets.patch("sealed", &params, &Patch::Merge(patch)).await;
    assert_eq!(
        refusal(patch(json!({"data": {"key": "b3RoZXI="}})).await),
        is(422, "Invalid")
    );
    assert_eq!(
        refusal(patch(json!({"immutable": false})).await),
        is(422, "Invalid")
    );
    patch(json!({"metadata": {"labels": {"a": "b"}}}))
        .await
        .unwrap();
}

async fn owners_take_their_own(scene: &Scene) {
    let owner = create(&scene.config_maps, config_map("owner")).await;
    let mut child = config_map("child");
    child["metadata"]["ownerReferences"] = json!([
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.uid()},
    ]);
    create(&scene.config_maps, child).await;
    scene
        .config_maps
        .delete("owner", &DeleteParams::default())
        .await
        .unwrap();
    eventually("the end of what the owner had", async || {
        scene
            .config_maps
            .get_opt("child")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
}

async fn quotas_refuse(scene: &Scene) {
    let quotas: Api<ResourceQuota> = Api::namespaced(scene.client.clone(), &scene.namespace);
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"},
        "spec": {"hard": {"services": "0"}},
    });
    create(&quotas, quota).await;
    eventually("the quota", async || {
        quotas.get("none").await.unwrap().status?.hard
    })
    .await;
    let services: Api<Service> = Api::namespaced(scene.client.clone(), &scene.namespace);
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "refused"},
        "spec": {"ports": [{"port": 80}]},
    });
    assert_eq!(
        refusal(try_create(&services, service).await),
        is(403, "Forbidden")
    );
}

async fn terminating_namespace(scene: &Scene) {
    let namespaces: Api<Namespace> = Api::all(scene.client.clone());
    let name = format!("{}-goes", scene.namespace);
    let made = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    create(&namespaces, made).await;
    let config_maps: Api<ConfigMap> = Api::namespaced(scene.client.clone(), &name);
    let mut object = config_map("held");
    object["metadata"]["finalizers"] = json!(["conformance.dryrun.dev/hold"]);
    create(&config_maps, object).await;
    namespaces
        .delete(&name, &DeleteParams::default())
        .await
        .unwrap();
    let going = namespaces.get_metadata(&name).await.unwrap();
    assert!(going.metadata.deletion_timestamp.is_some());
    let refused = try_create(&config_maps, config_map("late")).await;
    assert_eq!(refusal(refused), is(403, "Forbidden"));
    eventually("the deletion of what is in it", async || {
        let held = config_maps.get("held").await.unwrap();
        held.metadata.deletion_timestamp
    })
    .await;
    let params = PatchParams::default();
    let free = Patch::Merge(json!({"metadata": {"finalizers": []}}));
    config_maps.patch("held", &params, &free).await.unwrap();
    eventually("the end of the namespace", async || {
        namespaces
            .get_metadata_opt(&name)
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
}
