//! `kubectl delete` during every phase: nothing is left and nothing hangs. The figures show each
//! duration.

use std::time::Instant;

use anyhow::{Result, bail, ensure};
use dryrun_core::{
    api::{DryRunReport, Outcome},
    commands::Command,
    run::id,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::DeleteParams};
use serde_json::{Value, json};

use crate::{
    audit,
    environment::{DOOMED, Environment, eventually, steps},
    run::{Run, condition, is, status},
    waiting,
};

pub(crate) async fn before_approval_leaves_nothing(env: &Environment) -> Result<()> {
    let run = Run::request(env, env.small("deleted-early")).await?;
    run.until("it waits for approval", |run| {
        is(run, "Approved", "Unknown", "AwaitingApproval")
    })
    .await?;
    delete(&run, "waiting for approval").await?;
    waiting::never_began(&run).await
}

/// The dump waits for a lock of another session.
pub(crate) async fn during_dump_leaves_nothing(env: &Environment) -> Result<()> {
    const DATABASE: &str = "held";
    let mut request = env.small("deleted-dumping");
    request["spec"]["source"]["database"] = json!(DATABASE);
    request["spec"]["source"]["dump"]["lockTimeout"] = json!("2m");
    let deleted = async {
        env.wait_for_query(DATABASE, include_str!("sql/locked.sql"), "t")
            .await?;
        let run = Run::start(env, request).await?;
        run.at(Command::Dump).await?;
        env.wait_for_query(DATABASE, include_str!("sql/waiting.sql"), "t")
            .await?;
        delete(&run, "during the dump").await?;
        run_is_over(&run, Command::Dump).await
    };
    let deleted = tokio::select! {
        deleted = deleted => deleted,
        held = env.fixture.query(DATABASE, include_str!("sql/lock.sql")) => bail!("the lock was released: {held:?}"),
    };
    env.fixture
        .query(DATABASE, include_str!("sql/unlock.sql"))
        .await?;
    deleted
}

/// A materialized view takes long to be filled.
pub(crate) async fn during_restore_leaves_nothing(env: &Environment) -> Result<()> {
    let mut request = env.small("deleted-restoring");
    request["spec"]["source"]["database"] = json!("napping");
    let run = Run::start(env, request).await?;
    run.at(Command::Restore).await?;
    // Once the copy is identified, only the restore remains of the command.
    run.reported("the copy was identified", |report| {
        report
            .status
            .as_ref()
            .is_some_and(|s| !s.facts.copy_identity.is_empty())
    })
    .await?;
    delete(&run, "during the restore").await?;
    run_is_over(&run, Command::Restore).await
}

pub(crate) async fn during_scenario_leaves_nothing(env: &Environment) -> Result<()> {
    let run = Run::start(env, sleeping(env, "deleted-rehearsing")).await?;
    asleep(&run).await?;
    delete(&run, "in mid-scenario").await?;
    run_is_over(&run, Command::Scenarios).await
}

pub(crate) async fn during_teardown_leaves_nothing(env: &Environment) -> Result<()> {
    let run = Run::start(env, env.small("deleted-ending")).await?;
    run.at(Command::Teardown).await?;
    delete(&run, "during teardown").await?;
    run_is_over(&run, Command::Evidence).await
}

/// The report records that the approval was used: without it the run neither continues nor starts
/// again.
pub(crate) async fn deleted_report_ends_the_run(env: &Environment) -> Result<()> {
    let run = Run::start(env, sleeping(env, "unreported")).await?;
    asleep(&run).await?;
    let reports: Api<DryRunReport> = Api::namespaced(env.client.clone(), &run.namespace);
    let report = id::report(&run.name, &run.uid);
    reports.delete(&report, &DeleteParams::default()).await?;
    let ended = run.end().await?;
    let status = status(&ended);
    let succeeded = condition(&status, "Succeeded")?;
    ensure!(
        status.outcome == Some(Outcome::Inconclusive)
            && succeeded.message.contains("ReportDeleted")
            && succeeded.message.contains(&report),
        "{}",
        run.diagnostics().await
    );
    ensure!(
        reports.get_opt(&report).await?.is_none(),
        "there is a report"
    );
    if let Some(log) = env.audit_log() {
        let writes = audit::writes(&log, &run.namespace, &run.name, env.since)?;
        let begins = writes
            .iter()
            .filter(|write| write.verb == "create" && write.resource == "dryrunreports");
        ensure!(begins.count() == 1, "{}", audit::summary(&writes));
    }
    run.left_nothing().await
}

