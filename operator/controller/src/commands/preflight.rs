//! C-01: the cluster before anything is created.

use dryrun_core::isolation::pod;
use dryrun_core::problem::Problem;
use dryrun_core::run::facts::{PreflightFacts, StorageClassFacts};
use dryrun_core::run::id::{PROBES, REHEARSAL_LABEL, RUN_LABEL};
use dryrun_core::run::object::Object;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{ListParams, PartialObjectMeta};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::{pods, protected};
use crate::jobs::{Scope, read};

/// Label of a namespace with the level of Pod Security that its pods must meet, and with the
/// version that says what the level means.
const ENFORCE_LABEL: &str = "pod-security.kubernetes.io/enforce";
const ENFORCE_VERSION_LABEL: &str = "pod-security.kubernetes.io/enforce-version";
/// Annotation of the cluster's default StorageClass.
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
/// Looks at names, the namespace, the StorageClass and the protected workloads.
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
    let found = protected::look(scope).await?;
    facts.protected_errors = [found.unmatched, found.errors].concat();
    facts.protected = found.pods;
    Ok(facts)
}

/// The run that the object of this name belongs to: its label, or nothing when there is no such
/// object. An object without the label gives "".
pub(super) async fn holder(scope: &Scope, object: Object) -> kube::Result<Option<String>> {
    async fn labelled<K>(scope: &Scope, object: Object) -> kube::Result<Option<String>>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let namespace = scope
            .run
            .namespace_of(object, &scope.operator.probes_namespace);
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

/// Returns the commands that prepare this namespace for runs; nothing when it is.
async fn missing_prerequisites(scope: &Scope) -> kube::Result<Vec<String>> {
    let namespaces: Api<Namespace> = Api::all(scope.client.clone());
    let namespace = namespaces.get(&scope.run.namespace).await?;
    let mut missing_prerequisites = missing_labels(&namespace);
    let probes = namespaces.get_opt(&scope.operator.probes_namespace).await?;
    let prepared = probes.is_some_and(|namespace| {
        namespace
            .labels()
            .get(REHEARSAL_LABEL)
            .is_some_and(|value| value == PROBES)
    });
    if !prepared {
        missing_prerequisites.push(format!(
            "label the namespace of probes: kubectl label --overwrite namespace {} {REHEARSAL_LABEL}={PROBES}",
            scope.operator.probes_namespace
        ));
    }
    if !pods::policies(scope).await?.iter().any(pod::is_deny_all) {
        missing_prerequisites.push(
            "bring back the NetworkPolicy that denies everything to every pod: helm upgrade … --reuse-values --force-conflicts".into(),
        );
    }
    Ok(missing_prerequisites)
}

/// Returns the commands that give a namespace the chart's labels.
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
