//! The run's pods.
//!
//! All are restricted (Pod Security Standards), have no API token, no DNS and a deadline of their own, so that a dead operator cannot leave
//! production's data running for ever. The agent gets in by an init container of the operator's image, so that official images work as they are.

use dryrun_core::control::{
    AGENT_DIR, HARNESS_LOGS_DIR, OBSERVER_PORT, PORT, POSTGRES_ENV, PostgresConfig, SCRATCH_DIR,
    SECRETS_DIR, SUPERUSER_FILE, TOKEN_FILE,
};
use dryrun_core::names::{self, Object, key};
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, EnvVar,
    KeyToPath, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
    PersistentVolumeClaimVolumeSource, Pod, PodDNSConfig, PodSecurityContext, PodSpec,
    PreferredSchedulingTerm, ProjectedVolumeSource, ResourceRequirements, SeccompProfile,
    SecretProjection, SecurityContext, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;
use std::time::Duration;

use super::Plan;

/// Port of the copy.
pub(crate) const POSTGRES_PORT: u16 = 5432;
/// Port of listeners that answer probes: the one in the namespace of probes, and the copy's sidecar, whom nobody may reach.
pub(crate) const ECHO_PORT: u16 = 7072;
/// Where the dump lies in the pods that write or read it.
pub(crate) const DUMP_DIR: &str = "/data/dump";
/// Where the harness's init container finds the inputs, one directory each.
pub(crate) const INPUTS_DIR: &str = "/inputs";
/// Where it unpacks them, one directory each.
pub(crate) const UNPACKED_DIR: &str = "/unpacked";
/// Where the seal pod finds all that was written.
pub(crate) const EVIDENCE_DIR: &str = "/evidence";
/// Where the copy writes its logs.
pub(crate) const SERVER_LOGS_DIR: &str = "/evidence/server";
/// File in [`SECRETS_DIR`] with production's password.
pub(crate) const SOURCE_FILE: &str = "source";
/// Group of every pod of a run: what they share on volumes and in Secrets.
const RUN_GROUP: i64 = 64_000;
/// User of containers that run the operator's image.
const AGENT_USER: i64 = 64_001;
/// User of the observer: what it sees can be changed neither by the harness nor by what the other agents do.
const OBSERVER_USER: i64 = 64_002;
/// What a pod's deadline has beyond the run's, so that teardown is not cut short.
const DEADLINE_MARGIN: Duration = Duration::from_secs(600);

/// Names of the containers that agents are reached in.
pub(crate) struct Containers;

impl Containers {
    /// The copy's init container that waits to be released.
    pub(crate) const ISOLATE: &str = "isolate";
    /// The harness's init container that verifies inputs.
    pub(crate) const INPUTS: &str = "inputs";
    /// The harness's sidecar that looks at the inputs again, and probes.
    pub(crate) const OBSERVER: &str = "observer";
    /// The copy's sidecar that probes, and the only container of a pod that does nothing else.
    pub(crate) const PROBE: &str = "probe";
}

/// One of the run's pods.
pub(crate) fn pod(plan: &Plan<'_>, object: Object) -> Pod {
    let mut spec = match object {
        Object::DumpPod => dump(plan),
        Object::PostgresPod => postgres(plan),
        Object::RestorePod => restore(plan),
        Object::HarnessPod => harness(plan),
        Object::SealPod => seal(plan),
        Object::IntruderPod | Object::ListenerPod | Object::CanaryPod => prober(plan, object),
        _ => identity(plan),
    };
    spec.affinity = affinity(plan, object);
    Pod {
        metadata: plan.metadata(object),
        spec: Some(spec),
        ..Pod::default()
    }
}

