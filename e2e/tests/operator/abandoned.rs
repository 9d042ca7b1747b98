//! Runs that are abandoned by force.

use anyhow::{Result, ensure};
use dryrun_core::{
    api::Outcome,
    commands::Command,
    run::{
        id::{ABANDONED_BY, RUN_LABEL},
        object::Object,
    },
};
use dryrun_e2e::cluster::apply;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use crate::{
    environment::{Environment, NAMESPACE, eventually},
    run::{Run, condition, is, status},
};

/// Bound to dryrun-abandoner.
const CAROL: &str = "carol";
/// A finalizer that no controller removes.
const HOLD: &str = "example.com/hold";

/// The teardown cannot complete, because a foreign finalizer holds the run's volume. Carol abandons
/// the run, and the condition lists the remaining object.
pub(crate) async fn hanging_teardown_can_be_abandoned(env: &Environment) -> Result<()> {
    let people = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "abandoners", "namespace": NAMESPACE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "dryrun-abandoner"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": CAROL}],
    });
    apply(&env.client, &people.to_string()).await?;
    let run = Run::start(env, env.small("abandoned")).await?;
    run.at(Command::Restore).await?;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(env.client.clone(), NAMESPACE);
    let claim = Object::DataVolume.name(&run.name, &run.uid);
    let merge = PatchParams::default();
    let held = json!({"metadata": {"finalizers": ["kubernetes.io/pvc-protection", HOLD]}});
    claims.patch(&claim, &merge, &Patch::Merge(held)).await?;

    let hung = hangs(env, &run, &claim).await;
    let abandoned = match hung {
        Ok(()) => is_abandoned(env, &run, &claim).await,
        Err(error) => Err(error),
    };
    // The claim must be released even if the test has failed.
    let released = json!({"metadata": {"finalizers": null}});
    if claims.get_opt(&claim).await?.is_some() {
        claims
            .patch(&claim, &merge, &Patch::Merge(released))
            .await?;
    }
    abandoned?;
    eventually("nothing is left", async || {
        Ok(run.is_gone().await.map_err(|error| error.to_string()))
    })
    .await?;
    let arguments = [
        "delete",
        "dryrun",
        &run.name,
        "--namespace",
        NAMESPACE,
        "--timeout=20s",
    ];
    env.kubectl.run(&arguments).await.map(drop)
}

/// Waits until only the held claim is left.
async fn hangs(env: &Environment, run: &Run<'_>, claim: &str) -> Result<()> {
    run.at(Command::Teardown).await?;
    let pods: Api<Pod> = Api::namespaced(env.client.clone(), NAMESPACE);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(env.client.clone(), NAMESPACE);
    let own = ListParams::default().labels(&format!("{RUN_LABEL}={}", run.uid));
    eventually(
        "its pods are gone and its volume is being deleted",
        async || {
            let left = pods.list_metadata(&own).await?.items.len();
            let going = claims
                .get(claim)
                .await?
                .metadata
                .deletion_timestamp
                .is_some();
            let seen = format!("{left} pods, the claim terminating: {going}");
            Ok(if left == 0 && going {
                Ok(())
            } else {
                Err(seen)
            })
        },
    )
    .await?;
    ensure!(
        status(&run.api().get(&run.name).await?).outcome.is_none(),
        "it has ended\n{}",
        run.diagnostics().await
    );
    Ok(())
}

async fn is_abandoned(env: &Environment, run: &Run<'_>, claim: &str) -> Result<()> {
    let carol = env
        .fixture
        .cluster
        .client_as(CAROL, &["system:authenticated"])
        .await?;
    let by = |name: &str| Patch::Merge(json!({"metadata": {"annotations": {ABANDONED_BY: name}}}));
    let api: Api<dryrun_core::api::DryRun> = Api::namespaced(carol, NAMESPACE);
    // A new role binding takes a moment to become effective.
    eventually("carol may abandon it", async || {
        match api
            .patch(&run.name, &PatchParams::default(), &by(CAROL))
            .await
        {
            Err(kube::Error::Api(status)) if status.is_forbidden() => {
                Ok(Err(status.message.clone()))
            }
            other => Ok(Ok(other.map(drop)?)),
        }
    })
    .await?;
    let ended = run.end().await?;
    let status = status(&ended);
    ensure!(
        status.outcome == Some(Outcome::Abandoned)
            && is(&ended, "NetZero", "False", "Abandoned")
            && is(&ended, "Succeeded", "False", "Abandoned")
            && ended.finalizers().is_empty(),
        "{}",
        run.diagnostics().await
    );
    let message = &condition(&status, "NetZero")?.message;
    ensure!(
        message.contains(CAROL) && message.contains(&format!("PersistentVolumeClaim/{claim}")),
        "NetZero says {message}"
    );
    let report = run.report().await?.status.unwrap_or_default();
    ensure!(
        report.outcome == Some(Outcome::Abandoned) && report.finished_at.is_some(),
        "the report's outcome is {:?}",
        report.outcome
    );
    Ok(())
}
