//! The run's objects, built from spec and facts alone: no client here.

mod pods;
mod policies;
mod volumes;

pub(crate) use pods::{Containers, pod};
pub(crate) use pods::{
    DUMP_DIR, ECHO_PORT, EVIDENCE_DIR, INPUTS_DIR, POSTGRES_PORT, SERVER_LOGS_DIR, SOURCE_FILE,
    UNPACKED_DIR,
};
pub(crate) use policies::policy;
pub(crate) use volumes::{CREDENTIAL_LENGTH, claim, secret};

use dryrun_core::api::{DryRun, DryRunSpec};
use dryrun_core::run::facts::Facts;
use dryrun_core::run::id::{self, INTRUDER_LABEL, NAMESPACE_LABEL, RUN_LABEL};
use dryrun_core::run::object::Object;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};

/// What objects are built from.
#[derive(Clone, Copy)]
pub(crate) struct Plan<'a> {
    pub(crate) name: &'a str,
    pub(crate) namespace: &'a str,
    /// The namespace of canaries and listeners.
    pub(crate) probes_namespace: &'a str,
    pub(crate) uid: &'a str,
    pub(crate) spec: &'a DryRunSpec,
    pub(crate) facts: &'a Facts,
    /// The operator's image as it was approved: the agent comes from it.
    pub(crate) operator_image: &'a str,
}

impl Plan<'_> {
    /// Name, namespace and labels of an object.
    ///
    /// Guards (NetworkPolicies) have no owner: the garbage collector of `kubectl delete --cascade=foreground` would take them before their pods.
    /// Nor has what lives in another namespace: the garbage collector would delete it at once.
    fn metadata(&self, object: Object) -> ObjectMeta {
        let guard = object.kind() == "NetworkPolicy";
        let mut labels = id::labels(self.name, self.uid, object);
        let namespace = if object.is_outside() {
            labels.insert(NAMESPACE_LABEL.to_owned(), self.namespace.to_owned());
            self.probes_namespace
        } else {
            self.namespace
        };
        ObjectMeta {
            name: Some(object.name(self.name, self.uid)),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels),
            owner_references: (!guard && !object.is_outside()).then(|| vec![self.owner()]),
            ..ObjectMeta::default()
        }
    }

    fn owner(&self) -> OwnerReference {
        OwnerReference {
            api_version: DryRun::api_version(&()).into_owned(),
            kind: DryRun::kind(&()).into_owned(),
            name: self.name.to_owned(),
            uid: self.uid.to_owned(),
            controller: Some(true),
            block_owner_deletion: None,
        }
    }
}

/// What a ConfigMap has under a key, as text or as bytes.
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

/// Namespace, name and UID of a DryRun.
pub(crate) type Key = (String, String, String);

/// The key of a DryRun: every stored object has all three.
pub(crate) fn key(run: &DryRun) -> Key {
    (
        run.namespace().unwrap_or_default(),
        run.name_any(),
        run.uid().unwrap_or_default(),
    )
}

/// Whether an object belongs to the run with this UID.
pub(crate) fn belongs<K: Resource>(object: &K, uid: &str) -> bool {
    let labels = object.labels();
    [RUN_LABEL, INTRUDER_LABEL]
        .iter()
        .any(|label| labels.get(*label).is_some_and(|run| run == uid))
}
