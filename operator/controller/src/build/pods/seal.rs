//! The pod that searches and seals what is kept.

use dryrun_core::control::TOKEN_FILE;
use dryrun_core::names::{Object, key};
use k8s_openapi::api::core::v1::{Container, PodSpec, VolumeMount};

use super::EVIDENCE_DIR;
use super::parts::{agent, base, quantities};
use super::volumes::{
    evidence, memory, mount, part, run_keys, secrets_mount, secrets_volume, source_key,
};
use crate::build::Plan;

pub(super) fn pod(plan: &Plan<'_>) -> PodSpec {
    let read_only = |directory: &str| VolumeMount {
        read_only: Some(true),
        ..part(
            "evidence",
            directory,
            &format!("{EVIDENCE_DIR}/{directory}"),
        )
    };
    let container = Container {
        resources: Some(quantities(
            &[("cpu", "50m"), ("memory", "64Mi")],
            &[("memory", "1Gi")],
        )),
        volume_mounts: Some(vec![
            secrets_mount(),
            mount("tmp", "/tmp"),
            read_only("dump"),
            read_only("server"),
            read_only("harness"),
        ]),
        ..agent(plan, Object::SealPod.role())
    };
    // All that it looks for, and its own token under the name that every agent has it.
    let all = key::all();
    let keys: Vec<(String, &str)> = all
        .iter()
        .map(|key| (key.clone(), key.as_str()))
        .chain([(key::token("seal"), TOKEN_FILE)])
        .collect();
    let secrets = vec![run_keys(plan, &keys), source_key(plan)];
    base(
        plan,
        Vec::new(),
        vec![container],
        vec![secrets_volume(secrets), memory("tmp"), evidence(plan)],
    )
}
