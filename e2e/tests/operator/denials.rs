//! What looks like a denial and is none: the copy's own log knows who raised it, and on what.

use anyhow::{Result, ensure};
use dryrun_core::commands::Command;
use serde_json::{Value, json};

use crate::{
    environment::{Stage, steps},
    run::{Run, is},
};

/// A scenario whose steps run as they are, but for the last, which must be denied on `item`.
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

/// A run with this scenario, and one after it that never begins.
async fn begin<'a>(stage: &'a Stage, name: &str, scenario: Value) -> Result<Run<'a>> {
    let mut request = stage.small(name);
    request["spec"]["harness"]["scenarios"] =
        json!([scenario, steps("never", "SELECT FROM item LIMIT 1")]);
    Run::begin(stage, request).await
}

/// The run ends because its scenario has not passed, and the denial is told to be missing.
async fn is_missing(run: &Run<'_>, reason: &str, told: &str) -> Result<()> {
    run.ends_at("G-14", reason, &[told], Command::Scenarios)
        .await?;
    ensure!(
        is(&run.end().await?, "DenialsProven", "False", "DenialMissing"),
        "{}",
        run.story().await
    );
    Ok(())
}

/// The statement is allowed.
pub(crate) async fn missing(stage: &Stage) -> Result<()> {
    let scenario = denied("allowed", &["SELECT FROM item LIMIT 1"]);
    let run = begin(stage, "denial-missing", scenario).await?;
    is_missing(
        &run,
        "ScenarioFailed",
        "allowed step 1 gave 00000, not 42501",
    )
    .await
}

/// A command says that it was denied, and has not even asked.
pub(crate) async fn missing_in_a_command(stage: &Stage) -> Result<()> {
    let scenario = json!({
        "name": "pretends", "as": {"login": "keeper"}, "unpaired": true,
        "command": ["python", "-c", "print('permission denied for table item')"],
        "expect": {"sqlstate": "42501", "object": "public.item"},
    });
    let run = begin(stage, "denial-pretended", scenario).await?;
    is_missing(&run, "ErrorMissing", "pretends: no 42501 in the copy's log").await
}

/// Code of the scenario's own raises it, word for word.
pub(crate) async fn forged(stage: &Stage) -> Result<()> {
    let raise = "DO $$ BEGIN RAISE insufficient_privilege USING MESSAGE = 'permission denied for table item'; END $$";
    let run = begin(stage, "denial-forged", denied("forged", &[raise])).await?;
    run.ends_at(
        "G-15",
        "DenialForged",
        &["forged: 42501 was not raised by an access check of the server"],
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
        run.story().await
    );
    Ok(())
}

/// It was raised, and never left the block that caught it.
pub(crate) async fn caught(stage: &Stage) -> Result<()> {
    let catch =
        "DO $$ BEGIN DELETE FROM item; EXCEPTION WHEN insufficient_privilege THEN NULL; END $$";
    let run = begin(stage, "denial-caught", denied("caught", &[catch])).await?;
    is_missing(
        &run,
        "ScenarioFailed",
        "caught step 1 gave 00000, not 42501",
    )
    .await
}

/// The server denied something else.
pub(crate) async fn on_another_object(stage: &Stage) -> Result<()> {
    let scenario = denied("elsewhere", &["SELECT FROM pg_authid"]);
    let run = begin(stage, "denial-elsewhere", scenario).await?;
    run.ends_at(
        "G-15",
        "WrongObject",
        &["elsewhere: the denial is not about item"],
        Command::Scenarios,
    )
    .await
}

/// 25006: whoever reads only is not denied for want of a right.
pub(crate) async fn of_a_read_only_transaction(stage: &Stage) -> Result<()> {
    let sql = ["SET default_transaction_read_only = on", "DELETE FROM item"];
    let run = begin(stage, "denial-read-only", denied("reads-only", &sql)).await?;
    is_missing(
        &run,
        "ScenarioFailed",
        "reads-only step 2 gave 25006, not 42501",
    )
    .await
}

/// 42P01: a name with a slip of the pen.
pub(crate) async fn of_a_table_that_is_not_there(stage: &Stage) -> Result<()> {
    let run = begin(
        stage,
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

/// Its twin, which shows that the statement is a good one, is denied as well: so it may not be.
pub(crate) async fn twin_is_denied_too(stage: &Stage) -> Result<()> {
    let mut request = stage.small("denial-twins");
    let mut second = denied("second", &["DELETE FROM item"]);
    second["twin"] = json!("first");
    second["unpaired"] = Value::Null;
    request["spec"]["harness"]["scenarios"] = json!([
        denied("first", &["DELETE FROM item"]),
        second,
        steps("never", "SELECT FROM item LIMIT 1"),
    ]);
    let run = Run::begin(stage, request).await?;
    run.ends_at(
        "G-15",
        "TwinFailed",
        &["second is denied, but its twin first has not passed"],
        Command::Scenarios,
    )
    .await
}
