//! Runs that never begin: nobody approves them, their plan cannot be resolved, or the apiserver refuses them. Nothing is created for any.

use anyhow::{Context, Result, ensure};
use dryrun_core::{
    api::{DryRun, DryRunReport, Outcome},
    commands::Command,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    audit,
    environment::{NAMESPACE, Stage, UNPREPARED, soon},
    run::{Run, condition, is, status},
};

/// It expires, and the operator has written nothing but its status.
pub(crate) async fn nobody_approves(stage: &Stage) -> Result<()> {
    let mut request = stage.small("nobody-approves");
    request["spec"]["approval"] = json!({"expiresAfter": "5s"});
    let run = Run::ask(stage, request).await?;
    let ended = run.end().await?;
    ensure!(
        is(&ended, "Approved", "False", "Expired"),
        "{}",
        run.story().await
    );
    let status = status(&ended);
    ensure!(
        status.outcome == Some(Outcome::Expired),
        "{}",
        run.story().await
    );
    ensure!(
        condition(&status, "Succeeded")?
            .message
            .contains("nothing was created"),
        "{}",
        run.story().await
    );
    never_began(&run).await
}

/// While runs are asked for, planned, wait, expire and are deleted, and none is approved, the operator does nothing anywhere but say so: no create
/// of whatever kind, no way into a pod. Nobody else's run is at work meanwhile, so that no name has to be guessed.
pub(crate) async fn nothing_is_done_without_approval(stage: &Stage) -> Result<()> {
    let Some(log) = stage.audit_log() else {
        return Ok(());
    };
    let since = Timestamp::now();
    let mut request = stage.small("expires-alone");
    request["spec"]["approval"] = json!({"expiresAfter": "5s"});
    let expired = Run::ask(stage, request).await?;
    let deleted = Run::ask(stage, stage.small("deleted-alone")).await?;
    deleted
        .until("it waits for approval", |run| {
            is(run, "Approved", "Unknown", "AwaitingApproval")
        })
        .await?;
    deleted
        .api()
        .delete(&deleted.name, &DeleteParams::default())
        .await?;
    expired.end().await?;
    let doings = audit::doings(&log, since)?;
    let of = |run: &Run<'_>| doings.iter().filter(|d| d.name == run.name).count();
    ensure!(
        of(&expired) >= 2 && of(&deleted) >= 1,
        "the audit log does not have what was done: {}",
        audit::summary(&doings)
    );
    let others: Vec<_> = doings
        .iter()
        .filter(|doing| !(doing.verb == "patch" && doing.resource == "dryruns/status"))
        .filter(|doing| doing.resource != "events")
        .collect();
    ensure!(others.is_empty(), "the operator did {others:?}");
    for run in [&expired, &deleted] {
        never_began(run).await?;
    }
    Ok(())
}

/// An approval of another hash does not count: the apiserver refuses it, and nothing begins.
pub(crate) async fn approval_of_another_plan(stage: &Stage) -> Result<()> {
    let mut request = stage.small("another-plan");
    request["spec"]["approval"] = json!({"expiresAfter": "30s"});
    let run = Run::ask(stage, request).await?;
    run.until("it waits for approval", |run| {
        is(run, "Approved", "Unknown", "AwaitingApproval")
    })
    .await?;
    let api: Api<dryrun_core::api::DryRunApproval> = Api::namespaced(stage.bob.clone(), NAMESPACE);
    let approval = serde_json::from_value(json!({
        "metadata": {"name": run.name},
        "spec": {
            "dryRunName": run.name, "dryRunUID": run.uid, "planHash": format!("sha256:{}", "0".repeat(64)),
            "approvedBy": "bob", "expiresAt": format!("{:.0}", Timestamp::now() + SignedDuration::from_hours(1)),
        },
    }))?;
    refused("planHash is not the hash of the current plan", async || {
        api.create(&PostParams::default(), &approval)
            .await
            .map(drop)
    })
    .await?;
    never_began(&run).await
}

pub(crate) async fn missing_config_map(stage: &Stage) -> Result<()> {
    let input = json!([{"configMapRef": {"name": "absent", "key": "file"}, "mountPath": "/opt/absent", "sha256": "0".repeat(64)}]);
    unresolved(
        stage,
        "no-config-map",
        "/spec/harness/inputs",
        input,
        "ConfigMapMissing",
        "absent",
    )
    .await
}

pub(crate) async fn missing_config_map_key(stage: &Stage) -> Result<()> {
    let input = json!([{"configMapRef": {"name": "iu-cutter", "key": "absent"}, "mountPath": "/opt/absent", "sha256": "0".repeat(64)}]);
    unresolved(
        stage,
        "keyless-config-map",
        "/spec/harness/inputs",
        input,
        "ConfigMapKeyMissing",
        "absent",
    )
    .await
}

