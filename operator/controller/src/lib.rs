//! The DryRun operator: observes the cluster, asks the core what to do, does it, reports.
//!
//! A library, so that whole runs can be driven below a cluster; the binary only reads options.

pub mod admission_policies;
mod agent_client;
pub mod approvals;
mod commands;
pub mod context;
mod copy;
pub mod error;
pub mod health;
pub mod jobs;
mod objects;
pub mod pinned_operator;
pub mod reports;
pub mod run;
pub mod shutdown;
#[cfg(test)]
mod testing;

pub use context::{Context, Settings};

use hyper::Request;
use kube::Client;
use kube::client::Body;
use kube::runtime::watcher;
use std::sync::Arc;
use std::time::Duration;

use jobs::PodAccess;

/// Seconds after which the apiserver ends a watch. A connection that died without a word is given
/// up 5 s later and taken up again: well before the deadline of any command that waits for a pod.
const WATCH: u32 = 25;

/// Configuration of a watch.
pub(crate) fn watching() -> watcher::Config {
    watcher::Config::default().timeout(WATCH)
}

/// Time until an answer must begin. No call waits for so long; only a watch would wait longer.
const ANSWER: Duration = Duration::from_secs(30);

/// The client, with a deadline for the begin of every answer: neither kube nor its watches have
/// one.
fn answered(client: Client) -> Client {
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |request: Request<Body>| {
        let client = client.clone();
        async move {
            match tokio::time::timeout(ANSWER, client.send(request)).await {
                Ok(answer) => answer.map_err(tower::BoxError::from),
                Err(late) => Err(late.into()),
            }
        }
    });
    Client::new(service, namespace)
}

/// Runs all controllers until the process is asked to end.
pub async fn operate(client: Client, settings: Settings, access: Arc<dyn PodAccess>) {
    let client = answered(client);
    let (context, ended) = Context::new(client.clone(), settings, access);
    let recorder = context.recorder.clone();
    tokio::join!(
        run::run(context, ended),
        reports::run(client.clone()),
        approvals::run(client, recorder)
    );
}
