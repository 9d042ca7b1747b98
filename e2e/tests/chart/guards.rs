//! Restrictions that the admission policies place on a rehearsal namespace, and the exceptions for
//! the operator, for Kubernetes and for the chart's administrators.

use std::time::Duration;

use anyhow::{Context, Result};
use dryrun_core::run::id::{ROLE_LABEL, RUN_LABEL};
use http::Method;
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, Node, PersistentVolumeClaim, Pod, Secret, Service,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::actors::{
    Actor, Actors, Expected, Expected::Accepted, Expected::NotForbidden, Expected::Refused, expect,
};
use crate::release::{DOOMED, PROBES, PROTECTED, REHEARSAL, remove_namespace};

/// Deadline for the apiserver to serve a new kind.
const ESTABLISHED: Duration = Duration::from_secs(30);

const CONNECT: &str = "only the DryRun operator may connect to pods of a rehearsal namespace";
const PODS: &str = "only the DryRun operator may create or change pods of a rehearsal namespace";
const SERVICES: &str = "Services are not allowed in a rehearsal namespace";
const POD_STATUS: &str = "a status update may not change labels of a pod of a rehearsal namespace";
const BINDERS: &str = "only Kubernetes may bind pods of a rehearsal namespace to nodes";
const BINDING_LABELS: &str = "a binding may not set labels dryrun.dev/* on a pod";
const POLICIES: &str =
    "only the DryRun operator may change NetworkPolicies of a rehearsal namespace";
const MAINTAINED: &str = "NetworkPolicy dryrun-deny-all is maintained by the chart's admins (values admins.users, admins.groups), not by";
const DENY_ALL: &str = "NetworkPolicy dryrun-deny-all must deny everything to every pod";
const PLUGINS: &str = "policies of network plugins are not allowed in a rehearsal namespace";
const OBJECTS: &str = "labelled dryrun.dev/*";
const CLAIMS: &str =
    "only the DryRun operator may create persistentvolumeclaims in a rehearsal namespace";
const COPIES: &str = "production's data must not be copied from it";
const NAMESPACES: &str = "may change the labels of a rehearsal namespace, not";

/// A pod that Pod Security admits and that fits no node.
fn pod() -> Value {
    json!({
        "metadata": {"name": "pod", "labels": {RUN_LABEL: "run"}},
        "spec": {
            "nodeSelector": {"dryrun.dev/nowhere": ""},
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "main", "image": "dryrun.local/none", "securityContext": confined()}],
        },
    })
}

fn confined() -> Value {
    json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}})
}

fn allow_all(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"podSelector": {}, "ingress": [{}], "policyTypes": ["Ingress"]}})
}

fn secret(labelled: bool) -> Value {
    let labels = if labelled {
        json!({RUN_LABEL: "run"})
    } else {
        json!({})
    };
    json!({"metadata": {"name": "secret", "labels": labels}, "stringData": {"key": "value"}})
}

fn claim() -> Value {
    json!({
        "metadata": {"name": "claim", "labels": {RUN_LABEL: "run"}},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}, "storageClassName": "none"},
    })
}

/// A claim without a run's labels that is cloned from a run's claim.
fn clone_of_claim() -> Value {
    let mut clone = claim();
    clone["metadata"] = json!({"name": "clone"});
    clone["spec"]["dataSource"] = json!({"kind": "PersistentVolumeClaim", "name": "claim"});
    clone
}

/// A patch that removes the run's label.
fn unlabelled() -> Value {
    json!({"metadata": {"labels": {RUN_LABEL: null}}})
}

/// A patch that sets a label.
fn labelled(key: &str) -> Value {
    json!({"metadata": {"labels": {key: "another"}}})
}

fn annotated() -> Value {
    json!({"metadata": {"annotations": {"example.com/touched": "yes"}}})
}

pub(crate) async fn check(actors: &Actors) -> Result<()> {
    pods(actors, REHEARSAL).await?;
    pods(actors, PROBES).await?;
    networks(actors).await?;
    plugins(actors).await?;
    objects(actors).await?;
    copies(actors).await?;
    namespaces(actors).await
}

