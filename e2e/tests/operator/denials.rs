//! Apparent denials that do not count: the copy's own log shows which login was denied, and on
//! which object.

use anyhow::{Result, ensure};
use dryrun_core::commands::Command;
use serde_json::{Value, json};

use crate::{
    environment::{Environment, steps},
    run::{Run, is},
};

/// A scenario whose last step must be denied on `item`, while all others must succeed.
fn denied(name: &str, sql: &[&str]) -> Value {
    let mut scenario = steps(name, "");
    let mut steps: Vec<Value> = sql.iter().map(|sql| json!({"sql": sql})).collect();
    if let Some(last) = steps.last_mut() {
        last["expect"] = json!({"sqlstate": "42501", "object": "public.item"});
    }
    scenario["steps"] = json!(steps);
    scenario["unpaired"] = json!(true);
    scenario
}

/// A run with this scenario, followed by one that never starts.
async fn begin<'a>(env: &'a Environment, name: &str, scenario: Value) -> Result<Run<'a>> {
    let mut request = env.small(name);
    request["spec"]["harness"]["scenarios"] =
        json!([scenario, steps("never", "SELECT FROM item LIMIT 1")]);
    Run::start(env, request).await
}

/// The run ends because its scenario has not passed, and the condition reports the missing denial.
async fn is_missing(run: &Run<'_>, reason: &str, expected: &str) -> Result<()> {
    run.ends_at("G-14", reason, &[expected], Command::Scenarios)
        .await?;
    ensure!(
        is(&run.end().await?, "DenialsProven", "False", "DenialMissing"),
        "{}",
        run.diagnostics().await
    );
    Ok(())
}

/// The statement is allowed.
pub(crate) async fn allowed_statement_fails(env: &Environment) -> Result<()> {
    let scenario = denied("allowed", &["SELECT FROM item LIMIT 1"]);
    let run = begin(env, "denial-missing", scenario).await?;
    is_missing(
        &run,
        "ScenarioFailed",
        "allowed step 1 gave 00000, not 42501",
    )
    .await
}

/// A command prints a denial without having queried the server.
pub(crate) async fn printed_denial_fails(env: &Environment) -> Result<()> {
    let scenario = json!({
        "name": "pretends", "as": {"login": "keeper"}, "unpaired": true,
        "command": ["python", "-c", "print('permission denied for table item')"],
        "expect": {"sqlstate": "42501", "object": "public.item"},
    });
    let run = begin(env, "denial-pretended", scenario).await?;
    is_missing(&run, "ErrorMissing", "pretends: no 42501 in the copy's log").await
}

/// The scenario's own code raises the error with the same text.
pub(crate) async fn forged_denial_fails(env: &Environment) -> Result<()> {
    let raise = "DO $$ BEGIN RAISE insufficient_privilege USING MESSAGE = 'permission denied for table item'; END $$";
    let run = begin(env, "denial-forged", denied("forged", &[raise])).await?;
    run.ends_at(
        "G-15",
        "DenialForged",
        &["forged: procedural code raised 42501, not the server"],
        Command::Scenarios,
    )
    .await?;
    ensure!(
        is(
            &run.end().await?,
            "ScenariosPassed",
            "Unknown",
            "NotReached"
        ),
        "{}",
        run.diagnostics().await
    );
    Ok(())
}

/// The error was raised, but a handler caught it.
pub(crate) async fn caught_denial_fails(env: &Environment) -> Result<()> {
    let catch =
        "DO $$ BEGIN DELETE FROM item; EXCEPTION WHEN insufficient_privilege THEN NULL; END $$";
    let run = begin(env, "denial-caught", denied("caught", &[catch])).await?;
    is_missing(
        &run,
        "ScenarioFailed",
        "caught step 1 gave 00000, not 42501",
    )
    .await
}

/// The server denied a different object.
pub(crate) async fn denial_on_another_object_fails(env: &Environment) -> Result<()> {
    let scenario = denied("elsewhere", &["SELECT FROM pg_authid"]);
    let run = begin(env, "denial-elsewhere", scenario).await?;
    run.ends_at(
        "G-15",
        "WrongObject",
        &["elsewhere: the denial is not about item"],
        Command::Scenarios,
    )
    .await
}

/// 25006: an error of a read-only transaction, not of a missing privilege.
pub(crate) async fn read_only_error_fails(env: &Environment) -> Result<()> {
    let sql = ["SET default_transaction_read_only = on", "DELETE FROM item"];
    let run = begin(env, "denial-read-only", denied("reads-only", &sql)).await?;
    is_missing(
        &run,
        "ScenarioFailed",
        "reads-only step 2 gave 25006, not 42501",
    )
    .await
}

