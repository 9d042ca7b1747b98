//! The pod that searches and seals what is kept.

use dryrun_core::run::layout::TOKEN_FILE;
use dryrun_core::run::object::{Object, key};
use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::EVIDENCE_DIR;
use super::parts::{agent, base, quantities};
use super::volumes::{
    evidence, memory, mount, part, read_only, run_keys, secrets_mount, secrets_volume, source_key,
};
use crate::objects::Plan;

pub(super) fn pod(plan: &Plan<'_>) -> PodSpec {
    let written_by = |pod: &str| read_only(part("evidence", pod, &format!("{EVIDENCE_DIR}/{pod}")));
    let container = Container {
        resources: Some(quantities(
            &[("cpu", "50m"), ("memory", "64Mi")],
            &[("memory", "1Gi")],
        )),
        volume_mounts: Some(vec![
            secrets_mount(),
            mount("tmp", "/tmp"),
            written_by("dump"),
            written_by("server"),
            written_by("harness"),
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