fn dump(plan: &Plan<'_>) -> PodSpec {
    let postgres = &plan.spec.postgres;
    let container = Container {
        // It binds both volumes to a node, so it asks for as much as the largest pod that follows.
        resources: Some(resources(postgres.resources.as_ref())),
        volume_mounts: Some(vec![
            agent_mount(),
            secrets_mount(),
            mount("tmp", "/tmp"),
            part("data", "dump", DUMP_DIR),
            part("evidence", "dump", "/evidence/dump"),
        ]),
        ..serve(
            Object::DumpPod.role(),
            &postgres.image,
            postgres.run_as_user,
        )
    };
    let secrets = vec![
        run_keys(plan, &[(key::token("dump"), TOKEN_FILE)]),
        source_key(plan),
    ];
    base(
        plan,
        vec![install(plan)],
        vec![container],
        vec![
            secrets_volume(secrets),
            memory("tmp"),
            agent_volume(),
            data(plan),
            evidence(plan),
        ],
    )
}

fn postgres(plan: &Plan<'_>) -> PodSpec {
    let postgres = &plan.spec.postgres;
    // It has no data, no secret but its own token, and waits until the operator lets the pod go on. Where the server will listen it answers probes:
    // a port that is closed looks isolated.
    let isolate = Container {
        resources: Some(small()),
        volume_mounts: Some(vec![mount("isolate-secrets", SECRETS_DIR)]),
        ..echoing(agent(plan, Containers::ISOLATE), POSTGRES_PORT)
    };
    // A native sidecar (KEP-753), without data: it probes for as long as the copy lives, and answers where nobody may come.
    let probe = Container {
        resources: Some(small()),
        restart_policy: Some("Always".into()),
        security_context: Some(confined(OBSERVER_USER)),
        volume_mounts: Some(vec![mount("probe-secrets", SECRETS_DIR)]),
        ..echoing(agent_on(plan, Containers::PROBE, OBSERVER_PORT), ECHO_PORT)
    };
    let memory_limit = postgres
        .resources
        .as_ref()
        .and_then(|r| r.limits.as_ref()?.get("memory"))
        .and_then(|q| dryrun_core::api::bytes_of(q).ok())
        .unwrap_or(DEFAULT_MEMORY);
    let requirements = plan
        .facts
        .dump
        .as_ref()
        .and_then(|d| d.requirements.clone())
        .unwrap_or_default();
    let config = PostgresConfig {
        run_uid: plan.uid.to_owned(),
        bootstrap_role: names::bootstrap_role(plan.uid),
        restore_role: Some(names::restore_role(plan.uid)),
        database: plan.spec.source.database.clone(),
        roles: plan.spec.privileges.roles.keys().cloned().collect(),
        data_directory: "/data/pgdata/data".into(),
        log_directory: SERVER_LOGS_DIR.into(),
        listen_addresses: "*".into(),
        port: POSTGRES_PORT,
        max_connections: 100,
        // A quarter of the container's memory (postgres manual, 19.4 Resource Consumption).
        shared_buffers: memory_limit / 4,
        forbidden_system_identifier: plan.spec.source.system_identifier.clone(),
        requirements,
    };
    let server = Container {
        name: Object::PostgresPod.role().into(),
        image: Some(postgres.image.clone()),
        command: Some(vec![agent_path(), "postgres".into()]),
        env: Some(vec![EnvVar {
            name: POSTGRES_ENV.into(),
            value: serde_json::to_string(&config).ok(),
            value_from: None,
        }]),
        resources: Some(resources(postgres.resources.as_ref())),
        security_context: Some(confined(postgres.run_as_user)),
        volume_mounts: Some(vec![
            agent_mount(),
            secrets_mount(),
            mount("tmp", "/tmp"),
            mount("shm", "/dev/shm"),
            part("data", "pgdata", "/data/pgdata"),
            part("evidence", "server", SERVER_LOGS_DIR),
        ]),
        ..Container::default()
    };
    let isolate_secrets = projected(
        "isolate-secrets",
        vec![run_keys(plan, &[(key::token("isolate"), TOKEN_FILE)])],
    );
    let probe_secrets = projected(
        "probe-secrets",
        vec![run_keys(
            plan,
            &[(key::token(Containers::PROBE), TOKEN_FILE)],
        )],
    );
    let secrets = vec![run_keys(plan, &[(key::SUPERUSER.into(), SUPERUSER_FILE)])];
    base(
        plan,
        vec![isolate, probe, install(plan)],
        vec![server],
        vec![
            isolate_secrets,
            probe_secrets,
            secrets_volume(secrets),
            memory("tmp"),
            memory("shm"),
            agent_volume(),
            data(plan),
            evidence(plan),
        ],
    )
}