pub(crate) async fn missing_secret(stage: &Stage) -> Result<()> {
    let reference = json!({"name": "absent", "key": "password"});
    unresolved(
        stage,
        "no-secret",
        "/spec/source/passwordSecretRef",
        reference,
        "SecretMissing",
        "absent",
    )
    .await
}

pub(crate) async fn missing_secret_key(stage: &Stage) -> Result<()> {
    let reference = json!({"name": "directus-production", "key": "absent"});
    unresolved(
        stage,
        "keyless-secret",
        "/spec/source/passwordSecretRef",
        reference,
        "SecretKeyMissing",
        "absent",
    )
    .await
}

/// A plan that cannot be resolved: said at once, and for good at the deadline.
async fn unresolved(
    stage: &Stage,
    name: &str,
    at: &str,
    value: Value,
    reason: &str,
    told: &str,
) -> Result<()> {
    let mut request = stage.small(name);
    *request
        .pointer_mut(at)
        .context("the request has no such field")? = value;
    // Counted from its creation: what is missing must have been said before.
    request["spec"]["deadlines"]["start"] = json!("30s");
    ends_unapproved(&Run::ask(stage, request).await?, reason, told).await
}

/// The operator has no rights there, and says what to change.
pub(crate) async fn unprepared_namespace(stage: &Stage) -> Result<()> {
    let mut request = stage.small("unprepared");
    request["metadata"]["namespace"] = json!(UNPREPARED);
    request["spec"]["deadlines"]["start"] = json!("30s");
    ends_unapproved(
        &Run::ask(stage, request).await?,
        "NamespaceNotPrepared",
        "rehearsalNamespaces",
    )
    .await
}

async fn ends_unapproved(run: &Run<'_>, reason: &str, told: &str) -> Result<()> {
    run.until("it says what is missing", |run| {
        is(run, "Approved", "Unknown", reason)
    })
    .await?;
    let ended = run.end().await?;
    let status = status(&ended);
    let approved = condition(&status, "Approved")?;
    ensure!(
        (approved.status.as_str(), approved.reason.as_str()) == ("False", reason),
        "{}",
        run.story().await
    );
    ensure!(
        approved.message.contains(told),
        "it does not tell of {told:?}: {}",
        approved.message
    );
    ensure!(
        status.outcome == Some(Outcome::Failed) && is(&ended, "Stalled", "True", "Failed"),
        "{}",
        run.story().await
    );
    never_began(run).await
}

/// What was missing comes before the deadline: the plan is there, and waits for approval.
pub(crate) async fn config_map_comes_in_time(stage: &Stage) -> Result<()> {
    let mut request = stage.small("comes-in-time");
    request["spec"]["harness"]["inputs"] = json!([{"configMapRef": {"name": "late", "key": "file"}, "mountPath": "/opt/late", "sha256": "0".repeat(64)}]);
    let run = Run::ask(stage, request).await?;
    run.until("it says what is missing", |run| {
        is(run, "Approved", "Unknown", "ConfigMapMissing")
    })
    .await?;
    let late: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "late"}, "data": {"file": "late"}}))?;
    Api::<ConfigMap>::namespaced(stage.alice.clone(), NAMESPACE)
        .create(&PostParams::default(), &late)
        .await?;
    run.until("it waits for approval", |run| {
        is(run, "Approved", "Unknown", "AwaitingApproval")
    })
    .await?;
    never_began(&run).await
}

/// An image that no node has, of a registry that is not there: the run begins, waits for its pod, and ends at the deadline with the kubelet's reason and the image's name.
pub(crate) async fn missing_image(stage: &Stage) -> Result<()> {
    const IMAGE: &str = "127.0.0.1:1/postgres:17";
    let mut request = stage.small("missing-image");
    request["spec"]["postgres"]["image"] = json!(IMAGE);
    request["spec"]["deadlines"] = json!({"total": "5m", "start": "45s", "dump": "1s"});
    let run = Run::begin(stage, request).await?;
    run.ends_open(
        &["SourceIdentified", "SourceReadOnly"],
        &["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"],
        IMAGE,
        Command::Dump,
    )
    .await
}

