//! The pods in which Postgres's programs work: dump, copy and restore; and the one that asks
//! production who it is.

use dryrun_core::agent_api::copy_server::{POSTGRES_ENV, PostgresConfig};
use dryrun_core::run::container as run;
use dryrun_core::run::key;
use dryrun_core::run::layout::{
    DUMP_DIR, DUMP_LOGS_DIR, ECHO_PORT, PGDATA, PGDATA_MOUNT, POSTGRES_PORT, SECRETS_DIR,
    SERVER_LOGS_DIR, SUPERUSER_FILE, TMP_DIR,
};
use k8s_openapi::api::core::v1::{Container, EnvVar, PodSpec};
use std::iter::once;

use super::OBSERVER_USER;
use super::parts::{
    DEFAULT_MEMORY, agent, agent_path, base, confined, echoing, install, resources, serve, small,
};
use super::volumes::{
    agent_mount, agent_volume, data, evidence, memory, mount, part, projected, read_only, run_keys,
    secrets_mount, secrets_volume, source_keys, token,
};
use crate::objects::Plan;

pub(super) fn dump(plan: &Plan<'_>) -> PodSpec {
    let postgres = &plan.spec.postgres;
    let container = Container {
        // It binds both volumes to a node, so it asks for as much as the largest pod that follows.
        resources: Some(resources(postgres.resources.as_ref())),
        volume_mounts: Some(vec![
            agent_mount(),
            secrets_mount(),
            mount("tmp", TMP_DIR),
            part("data", "dump", DUMP_DIR),
            part("evidence", "dump", DUMP_LOGS_DIR),
        ]),
        ..serve(run::Container::Dump, &postgres.image, postgres.run_as_user)
    };
    let secrets = once(token(plan, run::Container::Dump, &[]));
    let secrets = secrets.chain(source_keys(plan)).collect();
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
    // It has no data, no secret but its own token, and waits until the operator releases the pod.
    // Where the server will listen it answers probes: a port that is closed looks isolated.
    let isolate = Container {
        resources: Some(small()),
        volume_mounts: Some(vec![read_only(mount("isolate-secrets", SECRETS_DIR))]),
        ..echoing(agent(plan, run::Container::Isolate), POSTGRES_PORT)
    };
    // A native sidecar (KEP-753), without data: it probes for as long as the copy lives, and
    // answers where no pod may connect.
    let probe = Container {
        resources: Some(small()),
        restart_policy: Some("Always".into()),
        security_context: Some(confined(OBSERVER_USER)),
        volume_mounts: Some(vec![read_only(mount("probe-secrets", SECRETS_DIR))]),
        ..echoing(agent(plan, run::Container::CopyProbe), ECHO_PORT)
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
        run_uid: plan.run.uid.clone(),
        bootstrap_role: plan.run.bootstrap_role(),
        restore_role: Some(plan.run.restore_role()),
        database: plan.spec.source.database.clone(),
        roles: plan.spec.privileges.roles.keys().cloned().collect(),
        data_directory: PGDATA.into(),
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
        name: run::Container::Server.name().into(),
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
            mount("tmp", TMP_DIR),
            mount("shm", "/dev/shm"),
            part("data", "pgdata", PGDATA_MOUNT),
            part("evidence", "server", SERVER_LOGS_DIR),
        ]),
        ..Container::default()
    };
    let isolate_secrets = projected(
        "isolate-secrets",
        vec![token(plan, run::Container::Isolate, &[])],
    );
    let probe_secrets = projected(
        "probe-secrets",
        vec![token(plan, run::Container::CopyProbe, &[])],
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
            mount("tmp", TMP_DIR),
            dump,
        ]),
        ..serve(
            run::Container::Restore,
            &postgres.image,
            postgres.run_as_user,
        )
    };
    let secrets = vec![token(
        plan,
        run::Container::Restore,
        &[(key::RESTORE, key::RESTORE)],
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
        volume_mounts: Some(vec![secrets_mount(), mount("tmp", TMP_DIR)]),
        ..agent(plan, run::Container::Identity)
    };
    let secrets = once(token(plan, run::Container::Identity, &[]));
    let secrets = secrets.chain(source_keys(plan)).collect();
    base(
        plan,
        Vec::new(),
        vec![container],
        vec![secrets_volume(secrets), memory("tmp")],
    )
}
