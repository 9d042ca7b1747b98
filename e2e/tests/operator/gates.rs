//! Runs that fail a gate with real pods: the condition has the reason and the finding, no later
//! command starts, and only the teardown follows.

use anyhow::{Context, Result, ensure};
use dryrun_core::commands::Command;
use dryrun_core::run::object::RunVolume;
use dryrun_e2e::{cluster::apply, fixture::PRODUCTION};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;

use crate::{
    environment::{Environment, NAMESPACE, eventually, steps},
    isolation::operator,
    run::{Run, run_ref},
};

/// A foreign volume has the name of the run's volume; it is not touched. It is created with the
/// operator's permissions, as if it were older than the admission policies, which refuse it to all
/// others.
pub(crate) async fn existing_object_is_not_touched(env: &Environment) -> Result<()> {
    let name = run_ref(NAMESPACE, "taken-name", "").name_of(RunVolume::Data);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(env.client.clone(), NAMESPACE);
    let claim = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }))?;
    let theirs = Api::<PersistentVolumeClaim>::namespaced(operator(env).await?, NAMESPACE)
        .create(&PostParams::default(), &claim)
        .await?;
    let mut run = Run::start(env, env.small("taken-name")).await?;
    run.foreign = vec![name.clone()];
    run.ends_at(
        "G-02",
        "NameTaken",
        &[&format!("PersistentVolumeClaim/{name}")],
        Command::Preflight,
    )
    .await?;
    let found = claims.get(&name).await?;
    ensure!(
        found.uid() == theirs.uid() && found.metadata.deletion_timestamp.is_none(),
        "the existing volume was changed"
    );
    claims.delete(&name, &DeleteParams::default()).await?;
    Ok(())
}

pub(crate) async fn empty_protected_selector_fails(env: &Environment) -> Result<()> {
    let mut request = env.small("protects-nothing");
    request["spec"]["protected"] =
        json!([{"namespace": PRODUCTION, "selector": {"app": "nothing"}}]);
    let run = Run::start(env, request).await?;
    run.ends_at(
        "G-03",
        "NotRecorded",
        &["app=nothing", PRODUCTION],
        Command::Preflight,
    )
    .await
}

/// A server other than the declared one is only queried for its identity.
pub(crate) async fn wrong_system_identifier_fails(env: &Environment) -> Result<()> {
    let mut request = env.small("wrong-identifier");
    request["spec"]["source"]["systemIdentifier"] = json!("7000000000000000001");
    let run = Run::start(env, request).await?;
    run.ends_at(
        "G-06",
        "IdentityMismatch",
        &["is not the declared 7000000000000000001"],
        Command::Dump,
    )
    .await?;
    let dump = run
        .report()
        .await?
        .status
        .unwrap_or_default()
        .facts
        .dump
        .context("no facts of the dump")?;
    ensure!(
        dump.archive.is_none() && dump.rights.is_none() && dump.roles.is_empty(),
        "more than the identity was read: {dump:?}"
    );
    Ok(())
}

pub(crate) async fn wrong_password_fails(env: &Environment) -> Result<()> {
    let mut request = env.small("wrong-password");
    request["spec"]["source"]["passwordSecretRef"]["name"] = json!("wrong");
    let run = Run::start(env, request).await?;
    run.ends_at("G-06", "Unreachable", &["dump_ro", "28P01"], Command::Dump)
        .await
}

/// A role that may read everything except one large object: the facts contain the statement that
/// would grant access.
pub(crate) async fn missing_dump_privilege_fails(env: &Environment) -> Result<()> {
    let mut request = env.small("missing-right");
    request["spec"]["source"]["user"] = json!("dump_lacking");
    request["spec"]["source"]["passwordSecretRef"]["name"] = json!("lacking");
    let run = Run::start(env, request).await?;
    let grant = "GRANT SELECT ON LARGE OBJECT 737373 TO dump_lacking";
    run.ends_at(
        "G-05",
        "MissingRights",
        &["1 right missing", grant],
        Command::Dump,
    )
    .await?;
    let dump = run
        .report()
        .await?
        .status
        .unwrap_or_default()
        .facts
        .dump
        .context("no facts of the dump")?;
    let rights = dump.rights.context("no facts of the rights")?;
    ensure!(
        rights.missing == [grant] && rights.missing_count == 1,
        "missing is {:?}",
        rights.missing
    );
    ensure!(dump.archive.is_none(), "it was dumped");
    Ok(())
}

/// A grant on a table that does not exist in production.
pub(crate) async fn grant_on_unknown_table_fails(env: &Environment) -> Result<()> {
    let mut request = env.small("unknown-table");
    request["spec"]["privileges"]["grants"][1]["object"] = json!("table:public.itme");
    let run = Run::start(env, request).await?;
    run.ends_at("G-09", "InvalidMatrix", &["public.itme"], Command::Roles)
        .await
}

/// The input differs from the plan's pin: detected inside the pod, before any of its code runs.
pub(crate) async fn changed_input_fails(env: &Environment) -> Result<()> {
    let mut request = env.small("changed-input");
    let other = "0".repeat(64);
    request["spec"]["harness"]["inputs"] = json!([{"configMapRef": {"name": "iu-cutter", "key": "source.tar"}, "mountPath": "/opt/iu-cutter", "sha256": other}]);
    let run = Run::start(env, request).await?;
    run.ends_at(
        "G-13",
        "DigestMismatch",
        &["iu-cutter/source.tar has sha256"],
        Command::Stage,
    )
    .await
}

