//! Runs that never start: not approved, without a resolvable plan, or refused by the apiserver. No
//! object is created for any of them.

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
    environment::{Environment, NAMESPACE, UNPREPARED, eventually},
    run::{Run, condition, is, status},
};

/// The run expires, and the operator has only written its status.
pub(crate) async fn unapproved_run_expires(env: &Environment) -> Result<()> {
    let mut request = env.small("unapproved-expires");
    request["spec"]["approval"] = json!({"expiresAfter": "5s"});
    let run = Run::request(env, request).await?;
    let ended = run.end().await?;
    ensure!(
        is(&ended, "Approved", "False", "Expired"),
        "{}",
        run.diagnostics().await
    );
    let status = status(&ended);
    ensure!(
        status.outcome == Some(Outcome::Expired),
        "{}",
        run.diagnostics().await
    );
    ensure!(
        condition(&status, "Succeeded")?
            .message
            .contains("nothing was created"),
        "{}",
        run.diagnostics().await
    );
    never_began(&run).await
}

/// While runs are requested, planned, expired and deleted without an approval, the operator only
/// writes statuses and events: it creates no object of any kind and opens no connection to a pod.
/// No other run exists meanwhile, so the check needs no filter by name.
pub(crate) async fn nothing_is_created_without_approval(env: &Environment) -> Result<()> {
    let Some(log) = env.audit_log() else {
        return Ok(());
    };
    let since = Timestamp::now();
    let mut request = env.small("expires-alone");
    request["spec"]["approval"] = json!({"expiresAfter": "5s"});
    let expired = Run::request(env, request).await?;
    let deleted = Run::request(env, env.small("deleted-alone")).await?;
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
    let requests = audit::requests(&log, since)?;
    let of = |run: &Run<'_>| requests.iter().filter(|d| d.name == run.name).count();
    ensure!(
        of(&expired) >= 2 && of(&deleted) >= 1,
        "the audit log lacks the writes: {}",
        audit::summary(&requests)
    );
    let others: Vec<_> = requests
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

/// The apiserver refuses an approval of another hash, and nothing starts.
pub(crate) async fn approval_of_another_plan_is_refused(env: &Environment) -> Result<()> {
    let mut request = env.small("another-plan");
    request["spec"]["approval"] = json!({"expiresAfter": "30s"});
    let run = Run::request(env, request).await?;
    run.until("it waits for approval", |run| {
        is(run, "Approved", "Unknown", "AwaitingApproval")
    })
    .await?;
    let api: Api<dryrun_core::api::DryRunApproval> = Api::namespaced(env.bob.clone(), NAMESPACE);
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

pub(crate) async fn missing_config_map_is_reported(env: &Environment) -> Result<()> {
    let input = json!([{"configMapRef": {"name": "absent", "key": "file"}, "mountPath": "/opt/absent", "sha256": "0".repeat(64)}]);
    unresolved(
        env,
        "no-config-map",
        "/spec/harness/inputs",
        input,
        "ConfigMapMissing",
        "absent",
    )
    .await
}

pub(crate) async fn missing_config_map_key_is_reported(env: &Environment) -> Result<()> {
    let input = json!([{"configMapRef": {"name": "iu-cutter", "key": "absent"}, "mountPath": "/opt/absent", "sha256": "0".repeat(64)}]);
    unresolved(
        env,
        "keyless-config-map",
        "/spec/harness/inputs",
        input,
        "ConfigMapKeyMissing",
        "absent",
    )
    .await
}

pub(crate) async fn missing_secret_is_reported(env: &Environment) -> Result<()> {
    let reference = json!({"name": "absent", "key": "password"});
    unresolved(
        env,
        "no-secret",
        "/spec/source/passwordSecretRef",
        reference,
        "SecretNotBound",
        "annotate --overwrite secret absent",
    )
    .await
}

/// A Secret that its holder has given for another source is not used, and is not told from one that does not exist.
pub(crate) async fn secret_of_another_source_is_reported(env: &Environment) -> Result<()> {
    unresolved(
        env,
        "another-source",
        "/spec/source/host",
        json!("elsewhere.example"),
        "SecretNotBound",
        "dryrun.dev/source='postgresql://dump_ro@elsewhere.example:5432/stock?sslmode=prefer'",
    )
    .await
}

pub(crate) async fn missing_secret_key_is_reported(env: &Environment) -> Result<()> {
    let reference = json!({"name": "directus-production", "key": "absent"});
    unresolved(
        env,
        "keyless-secret",
        "/spec/source/passwordSecretRef",
        reference,
        "SecretKeyMissing",
        "absent",
    )
    .await
}

/// A plan that cannot be resolved: reported at once, and final at the deadline.
async fn unresolved(
    env: &Environment,
    name: &str,
    at: &str,
    value: Value,
    reason: &str,
    expected: &str,
) -> Result<()> {
    let mut request = env.small(name);
    *request
        .pointer_mut(at)
        .context("the request has no such field")? = value;
    // The deadline counts from creation, and the missing object must be reported before.
    request["spec"]["deadlines"]["start"] = json!("30s");
    ends_unapproved(&Run::request(env, request).await?, reason, expected).await
}

/// The operator has no permissions there, and reports how to change that.
pub(crate) async fn unprepared_namespace_is_reported(env: &Environment) -> Result<()> {
    let mut request = env.small("unprepared");
    request["metadata"]["namespace"] = json!(UNPREPARED);
    request["spec"]["deadlines"]["start"] = json!("30s");
    ends_unapproved(
        &Run::request(env, request).await?,
        "NamespaceNotPrepared",
        "rehearsalNamespaces",
    )
    .await
}

async fn ends_unapproved(run: &Run<'_>, reason: &str, expected: &str) -> Result<()> {
    run.until("the missing object is reported", |run| {
        is(run, "Approved", "Unknown", reason)
    })
    .await?;
    let ended = run.end().await?;
    let status = status(&ended);
    let approved = condition(&status, "Approved")?;
    ensure!(
        (approved.status.as_str(), approved.reason.as_str()) == ("False", reason),
        "{}",
        run.diagnostics().await
    );
    ensure!(
        approved.message.contains(expected),
        "the message lacks {expected:?}: {}",
        approved.message
    );
    ensure!(
        status.outcome == Some(Outcome::Failed) && is(&ended, "Stalled", "True", "Failed"),
        "{}",
        run.diagnostics().await
    );
    never_began(run).await
}

/// A missing object is created before the deadline: the plan is resolved, and awaits approval.
pub(crate) async fn late_config_map_is_resolved(env: &Environment) -> Result<()> {
    let mut request = env.small("comes-in-time");
    request["spec"]["harness"]["inputs"] = json!([{"configMapRef": {"name": "late", "key": "file"}, "mountPath": "/opt/late", "sha256": "0".repeat(64)}]);
    let run = Run::request(env, request).await?;
    run.until("the missing object is reported", |run| {
        is(run, "Approved", "Unknown", "ConfigMapMissing")
    })
    .await?;
    let late: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "late"}, "data": {"file": "late"}}))?;
    Api::<ConfigMap>::namespaced(env.alice.clone(), NAMESPACE)
        .create(&PostParams::default(), &late)
        .await?;
    run.until("it waits for approval", |run| {
        is(run, "Approved", "Unknown", "AwaitingApproval")
    })
    .await?;
    never_began(&run).await
}

