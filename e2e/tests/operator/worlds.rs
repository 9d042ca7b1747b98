//! Further worlds that fail a gate: volumes, restores, privileges and catalogs that are not as they must be.

use anyhow::{Context, Result, ensure};
use dryrun_core::{
    api::DryRun,
    command::Command,
    facts::{DumpFacts, RestoreFacts},
};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::{Api, ResourceExt, api::PostParams};
use serde_json::{Value, json};

use crate::{
    run::{Run, condition, status},
    stage::{Stage, soon, steps},
};

/// The StorageClass of the local cluster's small file system.
const SMALL: &str = "small";

/// A run on the small file system; nothing in a cluster that has none.
async fn on_small_volume(stage: &Stage, name: &str, minimum_free: &str) -> Result<Option<Value>> {
    let classes: Api<StorageClass> = Api::all(stage.client.clone());
    if classes.get_opt(SMALL).await?.is_none() {
        stage.note(format!("{name}: skipped, no StorageClass {SMALL}"), "");
        return Ok(None);
    }
    let mut request = stage.small(name);
    request["spec"]["postgres"]["storage"] =
        json!({"size": "48Mi", "minimumFree": minimum_free, "storageClassName": SMALL});
    Ok(Some(request))
}

async fn dumped(run: &Run<'_>) -> Result<DumpFacts> {
    let facts = run.report().await?.status.unwrap_or_default().facts;
    facts.dump.context("no facts of the dump")
}

async fn restored(run: &Run<'_>) -> Result<RestoreFacts> {
    let facts = run.report().await?.status.unwrap_or_default().facts;
    facts.restore.context("no facts of the restore")
}

/// Less is free than must be: not even production is asked for anything.
pub(crate) async fn full_volume(stage: &Stage) -> Result<()> {
    let Some(request) = on_small_volume(stage, "full-volume", "128Mi").await? else {
        return Ok(());
    };
    let run = Run::begin(stage, request).await?;
    run.ends_at(
        "G-01",
        "InsufficientSpace",
        &["MiB free, 128 MiB needed before the dump"],
        Command::Dump,
    )
    .await?;
    let dump = dumped(&run).await?;
    ensure!(
        dump.identity.is_none() && dump.archive.is_none(),
        "production was read: {dump:?}"
    );
    Ok(())
}

/// There is room for the dump, and too little is left while the restore writes, since a view is larger in the copy: it is stopped before the
/// volume is full.
pub(crate) async fn volume_fills_up(stage: &Stage) -> Result<()> {
    let Some(mut request) = on_small_volume(stage, "fills-up", "16Mi").await? else {
        return Ok(());
    };
    request["spec"]["source"]["database"] = json!("swelling");
    request["spec"]["privileges"]["grants"][0]["object"] = json!("database:swelling");
    let run = Run::begin(stage, request).await?;
    run.ends_at(
        "G-01",
        "InsufficientSpace",
        &["MiB free during the restore, 16 MiB needed"],
        Command::Restore,
    )
    .await?;
    let dump = dumped(&run).await?;
    ensure!(dump.archive.is_some(), "it ended before the dump: {dump:?}");
    let claim = restored(&run).await?.claim;
    ensure!(
        claim.exit_code == -1 && claim.copy.catalog.rows == 0,
        "the restore was not stopped: {claim:?}"
    );
    Ok(())
}

/// A materialized view that cannot be filled in the copy: one error, of a statement that a spec may tolerate.
fn regional(stage: &Stage, name: &str) -> Value {
    let mut request = stage.small(name);
    request["spec"]["source"]["database"] = json!("regional");
    request["spec"]["privileges"]["grants"][0]["object"] = json!("database:regional");
    request
}

pub(crate) async fn restore_error(stage: &Stage) -> Result<()> {
    let run = Run::begin(stage, regional(stage, "restore-error")).await?;
    run.ends_at(
        "G-08",
        "RestoreErrors",
        &["1× P0001 REFRESH"],
        Command::Restore,
    )
    .await
}

/// The same error, tolerated. It has left its mark on the catalog, which no tolerance covers.
pub(crate) async fn tolerated_error(stage: &Stage) -> Result<()> {
    let mut request = regional(stage, "tolerated-error");
    request["spec"]["restore"]["tolerate"] =
        json!([{"sqlstate": "P0001", "statement": "REFRESH", "atMost": 1}]);
    let run = Run::begin(stage, request).await?;
    run.ends_at(
        "G-16",
        "CopyDiffers",
        &["filled matview public.turnover"],
        Command::Restore,
    )
    .await?;
    let ended = run.end().await?;
    let status = status(&ended);
    let clean = condition(&status, "RestoreClean")?;
    ensure!(
        clean.status == "True" && clean.message == "1 error, all tolerated",
        "RestoreClean is {clean:?}"
    );
    Ok(())
}

/// What is tolerated does not occur: the plan expects another production than there is.
pub(crate) async fn unused_tolerance(stage: &Stage) -> Result<()> {
    let mut request = regional(stage, "unused-tolerance");
    request["spec"]["restore"]["tolerate"] = json!([
        {"sqlstate": "P0001", "statement": "REFRESH", "atMost": 1},
        {"sqlstate": "42501", "statement": "COMMENT", "matching": "must be owner of extension", "atMost": 1},
    ]);
    let run = Run::begin(stage, request).await?;
    run.ends_at(
        "G-08",
        "ToleranceUnused",
        &["no 42501 COMMENT occurred"],
        Command::Restore,
    )
    .await
}

