//! The pod that searches and seals what is kept.

use dryrun_core::run::container as run;
use dryrun_core::run::key;
use dryrun_core::run::layout::{EVIDENCE_DIR, TMP_DIR};
use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::parts::{agent, base, quantities};
use super::volumes::{
    evidence, memory, mount, part, read_only, secrets_mount, secrets_volume, source_key, token,
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
            mount("tmp", TMP_DIR),
            written_by("dump"),
            written_by("server"),
            written_by("harness"),
        ]),
        ..agent(plan, run::Container::Seal)
    };
    // The credentials that it looks for, and its own token under the name that every agent has it.
    let all = key::all();
    let keys: Vec<(&str, &str)> = all.iter().map(|key| (key.as_str(), key.as_str())).collect();
    let secrets = vec![token(plan, run::Container::Seal, &keys), source_key(plan)];
    base(
        plan,
        Vec::new(),
        vec![container],
        vec![secrets_volume(secrets), memory("tmp"), evidence(plan)],
    )
}
