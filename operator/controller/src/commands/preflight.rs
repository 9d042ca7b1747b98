//! Jobs that look at the cluster.

use dryrun_core::api::ProtectedWorkloads;
use dryrun_core::commands::FoundLeft;
use dryrun_core::digest;
use dryrun_core::isolation::pod;
use dryrun_core::problem::Problem;
use dryrun_core::run::facts::{
    ContainerFingerprint, PodFingerprint, PodInspection, PreflightFacts, SecretFacts,
    StorageClassFacts,
};
use dryrun_core::run::id::{PROBES, REHEARSAL_LABEL, RUN_LABEL};
use dryrun_core::run::object::{Object, RunPod};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{ListParams, PartialObjectMeta};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;

use super::{Scope, read};
use crate::error::call;
use crate::objects::{self, CREDENTIAL_LENGTH};

/// Label of a namespace with the level of Pod Security that its pods must meet, and with the version that says what the level means.
const ENFORCE_LABEL: &str = "pod-security.kubernetes.io/enforce";
const ENFORCE_VERSION_LABEL: &str = "pod-security.kubernetes.io/enforce-version";
/// Annotation of the cluster's default StorageClass.
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
/// How long the two looks of the net-zero proof are apart: long enough for a controller that lags to show itself.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
/// The longest pause before two more looks.
const LONGEST_BETWEEN_LOOKS: Duration = Duration::from_secs(5);

/// C-01.
pub(super) async fn preflight(scope: &Scope) -> Result<PreflightFacts, Problem> {
    let mut facts = PreflightFacts {
        names: u32::try_from(Object::ALL.len()).unwrap_or(u32::MAX),
        ..PreflightFacts::default()
    };
    for object in Object::ALL {
        let name = scope.run.reference(object);
        let holder = read("NamesUnreadable", &name, holder(scope, object)).await?;
        if holder.is_some_and(|uid| uid != scope.run.uid) {
            facts.taken.push(name);
        }
    }
    facts.missing_prerequisites = read(
        "NamespaceUnreadable",
        "the namespace",
        missing_prerequisites(scope),
    )
    .await?;
    let class = storage_class(scope);
    facts.storage_class = read("StorageClassUnreadable", "the StorageClass", class).await?;
    let found = protected(scope).await?;
    facts.protected_errors = [found.unmatched, found.errors].concat();
    facts.protected = found.pods;
    Ok(facts)
}

/// The run that the object of this name belongs to: its label, or nothing when there is no such object. An object without the label gives "".
async fn holder(scope: &Scope, object: Object) -> kube::Result<Option<String>> {
    async fn labelled<K>(scope: &Scope, object: Object) -> kube::Result<Option<String>>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let namespace = scope.run.namespace_of(object, &scope.probes_namespace);
        let api: Api<K> = Api::namespaced(scope.client.clone(), namespace);
        let name = scope.run.name_of(object);
        let found: Option<PartialObjectMeta<K>> = api.get_metadata_opt(&name).await?;
        Ok(found.map(|o| {
            if scope.run.owns(&o) {
                scope.run.uid.clone()
            } else {
                o.labels().get(RUN_LABEL).cloned().unwrap_or_default()
            }
        }))
    }
    match object {
        Object::Secret => labelled::<Secret>(scope, object).await,
        Object::Volume(_) => labelled::<PersistentVolumeClaim>(scope, object).await,
        Object::Policy(_) => labelled::<NetworkPolicy>(scope, object).await,
        Object::Pod(_) => labelled::<Pod>(scope, object).await,
    }
}