/// 42P01: a misspelt table.
pub(crate) async fn unknown_table_error_fails(env: &Environment) -> Result<()> {
    let run = begin(
        env,
        "denial-misspelt",
        denied("misspelt", &["DELETE FROM itme"]),
    )
    .await?;
    is_missing(
        &run,
        "ScenarioFailed",
        "misspelt step 1 gave 42P01, not 42501",
    )
    .await
}

/// The twin, which shows that the statement is valid, is denied as well, so the denial proves
/// nothing.
pub(crate) async fn denied_twin_fails(env: &Environment) -> Result<()> {
    let mut request = env.small("denial-twins");
    let mut second = denied("second", &["DELETE FROM item"]);
    second["twin"] = json!("first");
    second["unpaired"] = Value::Null;
    request["spec"]["harness"]["scenarios"] = json!([
        denied("first", &["DELETE FROM item"]),
        second,
        steps("never", "SELECT FROM item LIMIT 1"),
    ]);
    let run = Run::start(env, request).await?;
    run.ends_at(
        "G-15",
        "TwinFailed",
        &["second is denied, but its twin first has not passed"],
        Command::Scenarios,
    )
    .await
}

/// A scenario keeps its password for a later one with another login.
pub(crate) async fn login_of_an_earlier_scenario_fails(env: &Environment) -> Result<()> {
    let keeps = "cp \"$PGPASSFILE\" /evidence/harness/kept";
    let borrows = "import os, psycopg; os.environ.update(PGPASSFILE='/evidence/harness/kept', PGUSER='keeper')\ntry: psycopg.connect().execute('DELETE FROM item')\nexcept psycopg.Error as e: print(e)";
    let mut request = env.small("denial-borrowed");
    request["spec"]["harness"]["scenarios"] = json!([
        {"name": "keeps", "as": {"login": "keeper"}, "command": ["sh", "-c", keeps], "expect": {"noSession": true}},
        {"name": "borrows", "as": {"login": "reader"}, "command": ["python", "-c", borrows]},
        steps("never", "SELECT FROM item LIMIT 1"),
    ]);
    let run = Run::start(env, request).await?;
    run.ends_at(
        "G-14",
        "ForeignLogin",
        &["borrows: 1× 28P01 by keeper"],
        Command::Scenarios,
    )
    .await
}

/// The server denies SET ROLE, with another message than it has for objects.
pub(crate) async fn denied_role_passes(env: &Environment) -> Result<()> {
    let mut request = env.small("denial-role");
    let mut scenario = denied("becomes", &["SET ROLE workflow_admin"]);
    scenario["steps"][0]["expect"]["object"] = json!("role:workflow_admin");
    request["spec"]["harness"]["scenarios"] = json!([scenario]);
    let run = Run::start(env, request).await?;
    run.ends_passed(&[]).await
}

/// A command ends well without a session.
pub(crate) async fn idle_command_fails(env: &Environment) -> Result<()> {
    let mut request = env.small("nothing-done");
    request["spec"]["harness"]["scenarios"] = json!([
        {"name": "idles", "as": {"login": "keeper"}, "command": ["true"]},
        steps("never", "SELECT FROM item LIMIT 1"),
    ]);
    let run = Run::start(env, request).await?;
    run.ends_at(
        "G-14",
        "NothingDone",
        &["idles opened no session as keeper"],
        Command::Scenarios,
    )
    .await
}

/// The files of a scenario are gone before the next, those of setup are not.
pub(crate) async fn scratch_is_reset_between_scenarios(env: &Environment) -> Result<()> {
    let command = |name: &str, script: &str| json!({"name": name, "as": {"login": "keeper"}, "command": ["sh", "-c", script], "expect": {"noSession": true}});
    let mut request = env.small("fresh-scratch");
    let harness = &mut request["spec"]["harness"];
    harness["setup"] = json!([{"command": ["sh", "-c", "echo 1 > /scratch/left-by-setup"]}]);
    harness["scenarios"] = json!([
        command("leaves", "touch /scratch/x /tmp/x /dev/shm/x"),
        command(
            "finds",
            "cat /scratch/left-by-setup && test ! -e /scratch/x -a ! -e /tmp/x -a ! -e /dev/shm/x"
        ),
    ]);
    let run = Run::start(env, request.clone()).await?;
    run.ends_passed(&[]).await?;
    request["metadata"]["name"] = json!("kept-scratch");
    request["spec"]["harness"]["keepScratch"] = json!(true);
    let run = Run::start(env, request).await?;
    run.ends_at(
        "G-14",
        "ScenarioFailed",
        &["finds ended with exit code 1, not 0"],
        Command::Scenarios,
    )
    .await
}
