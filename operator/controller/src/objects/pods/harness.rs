//! The pod of the scenarios.

use dryrun_core::run::layout::{
    HARNESS_LOGS_DIR, OBSERVER_PORT, SCRATCH_DIR, SECRETS_DIR, TOKEN_FILE,
};
use dryrun_core::run::object::{Object, key};
use k8s_openapi::api::core::v1::{ConfigMapVolumeSource, Container, KeyToPath, PodSpec, Volume};

use super::parts::{agent, agent_on, base, confined, install, resources, serve, small};
use super::volumes::{
    agent_mount, agent_volume, disk, evidence, memory, mount, part, projected, read_only, run_keys,
    secrets_mount, secrets_volume,
};
use super::{Containers, INPUTS_DIR, OBSERVER_USER, UNPACKED_DIR};
use crate::objects::Plan;

pub(super) fn pod(plan: &Plan<'_>) -> PodSpec {
    let harness = &plan.spec.harness;
    let mut volumes = vec![
        secrets_volume(vec![run_keys(plan, &[(key::token("harness"), TOKEN_FILE)])]),
        projected(
            "inputs-secrets",
            vec![run_keys(plan, &[(key::token("inputs"), TOKEN_FILE)])],
        ),
        projected(
            "observer-secrets",
            vec![run_keys(plan, &[(key::token("observer"), TOKEN_FILE)])],
        ),
        memory("tmp"),
        disk("scratch"),
        disk("unpacked"),
        agent_volume(),
        evidence(plan),
    ];
    let mut sources = vec![
        read_only(mount("inputs-secrets", SECRETS_DIR)),
        mount("unpacked", UNPACKED_DIR),
    ];
    let mut seen = vec![
        read_only(mount("observer-secrets", SECRETS_DIR)),
        read_only(mount("unpacked", UNPACKED_DIR)),
    ];
    let mut mounts = vec![
        agent_mount(),
        secrets_mount(),
        mount("tmp", "/tmp"),
        mount("scratch", SCRATCH_DIR),
        part("evidence", "harness", HARNESS_LOGS_DIR),
    ];
    for (i, input) in harness.inputs.iter().enumerate() {
        volumes.push(Volume {
            name: format!("input-{i}"),
            config_map: Some(ConfigMapVolumeSource {
                name: input.config_map_ref.name.clone(),
                items: Some(vec![KeyToPath {
                    key: input.config_map_ref.key.clone(),
                    path: input.config_map_ref.key.clone(),
                    mode: None,
                }]),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        });
        let source = read_only(mount(&format!("input-{i}"), &format!("{INPUTS_DIR}/{i}")));
        sources.push(source.clone());
        seen.push(source);
        mounts.push(read_only(part(
            "unpacked",
            &i.to_string(),
            &input.mount_path,
        )));
    }
    let inputs = Container {
        resources: Some(small()),
        volume_mounts: Some(sources),
        ..agent(plan, Containers::INPUTS)
    };
    let runner = Container {
        resources: Some(resources(harness.resources.as_ref())),
        volume_mounts: Some(mounts),
        ..serve(
            Object::HarnessPod.role(),
            &harness.image,
            harness.run_as_user,
        )
    };
    // A native sidecar (KEP-753): it is there before everything else, and ends after it.
    let observer = Container {
        resources: Some(small()),
        restart_policy: Some("Always".into()),
        security_context: Some(confined(OBSERVER_USER)),
        volume_mounts: Some(seen),
        ..agent_on(plan, Containers::OBSERVER, OBSERVER_PORT)
    };
    base(
        plan,
        vec![observer, inputs, install(plan)],
        vec![runner],
        volumes,
    )
}

#[cfg(test)]
mod tests {
    use crate::objects::{self, Plan};
    use crate::testing;
    use dryrun_core::isolation::pod;
    use dryrun_core::run::facts::Facts;
    use dryrun_core::run::object::Object;
    use serde_json::json;

    /// What is inspected in the live pod is what is built here.
    #[test]
    fn the_pod_is_confined() {
        let spec = serde_json::from_value(testing::spec()).unwrap();
        let plan = Plan {
            name: "demo",
            namespace: "rehearsal",
            probes_namespace: "dryrun-probes",
            uid: "0f1e2d3c-4b5a-4697-8897-a6b5c4d3e2f1",
            spec: &spec,
            facts: &Facts::default(),
            operator_image: "operator:1",
        };
        let deny_all = json!({"spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}});
        let found = pod::harness_violations(
            &objects::pod(&plan, Object::HarnessPod),
            &[serde_json::from_value(deny_all).unwrap()],
            &[],
            &Object::EvidenceVolume.name(plan.name, plan.uid),
        );
        assert_eq!(found, Vec::<String>::new());
    }
}