/// What to run so that this namespace is prepared for runs; nothing when it is.
async fn missing_prerequisites(scope: &Scope) -> kube::Result<Vec<String>> {
    let namespaces: Api<Namespace> = Api::all(scope.client.clone());
    let namespace = namespaces.get(&scope.run.namespace).await?;
    let mut missing_prerequisites = missing_labels(&namespace);
    let probes = namespaces.get_opt(&scope.probes_namespace).await?;
    let prepared = probes.is_some_and(|namespace| {
        namespace
            .labels()
            .get(REHEARSAL_LABEL)
            .is_some_and(|value| value == PROBES)
    });
    if !prepared {
        missing_prerequisites.push(format!(
            "label the namespace of probes: kubectl label --overwrite namespace {} {REHEARSAL_LABEL}={PROBES}",
            scope.probes_namespace
        ));
    }
    if !policies(scope).await?.iter().any(pod::is_deny_all) {
        missing_prerequisites.push(
            "bring back the NetworkPolicy that denies everything to every pod: helm upgrade … --reuse-values --force-conflicts".into(),
        );
    }
    Ok(missing_prerequisites)
}

/// What to run so that a namespace has the labels that the chart gives it.
fn missing_labels(namespace: &Namespace) -> Vec<String> {
    let label = |key: &str| namespace.labels().get(key).map_or("", String::as_str);
    let command = |label: String| {
        let name = namespace.name_any();
        format!("kubectl label namespace {name} --overwrite {label}")
    };
    let fixed = [(REHEARSAL_LABEL, "true"), (ENFORCE_LABEL, "restricted")];
    let mut missing: Vec<String> = fixed
        .into_iter()
        .filter(|(key, value)| label(key) != *value)
        .map(|(key, value)| command(format!("{key}={value}")))
        .collect();
    // Any version does, but none at all means another level with every upgrade of the cluster.
    if label(ENFORCE_VERSION_LABEL).is_empty() {
        missing.push(command(format!("{ENFORCE_VERSION_LABEL}=v1.32")));
    }
    missing
}

async fn policies(scope: &Scope) -> kube::Result<Vec<NetworkPolicy>> {
    let api: Api<NetworkPolicy> = Api::namespaced(scope.client.clone(), &scope.run.namespace);
    Ok(api.list(&ListParams::default()).await?.items)
}

async fn storage_class(scope: &Scope) -> kube::Result<Option<StorageClassFacts>> {
    let api: Api<StorageClass> = Api::all(scope.client.clone());
    let class = match &scope.spec.postgres.storage.storage_class_name {
        Some(name) => api.get_opt(name).await?,
        None => {
            let all = api.list(&ListParams::default()).await?.items;
            all.into_iter().find(|c| {
                c.annotations()
                    .get(DEFAULT_CLASS)
                    .is_some_and(|v| v == "true")
            })
        }
    };
    Ok(class.map(|class| StorageClassFacts {
        name: class.name_any(),
        // The apiserver's own default.
        reclaim_policy: class.reclaim_policy.unwrap_or_else(|| "Delete".into()),
    }))
}

/// The label selector of protected workloads, as the API takes it.
pub(super) fn selector(workloads: &ProtectedWorkloads) -> String {
    let pairs = workloads.selector.iter();
    pairs
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}

/// One look at the protected workloads.
#[derive(Default)]
pub(super) struct Protected {
    pub(super) pods: Vec<PodFingerprint>,
    /// Selectors that match nothing: a mistake before the run, a finding after it.
    unmatched: Vec<String>,
    /// Why some may not be read.
    pub(super) errors: Vec<String>,
}

/// The protected workloads as they are. Only a missing right is a finding: it stays until somebody grants it.
pub(super) async fn protected(scope: &Scope) -> Result<Protected, Problem> {
    let mut look = Protected::default();
    for workloads in &scope.spec.protected {
        let selector = selector(workloads);
        let api: Api<Pod> = Api::namespaced(scope.client.clone(), &workloads.namespace);
        let params = ListParams::default().labels(&selector);
        match call("list protected pods", api.list(&params)).await {
            Ok(found) if found.items.is_empty() => look.unmatched.push(format!(
                "{selector} matches no pod in {}",
                workloads.namespace
            )),
            Ok(found) => look.pods.extend(found.items.iter().map(fingerprint)),
            Err(error) if error.is_forbidden() => look.errors.push(format!(
                "pods in {} cannot be read: {error}",
                workloads.namespace
            )),
            Err(error) => return Err(Problem::transient("ProtectedUnreadable", error)),
        }
    }
    look.pods.sort();
    look.pods.dedup();
    Ok(look)
}