/// A table whose check looks at another table, which is restored after it: its rows are lost.
pub(crate) async fn lost_rows(stage: &Stage) -> Result<()> {
    let mut request = stage.small("lost-rows");
    request["spec"]["source"]["database"] = json!("disordered");
    request["spec"]["restore"]["jobs"] = json!(1);
    request["spec"]["privileges"]["grants"][0]["object"] = json!("database:disordered");
    let run = Run::begin(stage, request).await?;
    run.ends_at(
        "G-08",
        "RestoreErrors",
        &["1× 23514 COPY"],
        Command::Restore,
    )
    .await
}

/// What would let rows, policies or grants be missing from the copy cannot be tolerated: the request is refused.
pub(crate) async fn intolerable(stage: &Stage) -> Result<()> {
    let sentence = "this class of error can never be tolerated";
    let api: Api<DryRun> = Api::namespaced(stage.alice.clone(), crate::stage::NAMESPACE);
    for (sqlstate, statement) in [
        ("23514", "COPY"),
        ("42501", "CREATE POLICY"),
        ("42704", "GRANT"),
        ("53100", "CREATE TABLE"),
    ] {
        let mut request = stage.small("intolerable");
        request["spec"]["restore"]["tolerate"] =
            json!([{"sqlstate": sqlstate, "statement": statement, "atMost": 1}]);
        let request: DryRun = serde_json::from_value(request)?;
        // Role bindings are in force a moment after they are made.
        soon(sentence, async || {
            match api.create(&PostParams::default(), &request).await {
                Err(kube::Error::Api(refusal)) if refusal.message.contains(sentence) => Ok(Ok(())),
                Err(kube::Error::Api(refusal)) if refusal.is_forbidden() => {
                    Ok(Err(refusal.message.clone()))
                }
                Err(error) => Err(error.into()),
                Ok(made) => anyhow::bail!("{} was accepted", made.name_any()),
            }
        })
        .await?;
    }
    Ok(())
}

/// Production has a trigger that hands on whatever is granted: it fires while the matrix is applied, even where triggers are off.
pub(crate) async fn granted_by_a_trigger(stage: &Stage) -> Result<()> {
    let mut request = stage.small("granted-by-trigger");
    request["spec"]["source"]["database"] = json!("meddling");
    request["spec"]["privileges"]["grants"][0]["object"] = json!("database:meddling");
    let run = Run::begin(stage, request).await?;
    run.ends_at(
        "G-09",
        "MatrixDiffers",
        &[
            "0 missing, 1 unexpected",
            "SELECT table for keeper: public.note",
        ],
        Command::Roles,
    )
    .await
}

/// A declared role owns what the matrix does not tell of: an owner may do everything, whatever it is granted.
pub(crate) async fn forgotten_ownership(stage: &Stage) -> Result<()> {
    let mut request = stage.small("forgotten-ownership");
    request["spec"]["privileges"]["roles"]["workflow_admin"] = json!({"login": true});
    let run = Run::begin(stage, request).await?;
    run.ends_at(
        "G-09",
        "MatrixDiffers",
        &[
            "0 missing, ",
            " unexpected; OWNER ",
            " for workflow_admin: ",
        ],
        Command::Roles,
    )
    .await
}

/// Who may create in a schema may set a trap for others there: a path that must be named.
fn creates(role: &str) -> Value {
    json!({"role": role, "why": "CREATE in schema", "what": "public", "reason": "its scenario makes something there"})
}

/// A role that may create makes a table that nobody spoke of.
pub(crate) async fn undeclared_change(stage: &Stage) -> Result<()> {
    let mut request = stage.small("undeclared-change");
    let grants = &mut request["spec"]["privileges"]["grants"];
    if let Some(grants) = grants.as_array_mut() {
        grants.push(json!({"to": "keeper", "object": "schema:public", "privileges": ["CREATE"]}));
    }
    request["spec"]["privileges"]["escalationAllowed"] = json!([creates("keeper")]);
    request["spec"]["harness"]["scenarios"] =
        json!([steps("makes", "CREATE TABLE public.scratch (id integer)")]);
    let run = Run::begin(stage, request).await?;
    run.ends_at(
        "G-16",
        "UndeclaredChange",
        &["relation public.scratch"],
        Command::Verify,
    )
    .await
}

/// A migration by the owner of the tables, which declares what it changes: nothing fails.
pub(crate) async fn declared_migration(stage: &Stage) -> Result<()> {
    let mut request = stage.small("declared-migration");
    let spec = &mut request["spec"];
    spec["privileges"] = json!({
        "roles": {"workflow_admin": {
            "login": true,
            "owns": ["database:stock", "table:public.item", "sequence:public.item_id_seq", "large_object:737373"],
        }},
        "grants": [],
        "escalationAllowed": [creates("workflow_admin")],
    });
    let mut migration = steps(
        "migrates",
        "CREATE INDEX item_amount ON public.item (amount)",
    );
    migration["as"] = json!({"login": "workflow_admin"});
    spec["harness"]["scenarios"] = json!([migration]);
    spec["verification"]["catalogChanges"] =
        json!([{"kind": "index", "identity": "public.item_amount"}]);
    let run = Run::begin(stage, request).await?;
    run.ends_well(&[]).await?;
    let ended = run.end().await?;
    let status = status(&ended);
    let matches = condition(&status, "CatalogMatches")?;
    ensure!(
        matches.message.contains("1 declared change"),
        "CatalogMatches is {matches:?}"
    );
    Ok(())
}
