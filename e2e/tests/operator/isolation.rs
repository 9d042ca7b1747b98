//! Isolation that is not there, or ends in mid-run: what was reached is told, and how far the run came.

use anyhow::{Context, Result, ensure};
use dryrun_core::{api::TargetClass, commands::Command, run::object::Object};
use dryrun_e2e::fixture::SYSTEM;
use k8s_openapi::api::{core::v1::Node, networking::v1::NetworkPolicy};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    audit,
    environment::{NAMESPACE, Stage, steps},
    run::Run,
};

/// No node enforces NetworkPolicies: the run ends before a container with data or secrets of the copy's pod has begun.
pub(crate) async fn nothing_is_enforced(stage: &Stage) -> Result<()> {
    let cluster = &stage.rehearsal.cluster;
    if !cluster.enforce(false).await? {
        stage.note(
            "isolation that is not enforced: skipped, not a local cluster",
            "",
        );
        return Ok(());
    }
    let played = unenforced(stage).await;
    cluster.enforce(true).await?;
    played
}

async fn unenforced(stage: &Stage) -> Result<()> {
    let run = Run::begin(stage, stage.small("nothing-enforced")).await?;
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
    if let Some(log) = stage.audit_log() {
        let writes = audit::writes(&log, NAMESPACE, &run.name, stage.since)?;
        let harness = Object::HarnessPod.name(&run.name, &run.uid);
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
    stage.note(
        "nothing is enforced: probes that connected",
        reached.count().to_string(),
    );
    Ok(())
}

/// Enforcement ends while a scenario runs: the watch sees it, and the run ends with it.
pub(crate) async fn enforcement_ends(stage: &Stage) -> Result<()> {
    let cluster = &stage.rehearsal.cluster;
    let run = Run::begin(stage, long(stage, "enforcement-ends")).await?;
    run.at(Command::Scenarios).await?;
    if !cluster.enforce(false).await? {
        stage.note("enforcement that ends: skipped, not a local cluster", "");
        return stop(&run).await;
    }
    let played = run
        .ends_at("G-19", "Reachable", &["reached"], Command::Scenarios)
        .await;
    cluster.enforce(true).await?;
    played
}

/// Somebody with the operator's own rights lets the copy out in mid-run.
pub(crate) async fn foreign_policy_in_mid_run(stage: &Stage) -> Result<()> {
    let run = Run::begin(stage, long(stage, "foreign-policy")).await?;
    run.at(Command::Scenarios).await?;
    let selector = json!({"dryrun.dev/run": run.uid, "dryrun.dev/role": "postgres"});
    let hole = Hole::open(stage, "foreign-hole", selector).await?;
    let played = run
        .ends_at(
            "G-19",
            "Reachable",
            &["postgres reached", "Outside"],
            Command::Scenarios,
        )
        .await;
    hole.close().await?;
    played
}

/// It is there before the run begins.
pub(crate) async fn foreign_policy(stage: &Stage) -> Result<()> {
    let name = "foreign-before";
    let selector = json!({"app.kubernetes.io/instance": name});
    let hole = Hole::open(stage, "early-hole", selector).await?;
    let played = async {
        let run = Run::begin(stage, stage.small(name)).await?;
        run.ends_at(
            "G-07",
            "NotIsolated",
            &["NetworkPolicy early-hole allows it more"],
            Command::Isolate,
        )
        .await
    }
    .await;
    hole.close().await?;
    played
}

/// Nobody listens at the outside address: that the copy cannot reach it proves nothing.
pub(crate) async fn no_positive_control(stage: &Stage) -> Result<()> {
    let run = Run::begin(stage, silent_outside(stage, "no-control", json!([]))).await?;
    run.ends_open(
        &["PostgresIsolated"],
        &["NoPositiveControl"],
        "Outside 192.0.2.1:9",
        Command::Isolate,
    )
    .await
}

/// The same where the spec says so.
pub(crate) async fn excused_control(stage: &Stage) -> Result<()> {
    let run = Run::begin(stage, silent_outside(stage, "excused", json!(["Outside"]))).await?;
    run.ends_well(&[]).await?;
    let found = run.report().await?.status.unwrap_or_default();
    let line = found.verdict.iter().find(|line| line.starts_with("G-07"));
    let line = line.context("the verdict has no G-07")?;
    ensure!(line.contains("without control: Outside"), "{line}");
    let nodes: Api<Node> = Api::all(stage.client.clone());
    let several = nodes.list(&ListParams::default()).await?.items.len() > 1;
    let isolation = found.facts.isolation;
    for phase in [isolation.before, isolation.after].into_iter().flatten() {
        let from_afar = phase.probes.iter().any(|probe| {
            probe.from == Object::ListenerPod.role() && probe.target.class == TargetClass::Copy
        });
        ensure!(
            from_afar == several && phase.other_node.is_empty() != several,
            "the copy was probed from node {:?}",
            phase.other_node
        );
    }
    Ok(())
}

/// An address of the cluster's outside, and a port of it on which nobody listens.
fn silent_outside(stage: &Stage, name: &str, excused: Value) -> Value {
    let mut request = stage.small(name);
    request["spec"]["isolation"] =
        json!({"outsideAddress": "192.0.2.1:9", "mayBeInconclusive": excused});
    request
}

/// A run whose scenario does not end by itself.
fn long(stage: &Stage, name: &str) -> Value {
    let mut request = stage.small(name);
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

/// A NetworkPolicy that allows everything, made with the operator's rights: the admission policies let nobody else.
struct Hole {
    policies: Api<NetworkPolicy>,
    name: String,
}

impl Hole {
    async fn open(stage: &Stage, name: &str, labels: Value) -> Result<Self> {
        let policies = Api::namespaced(operator(stage).await?, NAMESPACE);
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

/// A client with the operator's rights.
pub(crate) async fn operator(stage: &Stage) -> Result<Client> {
    let user = format!("system:serviceaccount:{SYSTEM}:dryrun-operator");
    let groups = ["system:serviceaccounts", "system:authenticated"];
    stage.rehearsal.cluster.client_as(&user, &groups).await
}
