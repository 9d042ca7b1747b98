//! Jobs on the copy.

use dryrun_core::run::key;
use dryrun_core::run::object::RunPod;
use dryrun_core::{
    agent_api::{
        protocol::{Task, TaskResult},
        tasks::{RestoreTask, Server},
    },
    api::{Authentication, RowDelta, SslMode, bytes_of},
    postgres::{
        matrix::Literal,
        row_set::Rows,
        server_log::{Crashes, Errors},
    },
    problem::Problem,
    run::{
        container::Container,
        facts::{CopyIdentity, CopySummary, Reading, RestoreFacts, RolesFacts, VerificationFacts},
        layout::{DUMP_DIR, POSTGRES_PORT},
    },
};
use kube::{Api, api::ListParams};
use std::collections::BTreeMap;

use super::cluster::fingerprint;
use super::{Scope, confused, read};
use crate::copy::{self, Session, baseline as kept, failed, matrix};
use crate::run::resolve;

/// How many changed catalog rows, and how many tables that moved undeclared, stand in the facts: the report must fit into etcd.
const CHANGES_SHOWN: usize = 100;

/// C-05: who the copy is, before the restore's first write; then the roles.
pub(super) async fn prepare(scope: &Scope) -> Result<CopyIdentity, Problem> {
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

/// C-05: the restore, then what the copy's own log says of it.
pub(super) async fn restore(scope: &Scope) -> Result<RestoreFacts, Problem> {
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
        // It was stopped for want of space; the copy's server may not be able to tell anything any more.
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

/// C-06 and C-07.
pub(super) async fn apply_matrix(scope: &Scope) -> Result<(RolesFacts, CopyIdentity), Problem> {
    let endpoint = scope.copy().await?;
    let maintenance = Session::maintenance(&endpoint).await?;
    let mut session = maintenance
        .restored(&endpoint, &scope.spec.source.database)
        .await?;
    let literal = literal(scope).await?;
    let facts = matrix::apply(
        &mut session,
        &maintenance,
        &declared(scope, literal.as_ref()),
        scope.dump()?,
    )
    .await?;
    Ok((facts, maintenance.identity(Reading::BeforeHarness)))
}

/// C-10: the copy before the scenarios, kept in it; then every statement is logged.
pub(super) async fn baseline(scope: &Scope) -> Result<CopySummary, Problem> {
    let endpoint = scope.copy().await?;
    let maintenance = Session::maintenance(&endpoint).await?;
    let session = maintenance
        .restored(&endpoint, &scope.spec.source.database)
        .await?;
    let counts = dryrun_postgres::counts(session.client())
        .await
        .map_err(failed)?;
    let catalog = dryrun_postgres::catalog(session.client())
        .await
        .map_err(failed)?;
    let privileges = dryrun_postgres::privileges(session.client())
        .await
        .map_err(failed)?;
    let privileges = matrix::as_rows(&privileges);
    for (kind, rows) in [
        ("counts", &counts),
        ("catalog", &catalog),
        ("privileges", &privileges),
    ] {
        kept::keep(&maintenance, kind, &rows.to_text()).await?;
    }
    copy::settings::keep(&endpoint, &maintenance).await?;
    copy::log::trace(&maintenance).await?;
    Ok(CopySummary {
        counts: counts.summary(),
        catalog: catalog.summary(),
        privileges: privileges.summary(),
    })
}

/// C-11: the copy after the scenarios, against what was kept.
pub(super) async fn verify(scope: &Scope) -> Result<VerificationFacts, Problem> {
    let endpoint = scope.copy().await?;
    let maintenance = Session::maintenance(&endpoint).await?;
    let session = maintenance
        .restored(&endpoint, &scope.spec.source.database)
        .await?;
    let before = |kind: &'static str| {
        let maintenance = &maintenance;
        async move {
            Ok::<_, Problem>(Rows::parse(&kept::kept(maintenance, kind).await?).unwrap_or_default())
        }
    };
    let (counts_before, catalog_before, privileges_before) = (
        before("counts").await?,
        before("catalog").await?,
        before("privileges").await?,
    );
    let counts = dryrun_postgres::counts(session.client())
        .await
        .map_err(failed)?;
    let catalog = dryrun_postgres::catalog(session.client())
        .await
        .map_err(failed)?;
    let literal = literal(scope).await?;
    let (difference, privileges) =
        matrix::compare_again(&session, &maintenance, &declared(scope, literal.as_ref())).await?;
    let requirements = scope.dump()?.requirements.clone().unwrap_or_default();
    let settings = copy::settings::compare(&endpoint, &maintenance, &requirements).await?;

    let changed: Vec<String> = catalog
        .differing(&catalog_before, None)
        .iter()
        .map(|identity| identity.replace('\t', " "))
        .collect();
    let now = numbers(&counts);
    let moved = moved(&numbers(&counts_before), &now);
    let tables = scope
        .spec
        .verification
        .tables
        .iter()
        .map(|table| (table.clone(), now.get(table).copied()))
        .collect();
    let mut crashes = Crashes::default();
    copy::log::entries(&maintenance, |entry| crashes.add(entry)).await?;
    let pods = scope.pods();
    let labelled = ListParams::default().labels(&scope.run.selector());
    let pods = read("PodsUnreadable", "the run's pods", pods.list(&labelled)).await?;
    Ok(VerificationFacts {
        after: CopySummary {
            counts: counts.summary(),
            catalog: catalog.summary(),
            privileges: privileges.summary(),
        },
        moved_count: moved.len() as u64,
        moved: shown(moved, &scope.spec.verification.row_deltas),
        tables,
        catalog_changed_count: changed.len() as u64,
        catalog_changed: changed.into_iter().take(CHANGES_SHOWN).collect(),
        matrix: difference,
        privileges_changed: privileges.difference(&privileges_before, None),
        pods: pods.iter().map(fingerprint).collect(),
        crashes: crashes.finish(),
        settings,
        ..VerificationFacts::default()
    })
}

/// The list of rows that the spec names, with the digest that was approved.
async fn literal(scope: &Scope) -> Result<Option<Literal>, Problem> {
    let Some(reference) = &scope.spec.privileges.matrix_ref else {
        return Ok(None);
    };
    let config_maps = Api::namespaced(scope.client.clone(), &scope.run.namespace);
    let read = resolve::matrix(&config_maps, &scope.run.namespace, reference)
        .await
        .map_err(|e| Problem::transient("ConfigMapUnreadable", e))?;
    let (bytes, _) = read?;
    let literal = Literal::read(&bytes).map_err(|error| resolve::invalid(reference, &error))?;
    Ok(Some(literal))
}

fn declared<'a>(scope: &'a Scope, literal: Option<&'a Literal>) -> matrix::Declared<'a> {
    matrix::Declared {
        spec: &scope.spec,
        literal,
        run: &scope.run,
        version_num: version(scope),
    }
}

/// The copy's version: production's, as the dump's facts have it, since both are of one major.
fn version(scope: &Scope) -> u32 {
    scope
        .facts
        .restore
        .as_ref()
        .map_or(0, |restore| restore.claim.copy.version_num)
}

fn numbers(rows: &Rows) -> BTreeMap<String, i64> {
    rows.iter()
        .filter_map(|(table, count)| Some((table.to_owned(), count.parse().ok()?)))
        .collect()
}

/// Tables whose count differs; one that is there only once counts as empty where it is not.
fn moved(before: &BTreeMap<String, i64>, now: &BTreeMap<String, i64>) -> BTreeMap<String, i64> {
    before
        .keys()
        .chain(now.keys())
        .map(|table| {
            (
                table.clone(),
                now.get(table).unwrap_or(&0) - before.get(table).unwrap_or(&0),
            )
        })
        .filter(|(_, delta)| *delta != 0)
        .collect()
}

/// Those that are declared to move, and a few others: one that is not declared is enough to fail.
fn shown(moved: BTreeMap<String, i64>, declared: &[RowDelta]) -> BTreeMap<String, i64> {
    let (mut shown, others): (BTreeMap<_, _>, BTreeMap<_, _>) = moved
        .into_iter()
        .partition(|(table, _)| declared.iter().any(|delta| delta.table == *table));
    shown.extend(others.into_iter().take(CHANGES_SHOWN));
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(tables: impl IntoIterator<Item = (usize, i64)>) -> BTreeMap<String, i64> {
        let named = |(table, count)| (format!("public.t{table:05}"), count);
        tables.into_iter().map(named).collect()
    }

    #[test]
    fn declared_tables_and_a_few_others_are_shown() {
        let moved = moved(
            &counts((0..15_000).map(|table| (table, 1))),
            &counts((1..15_001).map(|table| (table, if table == 7 { 1 } else { 3 }))),
        );
        assert_eq!(moved.len(), 15_000);
        assert_eq!(moved["public.t00000"], -1);
        assert_eq!(moved["public.t15000"], 3);
        let declared = RowDelta {
            table: "public.t14000".into(),
            delta: 2,
        };
        let shown = shown(moved, &[declared]);
        assert_eq!(shown.len(), CHANGES_SHOWN + 1);
        assert_eq!(shown["public.t14000"], 2);
        assert!(self::shown(counts([(1, 1)]), &[]).len() == 1);
    }
}