fn restore(plan: &Plan<'_>) -> PodSpec {
    let postgres = &plan.spec.postgres;
    let dump = VolumeMount {
        read_only: Some(true),
        ..part("data", "dump", DUMP_DIR)
    };
    let container = Container {
        resources: Some(small()),
        volume_mounts: Some(vec![
            agent_mount(),
            secrets_mount(),
            mount("tmp", "/tmp"),
            dump,
        ]),
        ..serve(
            Object::RestorePod.role(),
            &postgres.image,
            postgres.run_as_user,
        )
    };
    let secrets = vec![run_keys(
        plan,
        &[
            (key::token("restore"), TOKEN_FILE),
            (key::RESTORE.into(), key::RESTORE),
        ],
    )];
    base(
        plan,
        vec![install(plan)],
        vec![container],
        vec![
            secrets_volume(secrets),
            memory("tmp"),
            agent_volume(),
            data(plan),
        ],
    )
}

fn harness(plan: &Plan<'_>) -> PodSpec {
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
        mount("inputs-secrets", SECRETS_DIR),
        mount("unpacked", UNPACKED_DIR),
    ];
    let mut seen = vec![
        mount("observer-secrets", SECRETS_DIR),
        VolumeMount {
            read_only: Some(true),
            ..mount("unpacked", UNPACKED_DIR)
        },
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
        let source = VolumeMount {
            read_only: Some(true),
            ..mount(&format!("input-{i}"), &format!("{INPUTS_DIR}/{i}"))
        };
        sources.push(source.clone());
        seen.push(source);
        mounts.push(VolumeMount {
            read_only: Some(true),
            ..part("unpacked", &i.to_string(), &input.mount_path)
        });
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

fn seal(plan: &Plan<'_>) -> PodSpec {
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

fn identity(plan: &Plan<'_>) -> PodSpec {
    let container = Container {
        resources: Some(small()),
        volume_mounts: Some(vec![secrets_mount(), mount("tmp", "/tmp")]),
        ..agent(plan, Object::IdentityPod.role())
    };
    let secrets = vec![
        run_keys(plan, &[(key::token("identity"), TOKEN_FILE)]),
        source_key(plan),
    ];
    base(
        plan,
        Vec::new(),
        vec![container],
        vec![secrets_volume(secrets), memory("tmp")],
    )
}

/// A pod that probes or answers and holds nothing, not even a token: what it can be asked is worth none.
fn prober(plan: &Plan<'_>, object: Object) -> PodSpec {
    let open = agent(plan, Containers::PROBE);
    let container = Container {
        resources: Some(small()),
        command: open
            .command
            .map(|words| [words, vec!["--probes-only".into()]].concat()),
        ..open
    };
    let container = match object {
        Object::ListenerPod => echoing(container, ECHO_PORT),
        _ => container,
    };
    base(plan, Vec::new(), vec![container], Vec::new())
}

/// The agent answers there with what it is sent.
fn echoing(agent: Container, port: u16) -> Container {
    Container {
        command: agent
            .command
            .map(|words| [words, vec!["--echo".into(), port.to_string()]].concat()),
        ..agent
    }
}

/// What all pods have in common.
fn base(
    plan: &Plan<'_>,
    init: Vec<Container>,
    containers: Vec<Container>,
    volumes: Vec<Volume>,
) -> PodSpec {
    let total = plan.spec.deadlines.total.or(Duration::from_secs(7200)) + DEADLINE_MARGIN;
    PodSpec {
        init_containers: (!init.is_empty()).then_some(init),
        containers,
        volumes: Some(volumes),
        restart_policy: Some("Never".into()),
        active_deadline_seconds: i64::try_from(total.as_secs()).ok(),
        termination_grace_period_seconds: Some(3),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        // Nothing in a run needs names; port 53 is a probe target, not an exception.
        dns_policy: Some("None".into()),
        dns_config: Some(PodDNSConfig {
            nameservers: Some(vec!["127.0.0.1".into()]),
            ..PodDNSConfig::default()
        }),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            fs_group: Some(RUN_GROUP),
            fs_group_change_policy: Some("OnRootMismatch".into()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".into(),
                localhost_profile: None,
            }),
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    }
}

/// A container of the user's image in which the agent is PID 1 and serves the control channel.
fn serve(name: &str, image: &str, user: i64) -> Container {
    Container {
        name: name.into(),
        image: Some(image.into()),
        command: Some(vec![
            agent_path(),
            "serve".into(),
            "--port".into(),
            PORT.to_string(),
        ]),
        security_context: Some(confined(user)),
        ..Container::default()
    }
}

/// A container of the operator's image that serves the control channel.
fn agent(plan: &Plan<'_>, name: &str) -> Container {
    agent_on(plan, name, PORT)
}

fn agent_on(plan: &Plan<'_>, name: &str, port: u16) -> Container {
    Container {
        command: Some(vec![
            "/dryrun-agent".into(),
            "serve".into(),
            "--port".into(),
            port.to_string(),
        ]),
        ..serve(name, plan.operator_image, AGENT_USER)
    }
}

/// The init container that brings the agent into a pod of another image.
fn install(plan: &Plan<'_>) -> Container {
    Container {
        command: Some(vec!["/dryrun-agent".into(), "install".into(), agent_path()]),
        resources: Some(small()),
        volume_mounts: Some(vec![mount("agent", AGENT_DIR)]),
        ..serve("install", plan.operator_image, AGENT_USER)
    }
}

fn agent_path() -> String {
    format!("{AGENT_DIR}/dryrun-agent")
}

fn confined(user: i64) -> SecurityContext {
    SecurityContext {
        run_as_user: Some(user),
        // What one pod writes another may read: not every kind of volume takes the pod's group.
        run_as_group: Some(RUN_GROUP),
        run_as_non_root: Some(true),
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".into()]),
            add: None,
        }),
        ..SecurityContext::default()
    }
}