/// An image that no node has, of a registry that does not exist: the run starts, waits for its pod,
/// and ends at the deadline with the kubelet's reason and the image's name.
pub(crate) async fn missing_image_ends_at_the_deadline(env: &Environment) -> Result<()> {
    const IMAGE: &str = "127.0.0.1:1/postgres:17";
    let mut request = env.small("missing-image");
    request["spec"]["postgres"]["image"] = json!(IMAGE);
    request["spec"]["deadlines"] = json!({"total": "5m", "start": "45s", "dump": "1s"});
    let run = Run::start(env, request).await?;
    run.ends_unknown(
        &["SourceIdentified", "SourceReadOnly"],
        &["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"],
        IMAGE,
        Command::Dump,
    )
    .await
}

/// No node satisfies the copy's requests: the run waits for its pod, and ends at the deadline with
/// the scheduler's reason.
pub(crate) async fn unschedulable_pod_ends_at_the_deadline(env: &Environment) -> Result<()> {
    let mut request = env.small("unschedulable");
    request["spec"]["postgres"]["resources"] = json!({"requests": {"memory": "4Ti"}});
    request["spec"]["deadlines"] = json!({"total": "5m", "start": "20s", "dump": "1s"});
    let run = Run::start(env, request).await?;
    run.ends_unknown(
        &["DiskHeadroom", "SourceIdentified", "SourceReadOnly"],
        &["Unschedulable"],
        "Insufficient memory",
        Command::Dump,
    )
    .await
}