/// The namespace is deleted with everything in it: the run's pods first, and the report too.
pub(crate) async fn with_its_namespace_leaves_nothing(env: &Environment) -> Result<()> {
    let mut request = sleeping(env, "deleted-wholly");
    request["metadata"]["namespace"] = json!(DOOMED);
    let run = Run::start(env, request).await?;
    asleep(&run).await?;
    let started = Instant::now();
    let gone = env
        .fixture
        .administrator
        .run(&["delete", "namespace", DOOMED, "--timeout=120s"])
        .await;
    if let Err(error) = gone {
        return Err(error.context(format!(
            "the namespace is not deleted; the run is\n{}",
            run.diagnostics().await
        )));
    }
    env.note(
        "deleted with its namespace, in mid-scenario: gone after",
        seconds(started),
    );
    let namespaces: Api<Namespace> = Api::all(env.client.clone());
    ensure!(
        namespaces.get_opt(DOOMED).await?.is_none(),
        "the namespace still exists"
    );
    // The provisioner removes volumes some time after their claims.
    eventually("the volumes are gone", async || {
        Ok(run.is_gone().await.map_err(|error| error.to_string()))
    })
    .await
}

/// The second scenario sleeps.
fn sleeping(env: &Environment, name: &str) -> Value {
    let mut request = env.small(name);
    request["spec"]["harness"]["scenarios"] = json!([
        steps("reads", "SELECT FROM item LIMIT 1"),
        steps("sleeps", "SELECT pg_sleep(600)")
    ]);
    request
}

/// Waits until the first scenario has ended.
async fn asleep(run: &Run<'_>) -> Result<()> {
    run.at(Command::Scenarios).await?;
    run.reported("the first scenario is over", |report| {
        report
            .status
            .as_ref()
            .is_some_and(|s| s.facts.scenarios.len() == 1)
    })
    .await
}

/// Deletes the run as alice, and waits for its removal.
async fn delete(run: &Run<'_>, moment: &str) -> Result<()> {
    let started = Instant::now();
    let arguments = [
        "delete",
        "dryrun",
        &run.name,
        "--namespace",
        &run.namespace,
        "--timeout=120s",
    ];
    if let Err(error) = run.env.kubectl.run(&arguments).await {
        return Err(error.context(format!(
            "it is not deleted; the run is\n{}",
            run.diagnostics().await
        )));
    }
    run.env
        .note(format!("deleted {moment}: gone after"), seconds(started));
    Ok(())
}

fn seconds(since: Instant) -> String {
    format!("{:.1} s", since.elapsed().as_secs_f64())
}

/// The report has the outcome, no command started after `last`, and nothing is left.
async fn run_is_over(run: &Run<'_>, last: Command) -> Result<()> {
    let report = run.report().await?.status.unwrap_or_default();
    let began: Vec<_> = report.facts.began.keys().cloned().collect();
    ensure!(
        report.outcome.is_some() && report.finished_at.is_some(),
        "the report does not say how it ended; began {began:?}"
    );
    ensure!(
        began
            .iter()
            .all(|command| *command <= last || *command == Command::Teardown),
        "deleted in {}, but started {began:?}",
        last.id()
    );
    let teardown = report.facts.teardown.unwrap_or_default();
    ensure!(teardown.proven, "NetZero was not proven: {teardown:?}");
    run.is_gone().await
}