/// Later pods run where the dump pod ran: there the volumes are. By affinity, since `nodeName` would skip the scheduler. The listener had better run
/// somewhere else, so that it also sees the copy from another node.
fn affinity(plan: &Plan<'_>, object: Object) -> Option<Affinity> {
    let node = Some(&plan.facts.node).filter(|node| !node.is_empty())?;
    let is = |operator: &str| NodeSelectorTerm {
        match_fields: Some(vec![NodeSelectorRequirement {
            key: "metadata.name".into(),
            operator: operator.into(),
            values: Some(vec![node.clone()]),
        }]),
        match_expressions: None,
    };
    let node_affinity = match object {
        Object::ListenerPod => NodeAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![
                PreferredSchedulingTerm {
                    preference: is("NotIn"),
                    weight: 100,
                },
            ]),
            ..NodeAffinity::default()
        },
        _ => NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(NodeSelector {
                node_selector_terms: vec![is("In")],
            }),
            ..NodeAffinity::default()
        },
    };
    Some(Affinity {
        node_affinity: Some(node_affinity),
        ..Affinity::default()
    })
}

/// Memory of a server or harness container that the spec says nothing about.
const DEFAULT_MEMORY: u64 = 2 << 30;

fn resources(declared: Option<&ResourceRequirements>) -> ResourceRequirements {
    declared.cloned().unwrap_or_else(|| {
        quantities(
            &[("cpu", "100m"), ("memory", "256Mi")],
            &[("memory", "2Gi")],
        )
    })
}

