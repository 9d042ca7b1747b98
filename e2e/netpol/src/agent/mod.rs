//! The agent: its watches, the schedule of its updates, and the sandboxes that wait for it.

mod enforcer;
mod socket;

use std::future::{Future, pending, ready};
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::stream::{BoxStream, StreamExt, select_all};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{error, warn};

use crate::nft::Kernel;
use crate::table::Node;
use enforcer::Enforcer;
pub use socket::Socket;
use socket::Waiting;

/// Changes come in bursts (a policy and its pods, a pod's status and its endpoints): those within
/// this time are loaded together.
const COALESCE: Duration = Duration::from_millis(5);

/// Delay before the next attempt after the kernel has refused a table.
const RETRY: Duration = Duration::from_secs(1);

/// Enforces the policies of `node` until `shutdown` is ready; then removes its table.
///
/// # Errors
/// If a watch cannot be kept or the table cannot be removed at the end. Failures in between are
/// logged and tried again.
pub async fn enforce(
    client: Client,
    node: Node,
    socket: &Socket,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let (pods, pod_changes) = watch::<Pod>(&client);
    let (namespaces, namespace_changes) = watch::<Namespace>(&client);
    let (policies, policy_changes) = watch::<NetworkPolicy>(&client);
    let mut changes = select_all([pod_changes, namespace_changes, policy_changes]);
    let mut enforcer = Enforcer::new(node, pods.clone(), namespaces.clone(), policies.clone());

    // Until the caches are complete, a table would omit policies: the table of an earlier agent is
    // kept, and no sandbox starts.
    let mut complete = false;
    let mut listed = pin!(async {
        tokio::try_join!(
            pods.wait_until_ready(),
            namespaces.wait_until_ready(),
            policies.wait_until_ready()
        )
    });
    let mut due: Option<Instant> = None;
    let mut shutdown = pin!(shutdown);
    let (sender, mut sandboxes) = mpsc::channel(64);
    let mut admission = pin!(socket.serve(sender));
    loop {
        tokio::select! {
            // In this order, so that a table includes everything that has arrived.
            biased;
            () = &mut shutdown => break,
            result = &mut admission => return result,
            result = &mut listed, if !complete => {
                result.context("a watch has ended")?;
                complete = true;
                due = Some(Instant::now());
            }
            change = changes.next() => {
                change.context("all watches have ended")?;
                due = sooner(due, COALESCE);
            }
            Some(waiting) = sandboxes.recv() => {
                enforcer.admit(waiting);
                due = sooner(due, COALESCE);
            }
            () = at(due), if complete => {
                due = match enforcer.update().await {
                    Ok(()) => None,
                    Err(error) => {
                        error!(error = format!("{error:#}"), "not up to date");
                        Some(Instant::now() + RETRY)
                    }
                };
            }
        }
    }
    Kernel::clear().await
}

/// Enforces nothing and admits every sandbox, until `shutdown` is ready.
///
/// # Errors
/// If the table of an earlier agent cannot be removed.
pub async fn permit(socket: &Socket, shutdown: impl Future<Output = ()>) -> Result<()> {
    Kernel::clear().await?;
    let (sender, mut sandboxes) = mpsc::channel::<Waiting>(64);
    let admit_all = async {
        while let Some(waiting) = sandboxes.recv().await {
            waiting.admit();
        }
    };
    tokio::select! {
        () = shutdown => Ok(()),
        result = socket.serve(sender) => result,
        () = admit_all => Ok(()),
    }
}

/// The earlier of `due` and `delay` from now.
fn sooner(due: Option<Instant>, delay: Duration) -> Option<Instant> {
    let soon = Instant::now() + delay;
    Some(due.map_or(soon, |due| due.min(soon)))
}

/// Completes at `due`; never without one.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

/// A cache of all objects of a kind, and a stream that must be polled to keep it current and that
/// yields after each change.
fn watch<K>(client: &Client) -> (Store<K>, BoxStream<'static, ()>)
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (store, writer) = reflector::store();
    let events = watcher(Api::<K>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .reflect(writer);
    let changes = events.filter_map(|event| {
        ready(match event {
            Ok(_) => Some(()),
            Err(error) => {
                warn!(kind = %K::kind(&()), error = &error as &dyn std::error::Error, "watch interrupted");
                None
            }
        })
    });
    (store, changes.boxed())
}
