//! Approvals are bound to the plan that was shown, and count only while the apiserver checks
//! approvals.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dryrun_core::api::{DryRunApproval, DryRunApprovalSpec, DryRunReport, Outcome};
use dryrun_e2e::{
    cluster::apply,
    fixture::{APPROVER, PRODUCTION},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        admissionregistration::v1::ValidatingAdmissionPolicyBinding,
        core::v1::{ConfigMap, Secret},
        events::v1::Event,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    environment::{DATABASE, Environment, NAMESPACE, SOURCE, eventually, source},
    run::{Run, condition, is, plan_hash, status},
    waiting,
};

/// The operator reconciles a DryRun once more after writing its status.
const SETTLED: Duration = Duration::from_secs(2);
/// Binding of the policy that checks approvals.
const BINDING: &str = "dryrun-approver";

/// The file changes between approval and start.
pub(crate) async fn config_map_change_voids_it(env: &Environment) -> Result<()> {
    let map = |text: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "changing", "namespace": NAMESPACE}, "data": {"file": text}});
    apply(&env.client, &map("as it was shown").to_string()).await?;
    let mut request = env.small("input-changes");
    request["spec"]["harness"]["inputs"] = json!([{"configMapRef": {"name": "changing", "key": "file"}, "mountPath": "/opt/changing", "sha256": "0".repeat(64)}]);
    changed(env, request, "ConfigMap key changing/file", async || {
        let api: Api<ConfigMap> = Api::namespaced(env.client.clone(), NAMESPACE);
        let other = format!("and as it would run, {}", Timestamp::now());
        let patch = Patch::Merge(json!({"data": {"file": other}}));
        api.patch("changing", &PatchParams::default(), &patch)
            .await?;
        Ok(())
    })
    .await
}

/// Any change of a Secret changes its resourceVersion; its contents are not part of a plan.
pub(crate) async fn secret_change_voids_it(env: &Environment) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "stringData": {"password": "of no use"},
        "metadata": {"name": "touched", "namespace": NAMESPACE, "annotations": {SOURCE: source("dump_ro", &format!("postgres.{PRODUCTION}.svc"), DATABASE)}},
    });
    apply(&env.client, &secret.to_string()).await?;
    let mut request = env.small("secret-touched");
    request["spec"]["source"]["passwordSecretRef"] = json!({"name": "touched", "key": "password"});
    changed(env, request, "Secret touched", async || {
        let api: Api<Secret> = Api::namespaced(env.client.clone(), NAMESPACE);
        let patch = Patch::Merge(
            json!({"metadata": {"annotations": {"example.com/touched": Timestamp::now()}}}),
        );
        api.patch("touched", &PatchParams::default(), &patch)
            .await?;
        Ok(())
    })
    .await
}

/// Waits for a plan, lets `change` change a pinned input, and approves the plan as it was shown:
/// the run is void, and the condition names the input.
async fn changed(
    env: &Environment,
    request: Value,
    input: &str,
    change: impl AsyncFn() -> Result<()>,
) -> Result<()> {
    let run = Run::request(env, request).await?;
    let mut planned = run
        .until("it waits for approval", |run| {
            is(run, "Approved", "Unknown", "AwaitingApproval")
        })
        .await?;
    sleep(SETTLED).await;
    let shown = loop {
        let shown = plan_hash(&planned).context("no plan")?.to_owned();
        change().await?;
        // On a busy machine the operator's second reconciliation may only happen now and show the
        // changed plan; then the input must change once more.
        let another = run.until("another plan is shown", |run| {
            plan_hash(run).is_some_and(|hash| hash != shown)
        });
        tokio::select! {
            biased;
            approved = run.approve_plan(&shown) => {
                approved?;
                break shown;
            }
            replanned = another => planned = replanned?,
        }
    };
    let ended = run.end().await?;
    let status = status(&ended);
    let approved = condition(&status, "Approved")?;
    ensure!(
        is(&ended, "Approved", "False", "PlanChanged")
            && status.outcome == Some(Outcome::Failed)
            && is(&ended, "Stalled", "True", "Failed"),
        "{}",
        run.diagnostics().await
    );
    for expected in [input, &shown[..19]] {
        ensure!(
            approved.message.contains(expected),
            "the message lacks {expected:?}: {}",
            approved.message
        );
    }
    waiting::never_began(&run).await
}

