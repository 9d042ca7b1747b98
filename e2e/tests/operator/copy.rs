//! Gates on the copy: volumes, restores, privileges and catalogs.

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
    environment::{Environment, NAMESPACE, eventually, steps},
    evidence,
    run::{Run, condition, status},
};

/// The StorageClass of the local cluster's small file system.
const SMALL: &str = "small";

/// A run on the small file system; none in a cluster that has none.
async fn on_small_volume(
    env: &Environment,
    name: &str,
    minimum_free: &str,
) -> Result<Option<Value>> {
    let classes: Api<StorageClass> = Api::all(env.client.clone());
    if classes.get_opt(SMALL).await?.is_none() {
        env.note(format!("{name}: skipped, no StorageClass {SMALL}"), "");
        return Ok(None);
    }
    let mut request = env.small(name);
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

/// Too little free space before the dump: production is not queried.
pub(crate) async fn missing_space_prevents_the_dump(env: &Environment) -> Result<()> {
    let Some(request) = on_small_volume(env, "full-volume", "128Mi").await? else {
        return Ok(());
    };
    let run = Run::start(env, request).await?;
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

/// Enough space for the dump, but too little while the restore writes, since a view is larger in
/// the copy: the restore is stopped before the volume is full.
pub(crate) async fn restore_stops_before_volume_is_full(env: &Environment) -> Result<()> {
    let Some(mut request) = on_small_volume(env, "fills-up", "16Mi").await? else {
        return Ok(());
    };
    request["spec"]["source"]["database"] = json!("swelling");
    request["spec"]["privileges"]["grants"][0]["object"] = json!("database:swelling");
    let run = Run::start(env, request).await?;
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
    // The moment of detection varies; an incomplete copy is never compared.
    ensure!(
        claim.copy.catalog.rows == 0,
        "the restore was not stopped: {claim:?}"
    );
    Ok(())
}

/// A materialized view that cannot be filled in the copy: one error, of a kind that a spec may
/// tolerate.
fn regional(env: &Environment, name: &str) -> Value {
    let mut request = env.small(name);
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

pub(crate) async fn restore_error_fails(env: &Environment) -> Result<()> {
    let run = Run::start(env, regional(env, "restore-error")).await?;
    run.ends_at(
        "G-08",
        "RestoreErrors",
        &["1× P0001 REFRESH; failed: MATERIALIZED VIEW DATA public turnover"],
        Command::Restore,
    )
    .await
}

/// The same error, tolerated: both gates name what is missing.
pub(crate) async fn tolerated_error_passes(env: &Environment) -> Result<()> {
    let mut request = regional(env, "tolerated-error");
    request["spec"]["restore"]["tolerate"] =
        json!([{"sqlstate": "P0001", "statement": "REFRESH", "atMost": 1}]);
    let run = Run::start(env, request).await?;
    run.ends_passed(&[]).await?;
    let ended = run.end().await?;
    let status = status(&ended);
    for (gate, said) in [
        (
            "RestoreClean",
            "1 error, all tolerated; failed: MATERIALIZED VIEW DATA public turnover",
        ),
        (
            "CatalogMatches",
            "tolerated: filled matview public.turnover",
        ),
    ] {
        let gate = condition(&status, gate)?;
        ensure!(gate.message.contains(said), "it is {gate:?}");
    }
    Ok(())
}

/// The tolerated error does not occur: the plan was made for a different production.
pub(crate) async fn unused_tolerance_fails(env: &Environment) -> Result<()> {
    let mut request = regional(env, "unused-tolerance");
    request["spec"]["restore"]["tolerate"] = json!([
        {"sqlstate": "P0001", "statement": "REFRESH", "atMost": 1},
        {"sqlstate": "42501", "statement": "COMMENT", "matching": "must be owner of extension", "atMost": 1},
    ]);
    let run = Run::start(env, request).await?;
    run.ends_at(
        "G-08",
        "ToleranceUnused",
        &["no 42501 COMMENT occurred"],
        Command::Restore,
    )
    .await
}

/// A table whose check constraint reads a table that is restored later: its rows are lost.
pub(crate) async fn lost_rows_fail(env: &Environment) -> Result<()> {
    let mut request = env.small("lost-rows");
    request["spec"]["source"]["database"] = json!("disordered");
    request["spec"]["restore"]["jobs"] = json!(1);
    request["spec"]["privileges"]["grants"][0]["object"] = json!("database:disordered");
    let run = Run::start(env, request).await?;
    run.ends_at(
        "G-08",
        "RestoreErrors",
        &["1× 23514 COPY"],
        Command::Restore,
    )
    .await
}

/// Errors that would leave rows, policies or grants out of the copy cannot be tolerated: the
/// request is refused.
pub(crate) async fn intolerable_errors_are_refused(env: &Environment) -> Result<()> {
    let sentence = "this class of error can never be tolerated";
    let api: Api<DryRun> = Api::namespaced(env.alice.clone(), crate::environment::NAMESPACE);
    for (sqlstate, statement) in [
        ("23514", "COPY"),
        ("42501", "CREATE POLICY"),
        ("42704", "GRANT"),
        ("53100", "CREATE TABLE"),
    ] {
        let mut request = env.small("intolerable");
        request["spec"]["restore"]["tolerate"] =
            json!([{"sqlstate": sqlstate, "statement": statement, "atMost": 1}]);
        let request: DryRun = serde_json::from_value(request)?;
        // A new role binding takes a moment to become effective.
        eventually(sentence, async || {
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

/// An event trigger of production grants further privileges: it fires while the matrix is applied,
/// even where triggers are disabled.
pub(crate) async fn grant_by_event_trigger_fails(env: &Environment) -> Result<()> {
    let mut request = env.small("granted-by-trigger");
    request["spec"]["source"]["database"] = json!("meddling");
    request["spec"]["privileges"]["grants"][0]["object"] = json!("database:meddling");
    let run = Run::start(env, request).await?;
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

/// A declared role owns an object that the matrix does not mention: an owner has all privileges
/// without grants.
pub(crate) async fn undeclared_ownership_fails(env: &Environment) -> Result<()> {
    let mut request = env.small("forgotten-ownership");
    request["spec"]["privileges"]["roles"]["workflow_admin"] = json!({"login": true});
    let run = Run::start(env, request).await?;
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

/// A role may create in a schema: declared as a grant, but also an escalation path that the spec
/// does not allow.
pub(crate) async fn undeclared_escalation_path_fails(env: &Environment) -> Result<()> {
    let run = Run::start(env, creating(env, "escalation-path")).await?;
    run.ends_at(
        "G-09",
        "EscalationPath",
        &["keeper: CREATE in schema: public"],
        Command::Roles,
    )
    .await
}

/// A run whose keeper may create tables.
fn creating(env: &Environment, name: &str) -> Value {
    let mut request = env.small(name);
    let grants = &mut request["spec"]["privileges"]["grants"];
    if let Some(grants) = grants.as_array_mut() {
        grants.push(json!({"to": "keeper", "object": "schema:public", "privileges": ["CREATE"]}));
    }
    request
}

/// An allowed escalation path.
fn allowed(role: &str, why: &str, what: &str) -> Value {
    json!([{"role": role, "why": why, "what": what, "reason": "this case needs it"}])
}

/// A scenario changes a server setting that takes effect on reload: neither privileges nor
/// definitions show it.
pub(crate) async fn changed_setting_fails(env: &Environment) -> Result<()> {
    let mut request = env.small("changed-setting");
    let privileges = &mut request["spec"]["privileges"];
    if let Some(grants) = privileges["grants"].as_array_mut() {
        grants.push(
            json!({"to": "keeper", "object": "parameter:work_mem", "privileges": ["ALTER_SYSTEM"]}),
        );
    }
    privileges["escalationAllowed"] =
        allowed("keeper", "SET/ALTER SYSTEM on parameter", "work_mem");
    // Not a SQL step: those run in transactions, which ALTER SYSTEM refuses.
    let code = "import psycopg; psycopg.connect(autocommit=True).execute(\"ALTER SYSTEM SET work_mem = '8MB'\")";
    request["spec"]["harness"]["scenarios"] =
        json!([{"name": "sets", "as": {"login": "keeper"}, "command": ["python", "-c", code]}]);
    let run = Run::start(env, request).await?;
    run.ends_at("G-18", "SettingsDiffer", &["work_mem"], Command::Verify)
        .await
}

/// The rows of the matrix come from a frozen ConfigMap.
pub(crate) async fn literal_matrix_passes(env: &Environment) -> Result<()> {
    let (name, key) = ("frozen-matrix", "rows.tsv");
    let rows = [
        "database\tstock\tkeeper\tCONNECT\tfalse\t+",
        "table\tpublic.item\tkeeper\tINSERT\tfalse\t+",
        "table\tpublic.item\tkeeper\tSELECT\tfalse\t+",
    ];
    let text = rows.map(|row| format!("{row}\n")).concat();
    let maps: Api<ConfigMap> = Api::namespaced(env.client.clone(), NAMESPACE);
    let map = serde_json::from_value(json!({"metadata": {"name": name}, "data": {key: text}}))?;
    maps.create(&PostParams::default(), &map).await?;
    let mut request = env.small("literal-matrix");
    request["spec"]["privileges"] = json!({
        "roles": {"keeper": {"login": true}},
        "matrixRef": {"configMapRef": {"name": name, "key": key}, "sha256": digest::hex(&Sha256::digest(&text))},
    });
    let run = Run::start(env, request.clone()).await?;
    run.ends_passed(&[]).await?;

    // A list other than the pinned one is reported before approval.
    request["metadata"]["name"] = json!("literal-matrix-changed");
    request["spec"]["privileges"]["matrixRef"]["sha256"] = json!("0".repeat(64));
    let run = Run::request(env, request).await?;
    run.until("the digest is refused", |run| {
        crate::run::is(run, "Approved", "Unknown", "MatrixDigestMismatch")
    })
    .await
    .map(drop)
}

/// Everybody may overwrite a table that the matrix does not name: the run ends before a scenario could.
pub(crate) async fn privileges_through_public_fail(env: &Environment) -> Result<()> {
    let mut request = env.small("rights-through-public");
    request["spec"]["source"]["database"] = json!("generous");
    request["spec"]["privileges"]["grants"][0]["object"] = json!("database:generous");
    request["spec"]["harness"]["scenarios"] =
        json!([steps("steals", "UPDATE public.salary SET amount = 0")]);
    let run = Run::start(env, request).await?;
    run.ends_at(
        "G-09",
        "EscalationPath",
        &["through PUBLIC: UPDATE on table:public.salary"],
        Command::Roles,
    )
    .await
}

/// A role with CREATE makes an undeclared table.
pub(crate) async fn undeclared_change_fails(env: &Environment) -> Result<()> {
    let request = making(env, "undeclared-change");
    let run = Run::start(env, request).await?;
    run.ends_at(
        "G-16",
        "UndeclaredChange",
        &["1 of 1 changed object not declared: relation public.scratch"],
        Command::Verify,
    )
    .await
}

/// A migration by the tables' owner declares its changes: all gates pass.
pub(crate) async fn declared_migration_passes(env: &Environment) -> Result<()> {
    let mut request = env.small("declared-migration");
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
        json!({"objects": [{"kind": "index", "identity": "public.item_amount"}]});
    let run = Run::start(env, request).await?;
    run.ends_passed(&[]).await?;
    let ended = run.end().await?;
    let status = status(&ended);
    let matches = condition(&status, "CatalogMatches")?;
    ensure!(
        matches.message.contains("1 declared change"),
        "CatalogMatches is {matches:?}"
    );
    Ok(())
}

/// A migration that only makes a table: its owner is a change of privileges, and is declared like the table.
pub(crate) async fn declared_table_passes(env: &Environment) -> Result<()> {
    let mut request = making(env, "declared-table");
    request["spec"]["verification"]["catalogChanges"] = json!({"objects": [
        {"kind": "relation", "identity": "public.scratch"},
        {"kind": "privilege", "identity": "OWNER on table:public.* to keeper", "expectObjects": 1},
    ]});
    let run = Run::start(env, request).await?;
    run.ends_passed(&[]).await?;
    let ended = run.end().await?;
    let status = status(&ended);
    for gate in ["CatalogMatches", "PrivilegesHeld"] {
        let gate = condition(&status, gate)?;
        ensure!(gate.message.contains("1 declared change"), "it is {gate:?}");
    }
    Ok(())
}

/// A first run records what a migration changes; a second one, in which the digest of that is pinned, passes; one that does something else does not.
pub(crate) async fn pinned_changes_pass(env: &Environment) -> Result<()> {
    let mut request = making(env, "recorded-changes");
    request["spec"]["verification"]["catalogChanges"] = json!({"record": true});
    let run = Run::start(env, request).await?;
    let open = ["CatalogMatches", "PrivilegesHeld"].map(|gate| (gate, "NotReviewed"));
    run.ends_passed(&open).await?;
    let files = evidence::read(env, &evidence::kept(&run).await?).await?;
    let diff = files.get("catalog.diff").context("no catalog.diff")?;
    let text = String::from_utf8_lossy(diff);
    ensure!(
        text == "+ privilege OWNER on table:public.scratch to keeper\n\
                 + relation public.scratch\n    + table\n    + access method heap\n    + id integer\n",
        "catalog.diff is {text}"
    );
    let digest = digest::hex(&Sha256::digest(diff));

    let mut request = making(env, "pinned-changes");
    request["spec"]["verification"]["catalogChanges"] = json!({"sha256": digest});
    Run::start(env, request.clone())
        .await?
        .ends_passed(&[])
        .await?;

    request["metadata"]["name"] = json!("other-changes");
    request["spec"]["harness"]["scenarios"] =
        json!([steps("makes", "CREATE TABLE public.scratch (id bigint)")]);
    let run = Run::start(env, request).await?;
    run.ends_at(
        "G-16",
        "PinDiffers",
        &[&digest, "1 object changed: relation public.scratch"],
        Command::Verify,
    )
    .await
}

/// A run whose keeper makes a table.
fn making(env: &Environment, name: &str) -> Value {
    let mut request = creating(env, name);
    request["spec"]["privileges"]["escalationAllowed"] =
        allowed("keeper", "CREATE in schema", "public");
    request["spec"]["harness"]["scenarios"] =
        json!([steps("makes", "CREATE TABLE public.scratch (id integer)")]);
    request
}
