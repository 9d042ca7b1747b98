//! The pod of the scenarios.

use dryrun_core::run::container as run;
use dryrun_core::run::layout::{
    HARNESS_LOGS_DIR, INPUTS_DIR, SCRATCH_DIR, SECRETS_DIR, TMP_DIR, UNPACKED_DIR,
};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, KeyToPath, PodSpec, ResourceRequirements, Volume,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::OBSERVER_USER;
use super::parts::{agent, base, confined, install, resources, serve, small};
use super::volumes::{
    agent_mount, agent_volume, disk, evidence, memory, mount, part, projected, read_only,
    secrets_mount, secrets_volume, token,
};
use crate::objects::Plan;

pub(super) fn pod(plan: &Plan<'_>) -> PodSpec {
    let harness = &plan.spec.harness;
    let mut volumes = vec![
        secrets_volume(vec![token(plan, run::Container::Harness, &[])]),
        projected(
            "inputs-secrets",
            vec![token(plan, run::Container::Inputs, &[])],
        ),
        projected(
            "observer-secrets",
            vec![token(plan, run::Container::Observer, &[])],
        ),
        memory("tmp"),
        disk("scratch", scratch_size(harness.resources.as_ref())),
        // Inputs are ConfigMaps, of 1 MiB each.
        disk("unpacked", Quantity("512Mi".into())),
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
        mount("tmp", TMP_DIR),
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
        ..agent(plan, run::Container::Inputs)
    };
    let runner = Container {
        resources: Some(resources(harness.resources.as_ref())),
        volume_mounts: Some(mounts),
        ..serve(run::Container::Harness, &harness.image, harness.run_as_user)
    };
    // A native sidecar (KEP-753): it is there before everything else, and ends after it.
    let observer = Container {
        resources: Some(small()),
        restart_policy: Some("Always".into()),
        security_context: Some(confined(OBSERVER_USER)),
        volume_mounts: Some(seen),
        ..agent(plan, run::Container::Observer)
    };
    base(
        plan,
        vec![observer, inputs, install(plan)],
        vec![runner],
        volumes,
    )
}

/// What commands may write: as much as the harness states of the node's disk.
fn scratch_size(declared: Option<&ResourceRequirements>) -> Quantity {
    let limits = declared.and_then(|resources| resources.limits.as_ref());
    let stated = limits.and_then(|limits| limits.get("ephemeral-storage"));
    stated.cloned().unwrap_or_else(|| Quantity("4Gi".into()))
}

#[cfg(test)]
mod tests {
    use crate::objects::{self, Plan};
    use crate::testing;
    use dryrun_core::commands::Facts;
    use dryrun_core::isolation::pod::{CREDENTIALS, Expected, SOURCE, inspect};
    use dryrun_core::run::id::RunRef;
    use dryrun_core::run::key;
    use dryrun_core::run::object::RunPod;
    use k8s_openapi::api::core::v1::PodSpec;
    use serde_json::json;
    use std::collections::BTreeSet;

    fn built(spec: serde_json::Value, pod: RunPod) -> PodSpec {
        let spec = serde_json::from_value(spec).unwrap();
        let run = RunRef {
            namespace: "rehearsal".into(),
            name: "demo".into(),
            uid: "0f1e2d3c-4b5a-4697-8897-a6b5c4d3e2f1".into(),
        };
        let plan = Plan {
            run: &run,
            probes_namespace: "dryrun-probes",
            spec: &spec,
            facts: &Facts::default(),
            operator_image: "operator:1",
        };
        objects::pod(&plan, pod).spec.unwrap()
    }

    /// What user code writes is on the node's disk, with production's.
    #[test]
    fn no_directory_is_without_a_size() {
        let mut spec = testing::spec();
        let scratch = |spec: &PodSpec| {
            let mut volumes = spec.volumes.clone().unwrap().into_iter();
            let scratch = volumes.find(|volume| volume.name == "scratch").unwrap();
            scratch.empty_dir.unwrap().size_limit.unwrap().0
        };
        for pod in RunPod::ALL {
            for volume in built(spec.clone(), pod).volumes.into_iter().flatten() {
                let size = volume.empty_dir.map(|directory| directory.size_limit);
                assert_ne!(size, Some(None), "{pod:?}: {}", volume.name);
            }
        }
        assert_eq!(scratch(&built(spec.clone(), RunPod::Harness)), "4Gi");
        spec["harness"]["resources"] = json!({"limits": {"ephemeral-storage": "9Gi"}});
        assert_eq!(scratch(&built(spec, RunPod::Harness)), "9Gi");
    }

    /// The authority of production's certificate is where a session with production begins.
    #[test]
    fn the_authority_is_mounted_next_to_the_password() {
        let mut spec = testing::spec();
        spec["source"]["caRef"] = json!({"configMapRef": {"name": "shop-ca", "key": "root.pem"}});
        for pod in RunPod::ALL {
            let volumes = serde_json::to_string(&built(spec.clone(), pod).volumes).unwrap();
            let mounted = volumes.contains(r#"{"key":"root.pem","path":"source-ca.crt"}"#);
            let expected = matches!(pod, RunPod::Dump | RunPod::Identity);
            assert_eq!(mounted, expected, "{pod:?}: {volumes}");
        }
    }

    /// What is inspected in the live pods is what is built here.
    #[test]
    fn the_pods_are_confined() {
        let spec = serde_json::from_value(testing::spec()).unwrap();
        let run = RunRef {
            namespace: "rehearsal".into(),
            name: "demo".into(),
            uid: "0f1e2d3c-4b5a-4697-8897-a6b5c4d3e2f1".into(),
        };
        let plan = Plan {
            run: &run,
            probes_namespace: "dryrun-probes",
            spec: &spec,
            facts: &Facts::default(),
            operator_image: "operator:1",
        };
        let deny_all = json!({"spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}});
        let deny_all = serde_json::from_value(deny_all).unwrap();
        for pod in RunPod::ALL {
            let mut policies: Vec<_> = pod
                .allowances()
                .iter()
                .map(|policy| objects::policy(&plan, *policy))
                .collect();
            policies.push(Clone::clone(&deny_all));
            let expected = Expected {
                run: &run,
                pod,
                source_secret: "production",
            };
            let found = inspect(&objects::pod(&plan, pod), &[], &policies, expected);
            assert_eq!(found.violations, Vec::<String>::new(), "{pod:?}");
            assert_eq!(found.modes, Vec::<String>::new(), "{pod:?}");
            let keys = key::of(pod)
                .into_iter()
                .map(|key| format!("{CREDENTIALS}/{key}"));
            let source = key::needs_source(pod).then(|| format!("{SOURCE}/password"));
            let keys: BTreeSet<String> = keys.chain(source).collect();
            assert_eq!(found.secrets, keys, "{pod:?}");
        }
    }
}
