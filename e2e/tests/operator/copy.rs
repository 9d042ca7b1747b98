//! Further worlds that fail a gate: volumes, restores, privileges and catalogs that are not as they must be.

use anyhow::{Context, Result, ensure};
use dryrun_core::{
    api::DryRun,
    commands::Command,
    digest,
    run::facts::{DumpFacts, RestoreFacts},
};
use k8s_openapi::api::{core::v1::ConfigMap, storage::v1::StorageClass};
use kube::{Api, ResourceExt, api::PostParams};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    environment::{NAMESPACE, Stage, soon, steps},
    run::{Run, condition, status},
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
    // Where it is noticed is a matter of moments; nothing is compared that is not whole.
    ensure!(
        claim.copy.catalog.rows == 0,
        "the restore was not stopped: {claim:?}"
    );
    Ok(())
}

/// A materialized view that cannot be filled in the copy: one error, of a statement that a spec may tolerate.
fn regional(stage: &Stage, name: &str) -> Value {
    let mut request = stage.small(name);
    request["spec"]["source"]["database"] = json!("regional");
    let grants = &mut request["spec"]["privileges"]["grants"];
    grants[0]["object"] = json!("database:regional");
    if let Some(grants) = grants.as_array_mut() {
        grants.push(
            json!({"to": "public", "object": "function:public.region()", "privileges": ["EXECUTE"]}),
        );
    }
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
    let api: Api<DryRun> = Api::namespaced(stage.alice.clone(), crate::environment::NAMESPACE);
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

/// A role may create in a schema: declared as a row, and yet a way to more that nobody has allowed.
pub(crate) async fn escalation_path(stage: &Stage) -> Result<()> {
    let run = Run::begin(stage, creating(stage, "escalation-path")).await?;
    run.ends_at(
        "G-09",
        "EscalationPath",
        &["keeper: CREATE in schema: public"],
        Command::Roles,
    )
    .await
}

/// A run whose keeper may create tables.
fn creating(stage: &Stage, name: &str) -> Value {
    let mut request = stage.small(name);
    let grants = &mut request["spec"]["privileges"]["grants"];
    if let Some(grants) = grants.as_array_mut() {
        grants.push(json!({"to": "keeper", "object": "schema:public", "privileges": ["CREATE"]}));
    }
    request
}

/// An escalation path that is meant to be there.
fn allowed(role: &str, why: &str, what: &str) -> Value {
    json!([{"role": role, "why": why, "what": what, "reason": "this case needs it"}])
}

/// A scenario changes a setting of the server, with effect only after a reload: no privilege and no definition shows it.
pub(crate) async fn changed_setting(stage: &Stage) -> Result<()> {
    let mut request = stage.small("changed-setting");
    let privileges = &mut request["spec"]["privileges"];
    if let Some(grants) = privileges["grants"].as_array_mut() {
        grants.push(
            json!({"to": "keeper", "object": "parameter:work_mem", "privileges": ["ALTER_SYSTEM"]}),
        );
    }
    privileges["escalationAllowed"] =
        allowed("keeper", "SET/ALTER SYSTEM on parameter", "work_mem");
    // Not a SQL step: those run in transactions, and ALTER SYSTEM does not.
    let code = "import psycopg; psycopg.connect(autocommit=True).execute(\"ALTER SYSTEM SET work_mem = '8MB'\")";
    request["spec"]["harness"]["scenarios"] =
        json!([{"name": "sets", "as": {"login": "keeper"}, "command": ["python", "-c", code]}]);
    let run = Run::begin(stage, request).await?;
    run.ends_at("G-18", "SettingsDiffer", &["work_mem"], Command::Verify)
        .await
}

/// The rows of the matrix stand in a ConfigMap, as they were frozen.
pub(crate) async fn literal_matrix(stage: &Stage) -> Result<()> {
    let (name, key) = ("frozen-matrix", "rows.tsv");
    let rows = [
        "database\tstock\tkeeper\tCONNECT\tfalse\t+",
        "table\tpublic.item\tkeeper\tINSERT\tfalse\t+",
        "table\tpublic.item\tkeeper\tSELECT\tfalse\t+",
    ];
    let text = rows.map(|row| format!("{row}\n")).concat();
    let maps: Api<ConfigMap> = Api::namespaced(stage.client.clone(), NAMESPACE);
    let map = serde_json::from_value(json!({"metadata": {"name": name}, "data": {key: text}}))?;
    maps.create(&PostParams::default(), &map).await?;
    let mut request = stage.small("literal-matrix");
    request["spec"]["privileges"] = json!({
        "roles": {"keeper": {"login": true}},
        "matrixRef": {"configMapRef": {"name": name, "key": key}, "sha256": digest::hex(&Sha256::digest(&text))},
    });
    let run = Run::begin(stage, request.clone()).await?;
    run.ends_well(&[]).await?;

    // Another list than the pinned one is told before anybody could approve it.
    request["metadata"]["name"] = json!("literal-matrix-changed");
    request["spec"]["privileges"]["matrixRef"]["sha256"] = json!("0".repeat(64));
    let run = Run::ask(stage, request).await?;
    run.until("the digest is refused", |run| {
        crate::run::is(run, "Approved", "Unknown", "MatrixDigestMismatch")
    })
    .await
    .map(drop)
}

/// Everybody may overwrite a table that the matrix does not name: the run ends before a scenario could.
pub(crate) async fn rights_through_public(stage: &Stage) -> Result<()> {
    let mut request = stage.small("rights-through-public");
    request["spec"]["source"]["database"] = json!("generous");
    request["spec"]["privileges"]["grants"][0]["object"] = json!("database:generous");
    request["spec"]["harness"]["scenarios"] =
        json!([steps("steals", "UPDATE public.salary SET amount = 0")]);
    let run = Run::begin(stage, request).await?;
    run.ends_at(
        "G-09",
        "EscalationPath",
        &["through PUBLIC: UPDATE on table:public.salary"],
        Command::Roles,
    )
    .await
}

/// A role that may create makes a table that nobody spoke of.
pub(crate) async fn undeclared_change(stage: &Stage) -> Result<()> {
    let mut request = creating(stage, "undeclared-change");
    request["spec"]["privileges"]["escalationAllowed"] =
        allowed("keeper", "CREATE in schema", "public");
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
        "escalationAllowed": [
            {"role": "workflow_admin", "why": "CREATE in schema", "what": "public", "reason": "it migrates"},
            {"role": "workflow_admin", "why": "predefined role", "what": "pg_database_owner", "reason": "it owns the database"},
        ],
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