/// A pod as it stands.
pub(super) fn fingerprint(pod: &Pod) -> PodFingerprint {
    let status = pod.status.clone().unwrap_or_default();
    let all = status
        .container_statuses
        .iter()
        .flatten()
        .chain(status.init_container_statuses.iter().flatten());
    let containers: BTreeMap<String, ContainerFingerprint> = all
        .map(|container| {
            let started = container
                .state
                .as_ref()
                .and_then(|state| state.running.as_ref())
                .and_then(|running| running.started_at.as_ref());
            let fingerprint = ContainerFingerprint {
                container_id: container.container_id.clone().unwrap_or_default(),
                image_id: container.image_id.clone(),
                started_at: started.map(|time| time.0.to_string()).unwrap_or_default(),
                restarts: container.restart_count,
            };
            (container.name.clone(), fingerprint)
        })
        .collect();
    PodFingerprint {
        namespace: pod.namespace().unwrap_or_default(),
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        containers,
    }
}

/// C-02: the run's Secret, read back.
pub(super) async fn secret(scope: &Scope) -> Result<SecretFacts, Problem> {
    let api: Api<Secret> = Api::namespaced(scope.client.clone(), &scope.run.namespace);
    let name = scope.run.name_of(Object::Secret);
    let secret = read("SecretUnreadable", "the run's Secret", api.get(&name)).await?;
    let data = secret.data.clone().unwrap_or_default();
    let malformed = |value: &[u8]| {
        value.len() != CREDENTIAL_LENGTH || !value.iter().all(u8::is_ascii_alphanumeric)
    };
    Ok(SecretFacts {
        uid: secret.uid().unwrap_or_default(),
        immutable: secret.immutable == Some(true),
        malformed: data
            .iter()
            .filter(|(_, value)| malformed(&value.0))
            .map(|(key, _)| key.clone())
            .collect(),
        keys: data.into_keys().collect(),
    })
}

/// A pod as the apiserver has it, with everything that could open it.
pub(super) async fn inspect(scope: &Scope, pod: RunPod) -> Result<PodInspection, Problem> {
    let services: Api<Service> = Api::namespaced(scope.client.clone(), &scope.run.namespace);
    let everything = ListParams::default();
    let (pods, name) = (scope.pods(), scope.run.name_of(pod));
    let reading =
        async { futures::try_join!(pods.get(&name), policies(scope), services.list(&everything)) };
    let what = format!("{name} and what opens it");
    let (found, policies, services) = read("ObjectsUnreadable", &what, reading).await?;
    let expected = pod::Expected {
        run: &scope.run,
        pod,
        source_secret: &scope.spec.source.password_secret_ref.name,
    };
    Ok(pod::inspect(&found, &services.items, &policies, expected))
}

/// sha256 of each ConfigMap key that holds an input; empty for one that is gone.
pub(super) async fn input_digests(scope: &Scope) -> Result<BTreeMap<String, String>, Problem> {
    let api: Api<ConfigMap> = Api::namespaced(scope.client.clone(), &scope.run.namespace);
    let mut digests = BTreeMap::new();
    for input in &scope.spec.harness.inputs {
        let reference = &input.config_map_ref;
        let reading = api.get_opt(&reference.name);
        let found = read("ConfigMapUnreadable", "an input's ConfigMap", reading).await?;
        let digest = found
            .and_then(|map| objects::config_map_bytes(&map, &reference.key))
            .map(|bytes| digest::hex(&Sha256::digest(&bytes)));
        digests.insert(
            format!("{}/{}", reference.name, reference.key),
            digest.unwrap_or_default(),
        );
    }
    Ok(digests)
}

