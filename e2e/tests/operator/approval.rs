//! Approvals are bound to the plan that was shown, and count only while the apiserver checks
//! approvals.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dryrun_core::api::{DryRunApproval, DryRunApprovalSpec, DryRunReport, Outcome};
use dryrun_e2e::{cluster::apply, fixture::APPROVER};
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
    environment::{NAMESPACE, Stage, soon},
    run::{Run, condition, is, plan_hash, status},
    waiting,
};

/// The operator reconciles a DryRun once more after writing its status.
const SETTLED: Duration = Duration::from_secs(2);
/// Binding of the policy that checks approvals.
const BINDING: &str = "dryrun-approver";

/// The file changes between approval and start.
pub(crate) async fn config_map_change_voids_it(stage: &Stage) -> Result<()> {
    let map = |text: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "changing", "namespace": NAMESPACE}, "data": {"file": text}});
    apply(&stage.client, &map("as it was shown").to_string()).await?;
    let mut request = stage.small("input-changes");
    request["spec"]["harness"]["inputs"] = json!([{"configMapRef": {"name": "changing", "key": "file"}, "mountPath": "/opt/changing", "sha256": "0".repeat(64)}]);
    changed(stage, request, "ConfigMap key changing/file", async || {
        let api: Api<ConfigMap> = Api::namespaced(stage.client.clone(), NAMESPACE);
        let other = format!("and as it would run, {}", Timestamp::now());
        let patch = Patch::Merge(json!({"data": {"file": other}}));
        api.patch("changing", &PatchParams::default(), &patch)
            .await?;
        Ok(())
    })
    .await
}

/// Any change of a Secret changes its resourceVersion; its contents are not part of a plan.
pub(crate) async fn secret_change_voids_it(stage: &Stage) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "touched", "namespace": NAMESPACE}, "stringData": {"password": "of no use"},
    });
    apply(&stage.client, &secret.to_string()).await?;
    let mut request = stage.small("secret-touched");
    request["spec"]["source"]["passwordSecretRef"] = json!({"name": "touched", "key": "password"});
    changed(stage, request, "Secret touched", async || {
        let api: Api<Secret> = Api::namespaced(stage.client.clone(), NAMESPACE);
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
    stage: &Stage,
    request: Value,
    input: &str,
    change: impl AsyncFn() -> Result<()>,
) -> Result<()> {
    let run = Run::ask(stage, request).await?;
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
        run.story().await
    );
    for told in [input, &shown[..19]] {
        ensure!(
            approved.message.contains(told),
            "it does not tell of {told:?}: {}",
            approved.message
        );
    }
    waiting::never_began(&run).await
}

/// The apiserver admits it, since no DryRun of the namespace contradicts it. An event informs its
/// creator that it approves nothing.
pub(crate) async fn of_unknown_run_is_reported(stage: &Stage) -> Result<()> {
    // In a namespace without any DryRun, the apiserver refuses every approval.
    let run = Run::ask(stage, stage.small("another-run")).await?;
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
    let approvals: Api<DryRunApproval> = Api::namespaced(stage.bob.clone(), NAMESPACE);
    soon("the approval is accepted", async || {
        match approvals.create(&PostParams::default(), &approval).await {
            Err(kube::Error::Api(status)) if status.is_forbidden() => {
                Ok(Err(status.message.clone()))
            }
            other => Ok(Ok(other.map(drop)?)),
        }
    })
    .await?;
    let events: Api<Event> = Api::namespaced(stage.client.clone(), NAMESPACE);
    soon("an event tells of it", async || {
        let of_it = ListParams::default().fields(&format!("regarding.name={name}"));
        let found = events.list(&of_it).await?.items;
        let told = found.iter().any(|event| {
            event.reason.as_deref() == Some("NoSuchDryRun")
                && event
                    .note
                    .as_deref()
                    .is_some_and(|note| note.contains("never-asked-for"))
        });
        Ok(if told {
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
pub(crate) async fn does_not_count_without_policies(stage: &Stage) -> Result<()> {
    let run = Run::ask(stage, stage.small("unenforced")).await?;
    run.until("it waits for approval", |run| {
        is(run, "Approved", "Unknown", "AwaitingApproval")
            && is(run, "ApprovalEnforced", "True", "Enforced")
    })
    .await?;
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(stage.client.clone());
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
            run.story().await
        );
        let status = status(&seen);
        let told = &condition(&status, "ApprovalEnforced")?.message;
        ensure!(
            told.contains("PolicyBinding dryrun-approver") && told.contains("helm upgrade"),
            "it says {told}"
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
    let reports: Api<DryRunReport> = Api::namespaced(stage.client.clone(), NAMESPACE);
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
    soon("it is gone", async || {
        Ok(match run.api().get_opt(&run.name).await? {
            None => Ok(()),
            Some(_) => Err(run.story().await),
        })
    })
    .await?;
    run.is_gone().await
}