/// No node has what the copy asks for: the run waits for its pod, and ends at the deadline with the scheduler's reason.
pub(crate) async fn unschedulable(stage: &Stage) -> Result<()> {
    let mut request = stage.small("unschedulable");
    request["spec"]["postgres"]["resources"] = json!({"requests": {"memory": "4Ti"}});
    request["spec"]["deadlines"] = json!({"total": "5m", "start": "20s", "dump": "1s"});
    let run = Run::begin(stage, request).await?;
    run.ends_open(
        &["DiskHeadroom", "SourceIdentified", "SourceReadOnly"],
        &["Unschedulable"],
        "Insufficient memory",
        Command::Dump,
    )
    .await
}

/// Some of what the apiserver refuses by itself; the chart's tests have every rule.
pub(crate) async fn bad_specs(stage: &Stage) -> Result<()> {
    let cases = [
        (
            "/spec/requestedBy",
            json!("mallory"),
            "spec.requestedBy must be the creating user",
        ),
        (
            "/spec/images",
            json!({}),
            "images must be pinned by digest (name@sha256:…), or images.allowTags must be true",
        ),
        (
            "/spec/privileges/grants/0/to",
            json!("postgres"),
            "grants may only be made to privileges.roles or to public",
        ),
        (
            "/spec/harness/scenarios/0/as/login",
            json!("postgres"),
            "as.login of every scenario must be one of privileges.roles",
        ),
        (
            "/spec/harness/scenarios/0/steps/0",
            json!({"sql": "DELETE FROM item", "expect": {"sqlstate": "42501"}}),
            "a denied step (42501) needs twin",
        ),
        (
            "/spec/source/network",
            json!({"namespace": "incomex"}),
            "network needs either namespace and podSelector, or cidr",
        ),
        (
            "/metadata/name",
            json!("n".repeat(41)),
            "metadata.name may have at most 40 characters",
        ),
    ];
    let api: Api<DryRun> = Api::namespaced(stage.alice.clone(), NAMESPACE);
    for (at, value, sentence) in cases {
        let mut request = stage.small("bad");
        *request
            .pointer_mut(at)
            .context("the request has no such field")? = value;
        let request = serde_json::from_value(request)?;
        refused(sentence, async || {
            api.create(&PostParams::default(), &request).await.map(drop)
        })
        .await?;
    }
    Ok(())
}

pub(crate) async fn spec_cannot_be_changed(stage: &Stage) -> Result<()> {
    let run = Run::ask(stage, stage.small("unchangeable")).await?;
    let change = Patch::Merge(json!({"spec": {"source": {"port": 5433}}}));
    let api = run.api();
    refused("spec is immutable: a new run is a new DryRun", async || {
        api.patch(&run.name, &PatchParams::default(), &change)
            .await
            .map(drop)
    })
    .await
}

/// It is refused with this sentence.
async fn refused(sentence: &str, attempt: impl AsyncFn() -> kube::Result<()>) -> Result<()> {
    // Another refusal may come first: role bindings and policies are in force a moment after they are made.
    soon(sentence, async || match attempt().await {
        Err(kube::Error::Api(status)) if status.message.contains(sentence) => Ok(Ok(())),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(Err(status.message.clone())),
        Err(error) => Err(error.into()),
        Ok(()) => anyhow::bail!("not refused, but {sentence}"),
    })
    .await
}

/// It has no report, nothing was made for it, it keeps nobody from deleting it, and of the operator there are status writes alone.
pub(crate) async fn never_began(run: &Run<'_>) -> Result<()> {
    if let Some(found) = run.api().get_opt(&run.name).await? {
        ensure!(
            found.finalizers().is_empty(),
            "it has the finalizers {:?}",
            found.finalizers()
        );
    }
    let reports: Api<DryRunReport> = Api::namespaced(run.stage.client.clone(), &run.namespace);
    let reports = reports.list(&ListParams::default()).await?;
    ensure!(
        reports
            .iter()
            .all(|report| report.spec.dry_run_uid != run.uid),
        "it has a report"
    );
    if let Some(log) = run.stage.audit_log() {
        let status =
            |doing: &audit::Write| doing.verb == "patch" && doing.resource == "dryruns/status";
        let prefix = format!("{}-", run.name);
        // In any namespace, by whatever verb, ways into pods included. The log may come a moment after what it tells of.
        let doings = soon("the audit log knows of it", async || {
            let mut doings = audit::doings(&log, run.stage.since)?;
            doings.retain(|doing| doing.name == run.name || doing.name.starts_with(&prefix));
            Ok(if doings.iter().any(status) {
                Ok(doings)
            } else {
                Err("no status of it".to_owned())
            })
        })
        .await?;
        let others: Vec<_> = doings
            .iter()
            .filter(|doing| !status(doing) && doing.resource != "events")
            .collect();
        ensure!(others.is_empty(), "the operator wrote {others:?}");
    }
    run.is_gone().await
}
