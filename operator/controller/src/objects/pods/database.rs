//! The pods in which Postgres's programs work: dump, copy and restore; and the one that asks production who it is.

use dryrun_core::agent_api::copy_server::{POSTGRES_ENV, PostgresConfig};
use dryrun_core::run::id;
use dryrun_core::run::layout::{OBSERVER_PORT, SECRETS_DIR, SUPERUSER_FILE, TOKEN_FILE};
use dryrun_core::run::object::{Object, key};
use k8s_openapi::api::core::v1::{Container, EnvVar, PodSpec};

use super::parts::{
    DEFAULT_MEMORY, agent, agent_on, agent_path, base, confined, echoing, install, resources,
    serve, small,
};
use super::volumes::{
    agent_mount, agent_volume, data, evidence, memory, mount, part, projected, read_only, run_keys,
    secrets_mount, secrets_volume, source_key,
};
use super::{Containers, DUMP_DIR, ECHO_PORT, OBSERVER_USER, POSTGRES_PORT, SERVER_LOGS_DIR};
use crate::objects::Plan;

pub(super) fn dump(plan: &Plan<'_>) -> PodSpec {
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

pub(super) fn postgres(plan: &Plan<'_>) -> PodSpec {
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
        bootstrap_role: id::bootstrap_role(plan.uid),
        restore_role: Some(id::restore_role(plan.uid)),
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

pub(super) fn restore(plan: &Plan<'_>) -> PodSpec {
    let postgres = &plan.spec.postgres;
    let dump = read_only(part("data", "dump", DUMP_DIR));
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

pub(super) fn identity(plan: &Plan<'_>) -> PodSpec {
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
