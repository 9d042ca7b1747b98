//! Missing isolation, and isolation that ends during a run: the conditions name the reached
//! targets, and the run stops in time.

use anyhow::{Context, Result, ensure};
use dryrun_core::run::object::RunPod;
use dryrun_core::{api::TargetClass, commands::Command};
use dryrun_e2e::fixture::SYSTEM;
use k8s_openapi::api::{core::v1::Node, networking::v1::NetworkPolicy};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    audit,
    environment::{Environment, NAMESPACE, steps},
    run::Run,
};

/// No node enforces NetworkPolicies: the run ends before the copy's containers with data or secrets
/// start.
pub(crate) async fn missing_enforcement_is_detected(env: &Environment) -> Result<()> {
    let cluster = &env.fixture.cluster;
    if !cluster.enforce(false).await? {
        env.note(
            "isolation that is not enforced: skipped, not a local cluster",
            "",
        );
        return Ok(());
    }
    let ended = unenforced(env).await;
    cluster.enforce(true).await?;
    ended
}

async fn unenforced(env: &Environment) -> Result<()> {
    let run = Run::start(env, env.small("nothing-enforced")).await?;
    run.ends_at(
        "G-07",
        "Reachable",
        &[
            "postgres",
            "ApiServer",
            "Dns",
            "OtherNamespace",
            "Metadata",
            "Outside",
            "Production",
        ],
        Command::Isolate,
    )
    .await?;
    let facts = run.report().await?.status.unwrap_or_default().facts;
    ensure!(
        facts.released.is_empty() && facts.restore.is_none() && facts.copy_identity.is_empty(),
        "the copy began: {facts:?}"
    );
    if let Some(log) = env.audit_log() {
        let writes = audit::writes(&log, NAMESPACE, &run.name, env.since)?;
        let harness = run.id().name_of(RunPod::Harness);
        ensure!(
            writes.iter().all(|write| write.name != harness),
            "the harness was created: {}",
            audit::summary(&writes)
        );
    }
    let reached = facts
        .isolation
        .probes()
        .filter(|probe| probe.tally.connected > 0);
    env.note(
        "nothing is enforced: probes that connected",
        reached.count().to_string(),
    );
    Ok(())
}

/// Enforcement ends during a scenario: the watch detects it, and the run ends.
pub(crate) async fn end_of_enforcement_is_detected(env: &Environment) -> Result<()> {
    let cluster = &env.fixture.cluster;
    let run = Run::start(env, long(env, "enforcement-ends")).await?;
    run.at(Command::Scenarios).await?;
    if !cluster.enforce(false).await? {
        env.note("enforcement that ends: skipped, not a local cluster", "");
        return stop(&run).await;
    }
    let ended = run
        .ends_at("G-19", "Reachable", &["reached"], Command::Scenarios)
        .await;
    cluster.enforce(true).await?;
    ended
}

/// A policy created with the operator's permissions opens the copy during the run.
pub(crate) async fn foreign_policy_during_run_is_detected(env: &Environment) -> Result<()> {
    let run = Run::start(env, long(env, "foreign-policy")).await?;
    run.at(Command::Scenarios).await?;
    let selector = json!({"dryrun.dev/run": run.uid, "dryrun.dev/role": "postgres"});
    let hole = Hole::open(env, "foreign-hole", selector).await?;
    let ended = run
        .ends_at(
            "G-19",
            "Reachable",
            &["postgres reached", "Outside"],
            Command::Scenarios,
        )
        .await;
    hole.close().await?;
    ended
}

/// The policy exists before the run.
pub(crate) async fn foreign_policy_before_run_is_detected(env: &Environment) -> Result<()> {
    let name = "foreign-before";
    let selector = json!({"app.kubernetes.io/instance": name, "dryrun.dev/role": "postgres"});
    let hole = Hole::open(env, "early-hole", selector).await?;
    let ended = async {
        let run = Run::start(env, env.small(name)).await?;
        run.ends_at(
            "G-07",
            "NotIsolated",
            &["NetworkPolicy early-hole selects this pod and allows additional traffic"],
            Command::Isolate,
        )
        .await
    }
    .await;
    hole.close().await?;
    ended
}

/// No server listens on the outside address, so a failed connection from the copy proves nothing.
pub(crate) async fn missing_positive_control_is_inconclusive(env: &Environment) -> Result<()> {
    let run = Run::start(env, silent_outside(env, "no-control", json!([]))).await?;
    run.ends_unknown(
        &["PostgresIsolated"],
        &["NoPositiveControl"],
        "Outside 192.0.2.1:9",
        Command::Isolate,
    )
    .await
}

/// The same with an exception in the spec.
pub(crate) async fn excused_control_passes(env: &Environment) -> Result<()> {
    let run = Run::start(env, silent_outside(env, "excused", json!(["Outside"]))).await?;
    run.ends_passed(&[]).await?;
    let found = run.report().await?.status.unwrap_or_default();
    let line = found.verdict.iter().find(|line| line.starts_with("G-07"));
    let line = line.context("the verdict has no G-07")?;
    ensure!(line.contains("without control: Outside"), "{line}");
    let nodes: Api<Node> = Api::all(env.client.clone());
    let several = nodes.list(&ListParams::default()).await?.items.len() > 1;
    let isolation = found.facts.isolation;
    for phase in [isolation.before, isolation.after].into_iter().flatten() {
        let from_afar = phase
            .probes
            .iter()
            .any(|probe| probe.from == RunPod::Listener && probe.target.class == TargetClass::Copy);
        ensure!(
            from_afar == several && phase.other_node.is_empty() != several,
            "the copy was probed from node {:?}",
            phase.other_node
        );
    }
    Ok(())
}

/// A port of the cluster's outside without a listener.
fn silent_outside(env: &Environment, name: &str, excused: Value) -> Value {
    let mut request = env.small(name);
    request["spec"]["isolation"] =
        json!({"outsideAddress": "192.0.2.1:9", "mayBeInconclusive": excused});
    request
}

/// A run with a scenario that does not end by itself.
fn long(env: &Environment, name: &str) -> Value {
    let mut request = env.small(name);
    request["spec"]["harness"]["scenarios"] = json!([
        steps("sleeps", "SELECT pg_sleep(300)"),
        steps("never", "SELECT FROM item LIMIT 1"),
    ]);
    request
}

async fn stop(run: &Run<'_>) -> Result<()> {
    run.api()
        .delete(&run.name, &DeleteParams::default())
        .await?;
    Ok(())
}

/// A NetworkPolicy that allows everything, created with the operator's permissions, as the
/// admission policies refuse it to all others.
struct Hole {
    policies: Api<NetworkPolicy>,
    name: String,
}

impl Hole {
    async fn open(env: &Environment, name: &str, labels: Value) -> Result<Self> {
        let policies = Api::namespaced(operator(env).await?, NAMESPACE);
        let policy = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {
                "podSelector": {"matchLabels": labels},
                "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}],
            },
        }))?;
        policies.create(&PostParams::default(), &policy).await?;
        let name = name.to_owned();
        Ok(Self { policies, name })
    }

    async fn close(self) -> Result<()> {
        self.policies
            .delete(&self.name, &DeleteParams::default())
            .await?;
        Ok(())
    }
}

/// A client with the operator's permissions.
pub(crate) async fn operator(env: &Environment) -> Result<Client> {
    let user = format!("system:serviceaccount:{SYSTEM}:dryrun-operator");
    let groups = ["system:serviceaccounts", "system:authenticated"];
    env.fixture.cluster.client_as(&user, &groups).await
}
