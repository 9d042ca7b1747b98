//! The run's objects, built from spec and facts alone: no client here.

mod pods;
mod policies;
mod volumes;

pub(crate) use pods::pod;
pub(crate) use policies::policy;
pub(crate) use volumes::{CREDENTIAL_LENGTH, claim, secret};

use dryrun_core::api::{DryRun, DryRunSpec};
use dryrun_core::commands::Facts;
use dryrun_core::run::id::RunRef;
use dryrun_core::run::object::Object;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;

use crate::pinned_operator::PinnedOperator;

/// Inputs that objects are built from.
#[derive(Clone, Copy)]
pub(crate) struct Plan<'a> {
    pub(crate) run: &'a RunRef,
    /// The operator as it was approved: the agent comes from its image.
    pub(crate) operator: &'a PinnedOperator,
    pub(crate) spec: &'a DryRunSpec,
    pub(crate) facts: &'a Facts,
}

impl Plan<'_> {
    /// Name, namespace and labels of an object.
    fn metadata(&self, object: impl Into<Object>) -> ObjectMeta {
        let object = object.into();
        let namespace = self
            .run
            .namespace_of(object, &self.operator.probes_namespace);
        ObjectMeta {
            name: Some(self.run.name_of(object)),
            namespace: Some(namespace.to_owned()),
            labels: Some(self.run.labels(object)),
            owner_references: owned(object).then(|| vec![self.owner()]),
            ..ObjectMeta::default()
        }
    }

    fn owner(&self) -> OwnerReference {
        OwnerReference {
            api_version: DryRun::api_version(&()).into_owned(),
            kind: DryRun::kind(&()).into_owned(),
            name: self.run.name.clone(),
            uid: self.run.uid.clone(),
            controller: Some(true),
            block_owner_deletion: None,
        }
    }
}

/// Objects that the DryRun owns. NetworkPolicies have no owner: the garbage collector of
/// `kubectl delete --cascade=foreground` would take them before their pods. Nor has what lives in
/// another namespace: the garbage collector would delete it at once.
fn owned(object: Object) -> bool {
    match object {
        Object::Secret | Object::Volume(_) => true,
        Object::Policy(_) => false,
        Object::Pod(pod) => !pod.is_outside(),
    }
}

/// Returns the value of a ConfigMap's key, from text or bytes.
pub(crate) fn config_map_bytes(map: &ConfigMap, key: &str) -> Option<Vec<u8>> {
    let text = map
        .data
        .as_ref()
        .and_then(|data| data.get(key))
        .map(|text| text.clone().into_bytes());
    text.or_else(|| {
        let bytes = map.binary_data.as_ref()?.get(key)?;
        Some(bytes.0.clone())
    })
}
