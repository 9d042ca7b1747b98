//! All remaining objects of a run: by label in all kinds and namespaces, by name in its own
//! namespace, and among the volumes. Evidence has a separate label and is meant to stay.

use anyhow::{Context, Result};
use dryrun_core::run::id::{RETAINED_LABEL, RUN_LABEL};
use dryrun_core::run::object::Object;
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams},
    discovery::{Discovery, Scope, verbs},
};

/// Kinds that document a run and outlive it: the report, the request with its approval, and events.
const RETAINED: [&str; 4] = ["DryRun", "DryRunApproval", "DryRunReport", "Event"];

/// Every listable kind of namespaced objects in the cluster.
///
/// # Errors
/// The apiserver does not answer.
pub(crate) async fn kinds(client: &Client) -> Result<Vec<ApiResource>> {
    let discovery = Discovery::new(client.clone())
        .run_aggregated()
        .await
        .context("discovering the cluster's kinds")?;
    let kinds = discovery
        .groups()
        .flat_map(|group| group.recommended_resources());
    Ok(kinds
        .filter(|(_, able)| able.scope == Scope::Namespaced && able.supports_operation(verbs::LIST))
        .map(|(kind, _)| kind)
        .collect())
}

/// Remaining objects of a run, as `Kind/name`. `foreign` are names of foreign objects.
///
/// # Errors
/// The apiserver does not answer.
pub(crate) async fn find(
    client: &Client,
    kinds: &[ApiResource],
    run: &Key<'_>,
    foreign: &[String],
) -> Result<Vec<String>> {
    let labelled = ListParams::default().labels(&format!("{RUN_LABEL}={}", run.uid));
    let prefix = format!("{}-", run.name);
    let mut left = Vec::new();
    for kind in kinds {
        let everywhere: Api<DynamicObject> = Api::all_with(client.clone(), kind);
        left.extend(
            everywhere
                .list_metadata(&labelled)
                .await?
                .iter()
                .map(|object| reference(kind, object)),
        );
        if RETAINED.contains(&kind.kind.as_str()) {
            continue;
        }
        let near: Api<DynamicObject> = Api::namespaced_with(client.clone(), run.namespace, kind);
        let named = near.list_metadata(&ListParams::default()).await?;
        let named = named.iter().filter(|object| {
            // The name of another run may begin with this one's name.
            let of = object.labels().get("app.kubernetes.io/instance");
            object.name_any().starts_with(&prefix)
                && of.is_none_or(|of| of == run.name)
                && !foreign.contains(&object.name_any())
                && !object.labels().contains_key(RETAINED_LABEL)
        });
        left.extend(named.map(|object| reference(kind, object)));
    }
    let claims =
        [Object::DataVolume, Object::EvidenceVolume].map(|claim| claim.name(run.name, run.uid));
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    for volume in volumes.list(&ListParams::default()).await? {
        let claim = volume
            .spec
            .as_ref()
            .and_then(|spec| spec.claim_ref.as_ref());
        let claimed = claim.is_some_and(|claim| {
            claim.namespace.as_deref() == Some(run.namespace)
                && claim
                    .name
                    .as_ref()
                    .is_some_and(|name| claims.contains(name))
        });
        if claimed {
            left.push(format!("PersistentVolume/{}", volume.name_any()));
        }
    }
    left.sort();
    left.dedup();
    Ok(left)
}

/// Identity of a run.
pub(crate) struct Key<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) uid: &'a str,
}

fn reference(kind: &ApiResource, object: &impl ResourceExt) -> String {
    format!("{}/{}", kind.kind, object.name_any())
}