/// The probes' namespace has the same protection as a rehearsal namespace.
async fn pods(actors: &Actors, namespace: &'static str) -> Result<()> {
    let [admin, root, replicas, operator, collector, scheduler] = [
        &actors.admin,
        &actors.root,
        &actors.replicas,
        &actors.operator,
        &actors.collector,
        &actors.scheduler,
    ]
    .map(|actor| actor.in_namespace(namespace));
    for actor in [&admin, &root, &replicas] {
        actor.create::<Pod>(Refused(PODS), pod()).await?;
    }
    operator.create::<Pod>(Accepted, pod()).await?;
    operator.make::<Pod>(pod()).await?;
    for actor in [&admin, &root] {
        actor
            .patch::<Pod>(Refused(PODS), "pod", annotated())
            .await?;
        for way in ["exec", "attach", "portforward", "proxy"] {
            actor.connect(Refused(CONNECT), "pod", way).await?;
        }
    }
    collector
        .patch::<Pod>(Accepted, "pod", json!({"metadata": {"finalizers": []}}))
        .await?;
    collector
        .patch::<Pod>(Refused(PODS), "pod", unlabelled())
        .await?;
    collector
        .patch::<Pod>(
            Refused(PODS),
            "pod",
            json!({"spec": {"activeDeadlineSeconds": 3600}}),
        )
        .await?;
    operator.connect(NotForbidden, "pod", "portforward").await?;
    operator
        .connect(Refused("cannot get resource \"pods/exec\""), "pod", "exec")
        .await?;
    ephemeral(&root).await?;
    for actor in [&admin, &root, &scheduler] {
        actor
            .patch_status::<Pod>(Refused(POD_STATUS), "pod", unlabelled())
            .await?;
        actor
            .patch_status::<Pod>(Refused(POD_STATUS), "pod", labelled(ROLE_LABEL))
            .await?;
        actor
            .patch_status::<Pod>(Accepted, "pod", json!({"status": {"message": "waits"}}))
            .await?;
    }
    bindings(&root, &scheduler, namespace).await?;
    // Allowed, for draining a node and for cleaning up.
    root.delete::<Pod>(Accepted, "pod").await
}

/// Binds as the scheduler does, and by the older API.
async fn bindings(root: &Actor, scheduler: &Actor, namespace: &str) -> Result<()> {
    let nodes: Api<Node> = Api::all(root.client.clone());
    let nodes = nodes.list(&ListParams::default()).await?;
    let node = nodes.items.first().context("there is no node")?.name_any();
    let binding = |labels: Value| {
        json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": "pod", "labels": labels},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        })
    };
    for path in ["pods/pod/binding", "bindings"] {
        let path = format!("/api/v1/namespaces/{namespace}/{path}");
        for (actor, expected, labels) in [
            (root, Refused(BINDERS), json!({})),
            (
                scheduler,
                Refused(BINDING_LABELS),
                json!({ROLE_LABEL: "dump"}),
            ),
            (scheduler, Accepted, json!({})),
            (
                scheduler,
                Accepted,
                json!({"topology.kubernetes.io/zone": "a"}),
            ),
        ] {
            actor
                .send(expected, Method::POST, &path, &binding(labels))
                .await?;
        }
    }
    Ok(())
}

async fn ephemeral(actor: &Actor) -> Result<()> {
    let container =
        json!({"name": "debug", "image": "dryrun.local/none", "securityContext": confined()});
    let patch = json!({"spec": {"ephemeralContainers": [container]}});
    let (api, parameters) = (
        actor.api::<Pod>(),
        PatchParams {
            dry_run: true,
            ..PatchParams::default()
        },
    );
    expect(
        "a cluster admin adds an ephemeral container",
        Refused(PODS),
        async || {
            api.patch_subresource(
                "ephemeralcontainers",
                "pod",
                &parameters,
                &Patch::Strategic(&patch),
            )
            .await
            .map(drop)
        },
    )
    .await
}

async fn networks(actors: &Actors) -> Result<()> {
    let service = json!({"metadata": {"name": "service"}, "spec": {"ports": [{"port": 5432}]}});
    actors
        .admin
        .create::<Service>(Refused(SERVICES), service.clone())
        .await?;
    actors
        .root
        .create::<Service>(Refused(SERVICES), service)
        .await?;

    let opened = json!({"spec": {"ingress": [{}]}});
    let selective = json!({"spec": {"podSelector": {"matchLabels": {"app": "none"}}}});
    for (actor, refused) in [(&actors.admin, DENY_ALL), (&actors.root, MAINTAINED)] {
        actor
            .create::<NetworkPolicy>(Refused(POLICIES), allow_all("allow"))
            .await?;
        actor
            .patch::<NetworkPolicy>(Refused(refused), "dryrun-deny-all", opened.clone())
            .await?;
        actor
            .patch::<NetworkPolicy>(Refused(refused), "dryrun-deny-all", selective.clone())
            .await?;
    }
    actors
        .root
        .patch::<NetworkPolicy>(Refused(MAINTAINED), "dryrun-deny-all", annotated())
        .await?;
    actors
        .root
        .delete::<NetworkPolicy>(Refused(MAINTAINED), "dryrun-deny-all")
        .await?;
    actors
        .root
        .delete_all::<NetworkPolicy>(Refused(MAINTAINED))
        .await?;
    actors
        .operator
        .delete::<NetworkPolicy>(Refused(MAINTAINED), "dryrun-deny-all")
        .await?;
    actors
        .admin
        .patch::<NetworkPolicy>(Accepted, "dryrun-deny-all", annotated())
        .await?;
    actors
        .admin
        .delete::<NetworkPolicy>(Accepted, "dryrun-deny-all")
        .await?;

    actors
        .operator
        .create::<NetworkPolicy>(Accepted, allow_all("allow"))
        .await?;
    actors
        .operator
        .make::<NetworkPolicy>(allow_all("allow"))
        .await?;
    for actor in [&actors.admin, &actors.root] {
        actor
            .patch::<NetworkPolicy>(Refused(POLICIES), "allow", opened.clone())
            .await?;
    }
    actors
        .root
        .delete::<NetworkPolicy>(Refused(POLICIES), "allow")
        .await?;
    // The admin may remove it in case the operator is gone.
    for actor in [&actors.admin, &actors.namespaces, &actors.operator] {
        actor.delete::<NetworkPolicy>(Accepted, "allow").await?;
    }
    Ok(())
}