fn small() -> ResourceRequirements {
    quantities(
        &[("cpu", "10m"), ("memory", "32Mi")],
        &[("memory", "512Mi")],
    )
}

fn quantities(requests: &[(&str, &str)], limits: &[(&str, &str)]) -> ResourceRequirements {
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, Quantity> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Quantity((*value).into())))
            .collect()
    };
    ResourceRequirements {
        requests: Some(map(requests)),
        limits: Some(map(limits)),
        claims: None,
    }
}

fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: volume.into(),
        mount_path: path.into(),
        ..VolumeMount::default()
    }
}

/// A part of a volume: no pod mounts the whole of one.
fn part(volume: &str, sub_path: &str, path: &str) -> VolumeMount {
    VolumeMount {
        sub_path: Some(sub_path.into()),
        ..mount(volume, path)
    }
}

fn agent_mount() -> VolumeMount {
    VolumeMount {
        read_only: Some(true),
        ..mount("agent", AGENT_DIR)
    }
}

fn secrets_mount() -> VolumeMount {
    VolumeMount {
        read_only: Some(true),
        ..mount("secrets", SECRETS_DIR)
    }
}

fn secrets_volume(sources: Vec<VolumeProjection>) -> Volume {
    projected("secrets", sources)
}

/// Secrets readable for the run's group: 0400 could not be read by a container that is not root.
fn projected(name: &str, sources: Vec<VolumeProjection>) -> Volume {
    Volume {
        name: name.into(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(0o440),
            sources: Some(sources),
        }),
        ..Volume::default()
    }
}

/// Keys of the run's Secret, and the file names that they get.
fn run_keys(plan: &Plan<'_>, keys: &[(String, &str)]) -> VolumeProjection {
    secret(&Object::Secret.name(plan.name, plan.uid), keys)
}

/// Production's password.
fn source_key(plan: &Plan<'_>) -> VolumeProjection {
    let reference = &plan.spec.source.password_secret_ref;
    secret(&reference.name, &[(reference.key.clone(), SOURCE_FILE)])
}

fn secret(name: &str, keys: &[(String, &str)]) -> VolumeProjection {
    let items = keys
        .iter()
        .map(|(key, path)| KeyToPath {
            key: key.clone(),
            path: (*path).into(),
            mode: None,
        })
        .collect();
    VolumeProjection {
        secret: Some(SecretProjection {
            name: name.into(),
            items: Some(items),
            optional: Some(false),
        }),
        ..VolumeProjection::default()
    }
}

fn agent_volume() -> Volume {
    disk("agent")
}

fn disk(name: &str) -> Volume {
    Volume {
        name: name.into(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }
}

fn memory(name: &str) -> Volume {
    let source = EmptyDirVolumeSource {
        medium: Some("Memory".into()),
        size_limit: Some(Quantity("256Mi".into())),
    };
    Volume {
        name: name.into(),
        empty_dir: Some(source),
        ..Volume::default()
    }
}

fn data(plan: &Plan<'_>) -> Volume {
    claimed("data", &Object::DataVolume.name(plan.name, plan.uid))
}

fn evidence(plan: &Plan<'_>) -> Volume {
    claimed(
        "evidence",
        &Object::EvidenceVolume.name(plan.name, plan.uid),
    )
}

fn claimed(name: &str, claim: &str) -> Volume {
    let source = PersistentVolumeClaimVolumeSource {
        claim_name: claim.into(),
        read_only: None,
    };
    Volume {
        name: name.into(),
        persistent_volume_claim: Some(source),
        ..Volume::default()
    }
}
