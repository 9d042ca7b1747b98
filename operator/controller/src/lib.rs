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

use kube::Client;
use std::sync::Arc;

use jobs::PodAccess;

/// Runs all controllers until the process is asked to end.
pub async fn operate(client: Client, settings: Settings, access: Arc<dyn PodAccess>) {
    let (context, ended) = Context::new(client.clone(), settings, access);
    let recorder = context.recorder.clone();
    tokio::join!(
        run::run(context, ended),
        reports::run(client.clone()),
        approvals::run(client, recorder)
    );
}