/// Policies of network plugins beside NetworkPolicy; their API group is installed temporarily.
async fn plugins(actors: &Actors) -> Result<()> {
    foreign(
        actors,
        [
            "cilium.io",
            "v2",
            "CiliumNetworkPolicy",
            "ciliumnetworkpolicies",
        ],
        json!({"endpointSelector": {}, "ingress": [{}]}),
        PLUGINS,
    )
    .await?;
    foreign(
        actors,
        [
            "crd.projectcalico.org",
            "v1",
            "NetworkPolicy",
            "networkpolicies",
        ],
        json!({"selector": "all()", "types": ["Ingress"], "ingress": [{"action": "Allow"}]}),
        PLUGINS,
    )
    .await
}

/// Installs the kind for the duration of the check, as this cluster may lack it, and expects that
/// objects of it are refused.
async fn foreign(
    actors: &Actors,
    [group, version, kind, plural]: [&str; 4],
    spec: Value,
    sentence: &str,
) -> Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(actors.admin.client.clone());
    let name = format!("{plural}.{group}");
    let crd = json!({
        // Kubernetes requires this annotation for CRDs in its own groups.
        "metadata": {"name": name, "annotations": {"api-approved.kubernetes.io": "unapproved, a test"}},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{
                "name": version, "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    });
    let made = crds.get_opt(&name).await?.is_none();
    if made {
        crds.create(&PostParams::default(), &serde_json::from_value(crd)?)
            .await?;
    }
    let attempts = async {
        let established = await_condition(crds.clone(), &name, is_crd_established());
        timeout(ESTABLISHED, established).await??;
        let object = json!({"apiVersion": format!("{group}/{version}"), "kind": kind, "metadata": {"name": "object"}, "spec": spec});
        let path = |namespace: &str| format!("/apis/{group}/{version}/namespaces/{namespace}/{plural}");
        for actor in [&actors.admin, &actors.root] {
            actor
                .send(Refused(sentence), Method::POST, &path(REHEARSAL), &object)
                .await?;
            actor
                .send(Accepted, Method::POST, &path(PROTECTED), &object)
                .await?;
        }
        anyhow::Ok(())
    }
    .await;
    if made {
        crds.delete(&name, &DeleteParams::default()).await?;
    }
    attempts
}

async fn objects(actors: &Actors) -> Result<()> {
    for actor in [&actors.admin, &actors.root] {
        actor
            .create::<Secret>(Refused(OBJECTS), secret(true))
            .await?;
        actor.create::<Secret>(Accepted, secret(false)).await?;
    }
    let config_map =
        json!({"metadata": {"name": "kept", "labels": {"dryrun.dev/retained-run": "run"}}});
    actors
        .root
        .create::<ConfigMap>(Refused(OBJECTS), config_map)
        .await?;

    actors.operator.make::<Secret>(secret(true)).await?;
    actors
        .operator
        .make::<PersistentVolumeClaim>(claim())
        .await?;
    for actor in [&actors.admin, &actors.root] {
        actor
            .patch::<Secret>(Refused(OBJECTS), "secret", unlabelled())
            .await?;
        actor
            .patch::<Secret>(Refused(OBJECTS), "secret", annotated())
            .await?;
        actor.delete::<Secret>(Refused(OBJECTS), "secret").await?;
        actor
            .patch::<PersistentVolumeClaim>(Refused(OBJECTS), "claim", unlabelled())
            .await?;
        actor
            .delete::<PersistentVolumeClaim>(Refused(OBJECTS), "claim")
            .await?;
        actor
            .patch_status::<PersistentVolumeClaim>(Refused(OBJECTS), "claim", unlabelled())
            .await?;
        actor
            .patch_status::<PersistentVolumeClaim>(Refused(OBJECTS), "claim", labelled(ROLE_LABEL))
            .await?;
        // The status update of an external provisioner or resizer.
        actor
            .patch::<PersistentVolumeClaim>(Accepted, "claim", annotated())
            .await?;
        let larger = json!({"status": {"capacity": {"storage": "2Mi"}}});
        actor
            .patch_status::<PersistentVolumeClaim>(Accepted, "claim", larger)
            .await?;
    }
    actors
        .collector
        .delete::<Secret>(Accepted, "secret")
        .await?;
    actors
        .namespaces
        .delete::<PersistentVolumeClaim>(Accepted, "claim")
        .await?;
    actors.operator.delete::<Secret>(Accepted, "secret").await
}

/// Neither a claim nor a snapshot may copy production's data from a run's volume.
async fn copies(actors: &Actors) -> Result<()> {
    for actor in [&actors.admin, &actors.root, &actors.sets] {
        actor
            .create::<PersistentVolumeClaim>(Refused(CLAIMS), clone_of_claim())
            .await?;
    }
    let mut another = claim();
    another["metadata"]["name"] = "another".into();
    actors
        .operator
        .create::<PersistentVolumeClaim>(Accepted, another)
        .await?;
    actors
        .root
        .in_namespace(PROTECTED)
        .create::<PersistentVolumeClaim>(Accepted, clone_of_claim())
        .await?;
    foreign(
        actors,
        [
            "snapshot.storage.k8s.io",
            "v1",
            "VolumeSnapshot",
            "volumesnapshots",
        ],
        json!({"source": {"persistentVolumeClaimName": "claim"}}),
        COPIES,
    )
    .await
}

async fn namespaces(actors: &Actors) -> Result<()> {
    let label = |key: &str, value: Value| json!({"metadata": {"labels": {key: value}}});
    let parameters = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let attempt = async |actor: &Actor, expected: Expected<'_>, patch: Value| {
        let api: Api<Namespace> = Api::all(actor.client.clone());
        let what = format!("{} patches the namespace with {patch}", actor.name);
        expect(&what, expected, async || {
            api.patch(REHEARSAL, &parameters, &Patch::Merge(&patch))
                .await
                .map(drop)
        })
        .await
    };
    attempt(
        &actors.root,
        Refused(NAMESPACES),
        label("dryrun.dev/rehearsal", Value::Null),
    )
    .await?;
    attempt(
        &actors.root,
        Refused(NAMESPACES),
        label("dryrun.dev/rehearsal", "false".into()),
    )
    .await?;
    attempt(
        &actors.root,
        Refused(NAMESPACES),
        label("pod-security.kubernetes.io/enforce", "privileged".into()),
    )
    .await?;
    attempt(
        &actors.root,
        Refused(NAMESPACES),
        json!({"metadata": {"labels": null}}),
    )
    .await?;
    attempt(
        &actors.root,
        Accepted,
        label("example.com/team", "shop".into()),
    )
    .await?;
    // The subresources that can change the object are covered as well.
    let api: Api<Namespace> = Api::all(actors.root.client.clone());
    let whole = serde_json::to_value(api.get(REHEARSAL).await?)?;
    let mut opened = whole.clone();
    opened["metadata"]["labels"] = json!({});
    for way in ["status", "finalize"] {
        let path = format!("/api/v1/namespaces/{REHEARSAL}/{way}");
        actors
            .root
            .send(Refused(NAMESPACES), Method::PUT, &path, &opened)
            .await?;
        for actor in [&actors.root, &actors.namespaces] {
            actor.send(Accepted, Method::PUT, &path, &whole).await?;
        }
    }
    attempt(
        &actors.admin,
        Accepted,
        label(
            "pod-security.kubernetes.io/enforce-version",
            "latest".into(),
        ),
    )
    .await
}

/// Deletes a whole rehearsal namespace with all objects that the policies guard.
pub(crate) async fn namespace_is_deleted(actors: &Actors) -> Result<()> {
    let operator = actors.operator.in_namespace(DOOMED);
    operator.make::<Pod>(pod()).await?;
    operator.make::<NetworkPolicy>(allow_all("allow")).await?;
    operator.make::<Secret>(secret(true)).await?;
    operator.make::<PersistentVolumeClaim>(claim()).await?;
    remove_namespace(&actors.root.client, DOOMED).await?;
    println!("a whole rehearsal namespace was deleted");
    Ok(())
}
