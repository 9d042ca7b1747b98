//! Reports are deleted when they have expired, and their evidence with them.

use dryrun_core::api::{DryRunReport, DryRunReportStatus};
use futures::StreamExt;
use jiff::Timestamp;
use kube::api::{DeleteParams, Preconditions};
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action as Requeue;
use kube::runtime::{Controller, WatchStreamExt, reflector, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, call};
use crate::watching;

/// Interval between attempts of a refused delete.
const RETRY: Duration = Duration::from_secs(60);

/// Reports of one page of a list: each may have a megabyte.
const PAGE: u32 = 16;

/// Leaves of a report what retention looks at: all reports are held.
fn strip(report: &mut DeserializeGuard<DryRunReport>) {
    report.managed_fields_mut().clear();
    if let Ok(report) = &mut report.0 {
        report.spec.plan = Value::Null;
        report.status = report.status.take().map(|status| DryRunReportStatus {
            expires_at: status.expires_at,
            ..DryRunReportStatus::default()
        });
    }
}

/// Deletes reports as they expire, until the process is asked to end.
pub async fn run(client: Client) {
    // One report that another version wrote must not keep all others from expiring.
    let reports: Api<DeserializeGuard<DryRunReport>> = Api::all(client.clone());
    let pages = watching().page_size(PAGE);
    let (store, writer) = reflector::store();
    let seen = reflector(writer, watcher(reports, pages).modify(strip)).applied_objects();
    Controller::for_stream(seen, store)
        .graceful_shutdown_on(crate::shutdown::requested())
        .run(reconcile, error_policy, Arc::new(client))
        .for_each(|result| async {
            if let Err(error) = result {
                tracing::debug!(%error, "retention pass ended with an error");
            }
        })
        .await;
}

async fn reconcile(
    report: Arc<DeserializeGuard<DryRunReport>>,
    client: Arc<Client>,
) -> Result<Requeue, Error> {
    let Ok(report) = report.0.as_ref() else {
        tracing::warn!(
            name = report.name_any(),
            "a report of another version cannot be read and is left alone"
        );
        return Ok(Requeue::await_change());
    };
    let expires = report
        .status
        .as_ref()
        .and_then(|status| status.expires_at.clone());
    let (Some(expires), None) = (expires, &report.metadata.deletion_timestamp) else {
        return Ok(Requeue::await_change());
    };
    let left = expires.0.duration_since(Timestamp::now());
    if let Ok(left) = Duration::try_from(left)
        && !left.is_zero()
    {
        return Ok(Requeue::requeue(left));
    }
    let name = report.name_any();
    let api: Api<DryRunReport> =
        Api::namespaced((*client).clone(), &report.namespace().unwrap_or_default());
    let params = DeleteParams::default().preconditions(Preconditions {
        uid: report.uid(),
        resource_version: None,
    });
    tracing::info!(name, expired = %expires.0, "deleting a report");
    match call(
        format!("delete DryRunReport/{name}"),
        api.delete(&name, &params),
    )
    .await
    {
        Err(Error::Kube {
            source: kube::Error::Api(status),
            ..
        }) if status.is_not_found() => Ok(Requeue::await_change()),
        other => other.map(|_| Requeue::await_change()),
    }
}

fn error_policy(
    report: Arc<DeserializeGuard<DryRunReport>>,
    error: &Error,
    _: Arc<Client>,
) -> Requeue {
    tracing::warn!(name = report.name_any(), %error, "an expired report cannot be deleted");
    Requeue::requeue(RETRY)
}