/// Some specs that the apiserver refuses; the chart's tests have every rule.
pub(crate) async fn bad_specs_are_refused(env: &Environment) -> Result<()> {
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
            "/spec/source/network",
            json!({"cidr": "0.0.0.0/0"}),
            "network.cidr may have 256 IPv4 addresses (/24) or one IPv6 subnet (/64) at most",
        ),
        (
            "/metadata/name",
            json!("n".repeat(41)),
            "metadata.name may have at most 40 characters",
        ),
    ];
    let api: Api<DryRun> = Api::namespaced(env.alice.clone(), NAMESPACE);
    for (at, value, sentence) in cases {
        let mut request = env.small("bad");
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

pub(crate) async fn spec_change_is_refused(env: &Environment) -> Result<()> {
    let run = Run::request(env, env.small("unchangeable")).await?;
    let change = Patch::Merge(json!({"spec": {"source": {"port": 5433}}}));
    let api = run.api();
    refused("spec is immutable: a new run is a new DryRun", async || {
        api.patch(&run.name, &PatchParams::default(), &change)
            .await
            .map(drop)
    })
    .await
}

/// Asserts a refusal with this message.
async fn refused(sentence: &str, attempt: impl AsyncFn() -> kube::Result<()>) -> Result<()> {
    // A different refusal may come first, as role bindings and policies take a moment to become
    // effective.
    eventually(sentence, async || match attempt().await {
        Err(kube::Error::Api(status)) if status.message.contains(sentence) => Ok(Ok(())),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(Err(status.message.clone())),
        Err(error) => Err(error.into()),
        Ok(()) => anyhow::bail!("accepted; expected: {sentence}"),
    })
    .await
}

/// Asserts that it has no report, no objects and no finalizer, and that the operator only wrote its
/// status.
pub(crate) async fn never_began(run: &Run<'_>) -> Result<()> {
    if let Some(found) = run.api().get_opt(&run.name).await? {
        ensure!(
            found.finalizers().is_empty(),
            "it has the finalizers {:?}",
            found.finalizers()
        );
    }
    let reports: Api<DryRunReport> = Api::namespaced(run.env.client.clone(), &run.namespace);
    let reports = reports.list(&ListParams::default()).await?;
    ensure!(
        reports
            .iter()
            .all(|report| report.spec.dry_run_uid != run.uid),
        "it has a report"
    );
    if let Some(log) = run.env.audit_log() {
        let status =
            |doing: &audit::Write| doing.verb == "patch" && doing.resource == "dryruns/status";
        let prefix = format!("{}-", run.name);
        // Covers every namespace and verb, including connections to pods. The audit log may lag
        // behind the API.
        let requests = eventually("the audit log contains it", async || {
            let mut requests = audit::requests(&log, run.env.since)?;
            requests.retain(|doing| doing.name == run.name || doing.name.starts_with(&prefix));
            Ok(if requests.iter().any(status) {
                Ok(requests)
            } else {
                Err("no status of it".to_owned())
            })
        })
        .await?;
        let others: Vec<_> = requests
            .iter()
            .filter(|doing| !status(doing) && doing.resource != "events")
            .collect();
        ensure!(others.is_empty(), "the operator wrote {others:?}");
    }
    run.is_gone().await
}
