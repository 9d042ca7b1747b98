//! C-05: the dump is restored.

use dryrun_core::agent_api::protocol::{Task, TaskResult};
use dryrun_core::agent_api::tasks::{RestoreTask, Server};
use dryrun_core::api::{Authentication, SslMode, bytes_of};
use dryrun_core::postgres::server_log::Errors;
use dryrun_core::problem::Problem;
use dryrun_core::run::container::Container;
use dryrun_core::run::facts::{CopyIdentity, Reading, RestoreFacts};
use dryrun_core::run::key;
use dryrun_core::run::layout::{DUMP_DIR, POSTGRES_PORT};
use dryrun_core::run::object::RunPod;

use crate::copy::{self, Session, matrix};
use crate::jobs::{Scope, confused};

/// Reads who the copy is, before the restore's first write; then makes the roles.
pub(crate) async fn prepare(scope: &Scope) -> Result<CopyIdentity, Problem> {
    let session = Session::maintenance(&scope.copy().await?).await?;
    matrix::create_roles(&session, &scope.spec, scope.dump()?).await?;
    session
        .create_restore_role(
            &scope.run.restore_role(),
            &scope.credential(key::RESTORE).await?,
        )
        .await?;
    Ok(session.identity(Reading::BeforeRestore))
}

/// Restores, then reads what the copy's own log says of it.
pub(crate) async fn restore(scope: &Scope) -> Result<RestoreFacts, Problem> {
    let dump = scope.dump()?;
    let minimum_free = bytes_of(&scope.spec.postgres.storage.minimum_free)
        .map_err(|e| Problem::permanent("InvalidQuantity", e.to_string()))?;
    let task = Task::Restore(RestoreTask {
        server: Server {
            host: scope.run.name_of(RunPod::Postgres),
            address: scope.copy_address().await?,
            port: POSTGRES_PORT,
            user: scope.run.restore_role(),
            database: "postgres".into(),
            sslmode: SslMode::Disable,
            authentication: Authentication::ScramSha256,
            ca_file: None,
            password_file: key::RESTORE.into(),
        },
        database: scope.spec.source.database.clone(),
        jobs: scope.spec.restore.jobs,
        directory: format!("{DUMP_DIR}/{}", scope.facts.dump_attempts),
        dump_digest: dump
            .archive
            .as_ref()
            .map(|a| a.digest.clone())
            .unwrap_or_default(),
        forbidden_system_identifier: scope.spec.source.system_identifier.clone(),
        minimum_free,
    });
    let TaskResult::Restore(claim) = scope
        .agent(Container::Restore)
        .await?
        .run("restore", &task)
        .await?
    else {
        return Err(confused());
    };
    let roles_created = matrix::roles(&scope.spec, dump).len();
    let roles_created = u32::try_from(roles_created).unwrap_or(u32::MAX);
    if claim.lowest_free_bytes < minimum_free {
        // It was stopped because the disk was full; the copy's server may not answer any more.
        return Ok(RestoreFacts {
            claim,
            roles_created,
            ..RestoreFacts::default()
        });
    }
    let session = Session::maintenance(&scope.copy().await?).await?;
    let role = scope.run.restore_role();
    let mut errors = Errors::default();
    copy::log::entries(&session, |entry| {
        if entry.is_error() && entry.user.as_deref() == Some(&role) {
            errors.add(entry);
        }
    })
    .await?;
    let (logged, overflow) = errors.finish();
    session.lock_role(&role).await?;
    Ok(RestoreFacts {
        claim,
        logged,
        overflow,
        roles_created,
    })
}
