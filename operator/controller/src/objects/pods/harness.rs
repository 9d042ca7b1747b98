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
                // The apiserver's own default: the live pod is compared with this one.
                default_mode: Some(0o644),
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

/// Returns the size of the scratch space of commands: as much as the harness states of the node's
/// disk.
fn scratch_size(declared: Option<&ResourceRequirements>) -> Quantity {
    let limits = declared.and_then(|resources| resources.limits.as_ref());
    let stated = limits.and_then(|limits| limits.get("ephemeral-storage"));
    stated.cloned().unwrap_or_else(|| Quantity("4Gi".into()))
}

#[cfg(test)]
mod tests {
    use crate::objects::{self, Plan};
    use crate::pinned_operator::PinnedOperator;
    use crate::testing;
    use dryrun_core::api::DryRunSpec;
    use dryrun_core::commands::Facts;
    use dryrun_core::isolation::pod::{CREDENTIALS, Expected, SOURCE, inspect};
    use dryrun_core::run::id::RunRef;
    use dryrun_core::run::key;
    use dryrun_core::run::object::RunPod;
    use k8s_openapi::api::core::v1::PodSpec;
    use serde_json::{Value, json};
    use std::collections::{BTreeMap, BTreeSet};

    fn demo() -> (DryRunSpec, RunRef, PinnedOperator) {
        let run = RunRef {
            namespace: "rehearsal".into(),
            name: "demo".into(),
            uid: "0f1e2d3c-4b5a-4697-8897-a6b5c4d3e2f1".into(),
        };
        let operator = PinnedOperator {
            image: "operator:1".into(),
            probes_namespace: "dryrun-probes".into(),
        };
        let spec = serde_json::from_value(testing::spec()).unwrap();
        (spec, run, operator)
    }

    fn built(spec: Value, pod: RunPod) -> PodSpec {
        let (_, run, operator) = demo();
        let spec = serde_json::from_value(spec).unwrap();
        let plan = Plan {
            run: &run,
            operator: &operator,
            spec: &spec,
            facts: &Facts::default(),
        };
        objects::pod(&plan, pod).spec.unwrap()
    }

    /// Files of user code are on the node's disk, with production's.
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

    /// The inspection of live pods compares them with the pods that are built here.
    #[test]
    fn the_pods_are_confined() {
        let (spec, run, operator) = demo();
        let plan = Plan {
            run: &run,
            operator: &operator,
            spec: &spec,
            facts: &Facts::default(),
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
            let built = objects::pod(&plan, pod);
            let expected = Expected {
                run: &run,
                pod,
                source_secret: "production",
                built: &built,
            };
            let found = inspect(&built, &[], &policies, expected);
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

    /// All other mounts are read-only, and no volume of the run is mounted as a whole.
    #[test]
    fn containers_write_to_their_own_parts_alone() {
        let (spec, run, operator) = demo();
        let plan = Plan {
            run: &run,
            operator: &operator,
            spec: &spec,
            facts: &Facts::default(),
        };
        let (mut writes, mut reads) = (BTreeSet::new(), BTreeSet::new());
        for pod in RunPod::ALL {
            let built = serde_json::to_value(objects::pod(&plan, pod)).unwrap();
            let list = |name: &str| {
                let all = built["spec"][name].as_array().cloned();
                all.unwrap_or_default()
            };
            let volumes: BTreeMap<String, Value> = list("volumes")
                .into_iter()
                .map(|volume| (volume["name"].as_str().unwrap().to_owned(), volume))
                .collect();
            for container in [list("initContainers"), list("containers")].concat() {
                for mount in container["volumeMounts"].as_array().into_iter().flatten() {
                    let name = mount["name"].as_str().unwrap();
                    let volume = &volumes[name];
                    let claimed = !volume["persistentVolumeClaim"].is_null();
                    let part = mount["subPath"].as_str().filter(|_| claimed);
                    assert_eq!(part.is_some(), claimed, "{pod:?} mounts all of {name}");
                    let disposable = !volume["emptyDir"].is_null();
                    let secret = !volume["projected"].is_null();
                    let input = pod == RunPod::Harness && !volume["configMap"].is_null();
                    assert!(claimed || disposable || secret || input, "{pod:?}: {name}");
                    let who = container["name"].as_str().unwrap();
                    let what =
                        part.map_or_else(|| name.to_owned(), |part| format!("{name}/{part}"));
                    let said = format!("{}/{who} {what}", pod.role());
                    if mount["readOnly"] != true {
                        writes.insert(said);
                    } else if claimed {
                        reads.insert(said);
                    }
                }
            }
        }
        let expected = [
            "dump/dump data/dump",
            "dump/dump evidence/dump",
            "dump/dump tmp",
            "dump/install agent",
            "harness/harness evidence/harness",
            "harness/harness scratch",
            "harness/harness tmp",
            "harness/inputs unpacked",
            "harness/install agent",
            "identity/identity tmp",
            "postgres/install agent",
            "postgres/postgres data/pgdata",
            "postgres/postgres evidence/server",
            "postgres/postgres shm",
            "postgres/postgres tmp",
            "restore/install agent",
            "restore/restore tmp",
            "seal/seal tmp",
        ];
        assert!(writes.iter().eq(&expected), "{writes:?}");
        let expected = [
            "restore/restore data/dump",
            "seal/seal evidence/dump",
            "seal/seal evidence/harness",
            "seal/seal evidence/server",
        ];
        assert!(reads.iter().eq(&expected), "{reads:?}");
    }
}
