//! The run's Secret and volumes.

use dryrun_core::run::key;
use dryrun_core::run::object::{Object, RunVolume};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, Secret, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use rand::Rng;
use rand::distr::Alphanumeric;
use std::collections::BTreeMap;

use super::Plan;

/// Size of the evidence volume: server log, scenario logs.
const EVIDENCE_SIZE: &str = "1Gi";
/// Length of every generated credential; see [`generate`].
pub(crate) const CREDENTIAL_LENGTH: usize = 32;

/// A credential of letters and digits alone: it reads the same raw and in JSON, SQL, CSV, URLs and
/// connection strings, so that a leak of it is found in few forms. 32 characters are 190 bits.
pub(crate) fn generate() -> String {
    rand::rng()
        .sample_iter(Alphanumeric)
        .take(CREDENTIAL_LENGTH)
        .map(char::from)
        .collect()
}

/// The run's credentials, in one immutable Secret.
pub(crate) fn secret(plan: &Plan<'_>) -> Secret {
    let data: BTreeMap<String, ByteString> = key::all()
        .into_iter()
        .map(|key| (key, ByteString(generate().into_bytes())))
        .collect();
    Secret {
        metadata: plan.metadata(Object::Secret),
        immutable: Some(true),
        data: Some(data),
        ..Secret::default()
    }
}

/// One of the run's volumes.
pub(crate) fn claim(plan: &Plan<'_>, volume: RunVolume) -> PersistentVolumeClaim {
    let storage = &plan.spec.postgres.storage;
    let size = match volume {
        RunVolume::Data => storage.size.clone(),
        RunVolume::Evidence => Quantity(EVIDENCE_SIZE.into()),
    };
    PersistentVolumeClaim {
        metadata: plan.metadata(volume),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            storage_class_name: storage.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), size)])),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}
