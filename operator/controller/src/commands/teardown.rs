//! C-13: the last look at production, and the proof that nothing is left.

use dryrun_core::agent_api::protocol::{Task, TaskResult};
use dryrun_core::agent_api::tasks::IdentifyTask;
use dryrun_core::commands::FoundLeft;
use dryrun_core::problem::Problem;
use dryrun_core::run::container::Container;
use dryrun_core::run::facts::SourceIdentity;
use dryrun_core::run::object::Object;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::ListParams;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::time::Duration;

use super::{dump, preflight};
use crate::jobs::{Scope, confused, nonce};

/// Interval between the two looks of the net-zero proof: long enough for a controller that lags to
/// show itself.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
/// The longest pause before two more looks.
const LONGEST_BETWEEN_LOOKS: Duration = Duration::from_secs(5);

/// Reads production's identity again.
pub(super) async fn identify(scope: &Scope) -> Result<SourceIdentity, Problem> {
    let task = Task::Identify(IdentifyTask {
        server: dump::source(&scope.spec.source).await?,
    });
    // A new id each time: it is read what production is now, and an agent repeats what it has read
    // before.
    let id = format!("identify-{}", nonce());
    let agent = scope.agent(Container::Identity).await?;
    let TaskResult::Identify(identity) = agent.run(&id, &task).await? else {
        return Err(confused());
    };
    Ok(identity)
}

/// Looks by exact name and by label until two looks find nothing, volumes included. Objects that
/// are deleted late, such as volumes, are looked for at growing intervals, and reported when the
/// job's time is over.
pub(super) async fn prove_net_zero(scope: &Scope) -> Result<FoundLeft, Problem> {
    let mut pause = BETWEEN_LOOKS;
    loop {
        let first = left(scope)
            .await
            .map_err(|e| Problem::transient("Unreadable", e))?;
        tokio::time::sleep(BETWEEN_LOOKS).await;
        let second = left(scope)
            .await
            .map_err(|e| Problem::transient("Unreadable", e))?;
        let mut left: Vec<String> = [first, second].concat();
        left.sort();
        left.dedup();
        // As long again as the next pause for the looks themselves.
        let over = Timestamp::now() + 2 * pause + BETWEEN_LOOKS > scope.deadline;
        if left.is_empty() || over {
            return Ok(FoundLeft(left));
        }
        tracing::info!(run = %scope.run.uid, ?left, "still there");
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(LONGEST_BETWEEN_LOOKS);
    }
}

/// Returns the remaining objects of the run. Lists leave resourceVersion unset: they are consistent
/// reads (KEP-2340).
async fn left(scope: &Scope) -> kube::Result<Vec<String>> {
    let mut left = Vec::new();
    for object in Object::ALL {
        if preflight::holder(scope, object)
            .await?
            .is_some_and(|uid| uid == scope.run.uid)
        {
            left.push(scope.run.reference(object));
        }
    }
    let labelled = ListParams::default().labels(&scope.run.selector());
    let intruders = ListParams::default().labels(&scope.run.intruder_selector());
    let near = &scope.run.namespace;
    left.extend(listed::<Pod>(scope, near, &labelled).await?);
    left.extend(listed::<Pod>(scope, near, &intruders).await?);
    left.extend(listed::<Pod>(scope, &scope.operator.probes_namespace, &labelled).await?);
    left.extend(listed::<PersistentVolumeClaim>(scope, near, &labelled).await?);
    left.extend(listed::<NetworkPolicy>(scope, near, &labelled).await?);
    let volumes: Api<PersistentVolume> = Api::all(scope.client.clone());
    for volume in volumes.list(&ListParams::default()).await? {
        let claim = volume
            .spec
            .as_ref()
            .and_then(|spec| spec.claim_ref.as_ref());
        let claimed = claim
            .and_then(|claim| claim.uid.as_ref())
            .is_some_and(|uid| scope.facts.claims.contains(uid));
        if claimed || scope.facts.volumes.contains(&volume.name_any()) {
            left.push(format!("PersistentVolume/{}", volume.name_any()));
        }
    }
    left.sort();
    left.dedup();
    Ok(left)
}

async fn listed<K>(scope: &Scope, namespace: &str, params: &ListParams) -> kube::Result<Vec<String>>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(scope.client.clone(), namespace);
    Ok(api
        .list_metadata(params)
        .await?
        .iter()
        .map(|o| format!("{}/{}", K::kind(&()), o.name_any()))
        .collect())
}
