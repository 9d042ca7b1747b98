//! Server-side apply of manifests written in YAML.

use anyhow::{Context, Result};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::{GroupVersionKind, TypeMeta},
};
use serde::Deserialize;

/// Applies all documents of `yaml` in order. Namespaced objects must name their namespace.
///
/// # Errors
/// The text is not valid YAML of Kubernetes objects, or the API server refuses an object.
pub async fn apply(client: &Client, yaml: &str) -> Result<()> {
    let parameters = PatchParams::apply("dryrun-e2e").force();
    let documents: Vec<serde_json::Value> =
        serde_saphyr::from_multiple(yaml).context("reading a manifest")?;
    for document in documents {
        let object: DynamicObject =
            DynamicObject::deserialize(document).context("a document is no Kubernetes object")?;
        let types: &TypeMeta = object.types.as_ref().context("a document has no kind")?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
        let api: Api<DynamicObject> = match object.namespace() {
            Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let name = object.name_any();
        api.patch(&name, &parameters, &Patch::Apply(&object))
            .await
            .with_context(|| format!("applying {} {name}", resource.kind))?;
    }
    Ok(())
}