/// C-13: two looks by exact name and by label that find nothing, volumes included. What goes late, such as a volume, is looked for ever more
/// slowly, and told when the job's time is over.
pub(super) async fn prove_net_zero(scope: &Scope) -> Result<FoundLeft, Problem> {
    let mut pause = BETWEEN_LOOKS;
    loop {
        let first = left(scope)
            .await
            .map_err(|e| Problem::transient("Unreadable", e))?;
        tokio::time::sleep(BETWEEN_LOOKS).await;
        let second = left(scope)
            .await
            .map_err(|e| Problem::transient("Unreadable", e))?;
        let mut left: Vec<String> = [first, second].concat();
        left.sort();
        left.dedup();
        // As long again as the next pause for the looks themselves.
        let over = Timestamp::now() + 2 * pause + BETWEEN_LOOKS > scope.deadline;
        if left.is_empty() || over {
            return Ok(FoundLeft(left));
        }
        tracing::info!(run = %scope.run.uid, ?left, "still there");
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(LONGEST_BETWEEN_LOOKS);
    }
}

/// What is left of the run. Lists leave resourceVersion unset: they are consistent reads (KEP-2340).
async fn left(scope: &Scope) -> kube::Result<Vec<String>> {
    let mut left = Vec::new();
    for object in Object::ALL {
        if holder(scope, object)
            .await?
            .is_some_and(|uid| uid == scope.run.uid)
        {
            left.push(scope.run.reference(object));
        }
    }
    let labelled = ListParams::default().labels(&scope.run.selector());
    let intruders = ListParams::default().labels(&scope.run.intruder_selector());
    let near = &scope.run.namespace;
    left.extend(listed::<Pod>(scope, near, &labelled).await?);
    left.extend(listed::<Pod>(scope, near, &intruders).await?);
    left.extend(listed::<Pod>(scope, &scope.probes_namespace, &labelled).await?);
    left.extend(listed::<PersistentVolumeClaim>(scope, near, &labelled).await?);
    left.extend(listed::<NetworkPolicy>(scope, near, &labelled).await?);
    let volumes: Api<PersistentVolume> = Api::all(scope.client.clone());
    for volume in volumes.list(&ListParams::default()).await? {
        let claim = volume
            .spec
            .as_ref()
            .and_then(|spec| spec.claim_ref.as_ref());
        let claimed = claim
            .and_then(|claim| claim.uid.as_ref())
            .is_some_and(|uid| scope.facts.claims.contains(uid));
        if claimed || scope.facts.volumes.contains(&volume.name_any()) {
            left.push(format!("PersistentVolume/{}", volume.name_any()));
        }
    }
    left.sort();
    left.dedup();
    Ok(left)
}

async fn listed<K>(scope: &Scope, namespace: &str, params: &ListParams) -> kube::Result<Vec<String>>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(scope.client.clone(), namespace);
    Ok(api
        .list_metadata(params)
        .await?
        .iter()
        .map(|o| format!("{}/{}", K::kind(&()), o.name_any()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_missing_label_has_its_command() {
        let missing = |labels: serde_json::Value| {
            let namespace = json!({"metadata": {"name": "rehearsal", "labels": labels}});
            missing_labels(&serde_json::from_value(namespace).unwrap())
        };
        let (enforce, version) = (ENFORCE_LABEL, ENFORCE_VERSION_LABEL);
        assert!(
            missing(json!({REHEARSAL_LABEL: "true", enforce: "restricted", version: "latest"}))
                .is_empty()
        );
        assert_eq!(
            missing(json!({REHEARSAL_LABEL: "true", enforce: "baseline"})),
            [
                "kubectl label namespace rehearsal --overwrite pod-security.kubernetes.io/enforce=restricted",
                "kubectl label namespace rehearsal --overwrite pod-security.kubernetes.io/enforce-version=v1.32",
            ]
        );
        assert_eq!(missing(json!({})).len(), 3);
    }
}