/// The first scenario fails, so the second never starts.
pub(crate) async fn failing_scenario_stops_the_rest(env: &Environment) -> Result<()> {
    let mut request = env.small("failing-scenario");
    request["spec"]["harness"]["scenarios"] = json!([
        {"name": "fails", "as": {"login": "keeper"}, "command": ["python", "-c", "raise SystemExit(3)"]},
        steps("never", "SELECT FROM item LIMIT 1"),
    ]);
    let run = Run::start(env, request).await?;
    run.ends_at(
        "G-14",
        "ScenarioFailed",
        &["fails ended with exit code 3, not 0"],
        Command::Scenarios,
    )
    .await?;
    let scenarios = run
        .report()
        .await?
        .status
        .unwrap_or_default()
        .facts
        .scenarios;
    ensure!(
        scenarios.len() == 1,
        "{} scenarios were run",
        scenarios.len()
    );
    Ok(())
}

/// Every row of two tables that no change is declared of is overwritten, of one of them with what was
/// there: the counts stay the same.
pub(crate) async fn overwritten_rows_fail(env: &Environment) -> Result<()> {
    let mut request = env.small("overwritten-rows");
    let spec = &mut request["spec"];
    spec["source"]["database"] = json!("priced");
    spec["privileges"]["grants"] = json!([
        {"to": "keeper", "object": "database:priced", "privileges": ["CONNECT"]},
        {"to": "keeper", "object": "table:public.item", "privileges": ["SELECT", "UPDATE"]},
        {"to": "keeper", "object": "table:public.price", "privileges": ["SELECT", "UPDATE"]},
    ]);
    spec["harness"]["scenarios"] = json!([
        steps("overwrites", "UPDATE item SET amount = 0"),
        steps("touches", "UPDATE price SET amount = amount"),
    ]);
    let run = Run::start(env, request).await?;
    run.ends_at(
        "G-17",
        "UndeclaredChange",
        &["public.item (500 updated), public.price (3 updated)"],
        Command::Verify,
    )
    .await?;
    let scenarios = run
        .report()
        .await?
        .status
        .unwrap_or_default()
        .facts
        .scenarios;
    let updated = |index: usize, table: &str| {
        let effects = scenarios.get(index)?.effects.as_ref()?;
        Some((effects.rows.len(), effects.rows.get(table)?.updated))
    };
    ensure!(
        (updated(0, "public.item"), updated(1, "public.price")) == (Some((1, 500)), Some((1, 3))),
        "the scenarios' effects are {scenarios:?}"
    );
    Ok(())
}

/// One row more than `verification` declares.
pub(crate) async fn undeclared_rows_fail(env: &Environment) -> Result<()> {
    let mut request = env.small("undeclared-rows");
    request["spec"]["harness"]["scenarios"] = json!([steps(
        "adds",
        "INSERT INTO item (name, amount) VALUES ('one more', 1)"
    )]);
    let run = Run::start(env, request).await?;
    run.ends_at(
        "G-17",
        "UndeclaredChange",
        &["public.item (1 inserted)"],
        Command::Verify,
    )
    .await
}

/// A scenario uses a grant option: the matrix matched before the scenarios, and does not
/// afterwards.
pub(crate) async fn grant_in_scenario_fails(env: &Environment) -> Result<()> {
    let mut request = env.small("granted-away");
    request["spec"]["privileges"]["grants"][1]["grantable"] = json!(true);
    request["spec"]["harness"]["scenarios"] =
        json!([steps("hands-on", "GRANT SELECT ON item TO reader")]);
    let run = Run::start(env, request).await?;
    run.ends_at(
        "G-18",
        "MatrixDiffers",
        &[
            "0 missing, 1 unexpected",
            "SELECT table for reader: public.item",
        ],
        Command::Verify,
    )
    .await
}

/// Protected pods disappear during the run, one permanently and one to be replaced. The run fails
/// in any phase.
pub(crate) async fn protected_pod_deletion_fails(env: &Environment) -> Result<()> {
    apply(&env.client, include_str!("bystanders.yaml")).await?;
    let pods: Api<Pod> = Api::namespaced(env.client.clone(), PRODUCTION);
    let replaced = ListParams::default().labels("app=bystander-replaced");
    let name = eventually("the bystanders are running", async || {
        let pod = pods.list(&replaced).await?.items.into_iter().find(running);
        let alone = pods.get("bystander").await?;
        Ok(pod
            .filter(|_| running(&alone))
            .map(|pod| pod.name_any())
            .ok_or_else(|| "a bystander is not running".to_owned()))
    })
    .await?;
    let mut request = env.small("protects-bystanders");
    request["spec"]["protected"] = json!([
        {"namespace": PRODUCTION, "selector": {"app": "bystander"}},
        {"namespace": PRODUCTION, "selector": {"app": "bystander-replaced"}},
    ]);
    let run = Run::start(env, request).await?;
    run.at(Command::Dump).await?;
    for name in ["bystander", &name] {
        pods.delete(name, &DeleteParams::default()).await?;
    }
    // The first detection ends the run: the condition may mention only one of them. Both names
    // begin with this.
    let expected = [&*format!("{PRODUCTION}/bystander"), " is gone"];
    run.ends_during_any_command("G-24", "Changed", &expected)
        .await?;
    env.fixture
        .administrator
        .run(&[
            "delete",
            "deployment",
            "bystander-replaced",
            "--namespace",
            PRODUCTION,
        ])
        .await?;
    Ok(())
}

pub(crate) fn running(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}
