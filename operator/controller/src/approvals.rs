//! Approvals of DryRuns that are not there. No DryRun of the namespace contradicts one, so the
//! apiserver lets it through; its UID makes it worthless, and an event tells its author so.

use dryrun_core::api::{DryRun, DryRunApproval};
use futures::{StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use kube::core::DeserializeGuard;
use kube::runtime::events::{Event, EventType, Recorder};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};

use crate::error::{Error, call};
use crate::watching;

/// Maximum age of an approval that gets an event: one whose DryRun has been deleted since is no
/// mistake.
const RECENT: SignedDuration = SignedDuration::from_mins(1);

/// Publishes an event for every approval of no DryRun, until the process is asked to end.
pub async fn run(client: Client, recorder: Recorder) {
    let approvals: Api<DeserializeGuard<DryRunApproval>> = Api::all(client.clone());
    let (client, recorder) = (&client, &recorder);
    let look = watcher(approvals, watching())
        .default_backoff()
        .applied_objects()
        .inspect_err(|error| tracing::debug!(%error, "watch interrupted"))
        .filter_map(|approval| async move { approval.ok()?.0.ok() })
        .for_each(|approval| async move {
            if let Err(error) = tell(client, recorder, &approval).await {
                tracing::debug!(%error, "an approval was not looked at");
            }
        });
    tokio::select! {
        () = look => {}
        () = crate::shutdown::requested() => {}
    }
}

async fn tell(
    client: &Client,
    recorder: &Recorder,
    approval: &DryRunApproval,
) -> Result<(), Error> {
    let namespace = approval.namespace().unwrap_or_default();
    let created = approval.creation_timestamp().map(|time| time.0);
    let recent = created.is_some_and(|at| Timestamp::now().duration_since(at) < RECENT);
    let runs: Api<DryRun> = Api::namespaced(client.clone(), &namespace);
    let named = &approval.spec.dry_run_name;
    if !recent
        || call("look for a DryRun", runs.get_metadata_opt(named))
            .await?
            .is_some()
    {
        return Ok(());
    }
    let event = Event {
        type_: EventType::Warning,
        reason: "NoSuchDryRun".into(),
        note: Some(format!(
            "there is no DryRun {named} in {namespace}: this approves nothing, also not one of that name that comes later"
        )),
        action: "Approve".into(),
        secondary: None,
    };
    call(
        "publish an event",
        recorder.publish(&event, &approval.object_ref(&())),
    )
    .await
}