/// The apiserver admits it, since no DryRun of the namespace contradicts it. An event informs its
/// creator that it approves nothing.
pub(crate) async fn of_unknown_run_is_reported(env: &Environment) -> Result<()> {
    // In a namespace without any DryRun, the apiserver refuses every approval.
    let run = Run::request(env, env.small("another-run")).await?;
    let name = format!("of-nothing-{}", Timestamp::now().as_second());
    let approval = DryRunApproval::new(
        &name,
        DryRunApprovalSpec {
            dry_run_name: "never-asked-for".into(),
            dry_run_uid: "0".repeat(36),
            plan_hash: format!("sha256:{}", "0".repeat(64)),
            approved_by: APPROVER.into(),
            expires_at: Time(Timestamp::now() + SignedDuration::from_hours(1)),
        },
    );
    let approvals: Api<DryRunApproval> = Api::namespaced(env.bob.clone(), NAMESPACE);
    eventually("the approval is accepted", async || {
        match approvals.create(&PostParams::default(), &approval).await {
            Err(kube::Error::Api(status)) if status.is_forbidden() => {
                Ok(Err(status.message.clone()))
            }
            other => Ok(Ok(other.map(drop)?)),
        }
    })
    .await?;
    let events: Api<Event> = Api::namespaced(env.client.clone(), NAMESPACE);
    eventually("an event reports it", async || {
        let of_it = ListParams::default().fields(&format!("regarding.name={name}"));
        let found = events.list(&of_it).await?.items;
        let reported = found.iter().any(|event| {
            event.reason.as_deref() == Some("NoSuchDryRun")
                && event
                    .note
                    .as_deref()
                    .is_some_and(|note| note.contains("never-asked-for"))
        });
        Ok(if reported {
            Ok(())
        } else {
            Err(format!("{} events", found.len()))
        })
    })
    .await?;
    run.api()
        .delete(&run.name, &DeleteParams::default())
        .await?;
    waiting::never_began(&run).await
}

/// Without the binding, the apiserver admits any approval. The operator detects this and ignores
/// approvals created meanwhile, also after the binding is restored.
pub(crate) async fn does_not_count_without_policies(env: &Environment) -> Result<()> {
    let run = Run::request(env, env.small("unenforced")).await?;
    run.until("it waits for approval", |run| {
        is(run, "Approved", "Unknown", "AwaitingApproval")
            && is(run, "ApprovalEnforced", "True", "Enforced")
    })
    .await?;
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(env.client.clone());
    let found = bindings.get(BINDING).await?;
    bindings.delete(BINDING, &DeleteParams::default()).await?;
    let unchecked = async {
        run.approve().await?;
        let seen = run
            .until("the operator has seen it", |run| {
                is(run, "ApprovalEnforced", "False", "PolicyMissing")
            })
            .await?;
        ensure!(
            is(&seen, "Approved", "Unknown", "ApprovalNotEnforced"),
            "{}",
            run.diagnostics().await
        );
        let status = status(&seen);
        let message = &condition(&status, "ApprovalEnforced")?.message;
        ensure!(
            message.contains("PolicyBinding dryrun-approver") && message.contains("helm upgrade"),
            "the message is {message}"
        );
        anyhow::Ok(())
    }
    .await;
    let again = ValidatingAdmissionPolicyBinding {
        metadata: ObjectMeta {
            name: Some(found.name_any()),
            labels: Some(found.labels().clone()),
            annotations: Some(found.annotations().clone()),
            ..ObjectMeta::default()
        },
        ..found
    };
    bindings.create(&PostParams::default(), &again).await?;
    unchecked?;

    run.until("the policies are in force again", |run| {
        is(run, "ApprovalEnforced", "True", "Enforced")
            && is(run, "Approved", "Unknown", "ApprovalOlderThanPolicy")
    })
    .await?;
    let reports: Api<DryRunReport> = Api::namespaced(env.client.clone(), NAMESPACE);
    let report = run.id().report();
    ensure!(reports.get_opt(&report).await?.is_none(), "it has begun");
    run.is_gone().await?;

    // Timestamps have whole seconds: only a later second is certainly newer than the binding.
    sleep(SETTLED).await;
    let planned = run.api().get(&run.name).await?;
    run.approve_as("unenforced-again", plan_hash(&planned).context("no plan")?)
        .await?;
    run.until("it is approved", |run| {
        is(run, "Approved", "True", "Approved")
    })
    .await?;
    run.api()
        .delete(&run.name, &DeleteParams::default())
        .await?;
    eventually("it is gone", async || {
        Ok(match run.api().get_opt(&run.name).await? {
            None => Ok(()),
            Some(_) => Err(run.diagnostics().await),
        })
    })
    .await?;
    run.is_gone().await
}
