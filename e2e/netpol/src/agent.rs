//! The agent: what it watches, when it renders, and whom it lets wait.

use std::collections::BTreeMap;
use std::future::{Future, pending, ready};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::stream::{BoxStream, StreamExt, select_all};
use k8s_openapi::api::core::v1::{Namespace, Pod as ApiPod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, error, info, warn};

use crate::model::{Pod, Policy, World};
use crate::nft;
use crate::render::{REMOVAL, render};
use crate::sandbox::{ADMISSION_DEADLINE, ADMITTED, Sandbox};
use crate::table::{Node, Table};

/// Changes come in bursts (a policy and its pods, a pod's status and its endpoints): those within this time are loaded as one.
const COALESCE: Duration = Duration::from_millis(5);

/// How long to wait after the kernel refused a table.
const RETRY: Duration = Duration::from_secs(1);

/// A sandbox that waits for its rules. The answer may come too late: then nobody listens to it any more.
struct Waiting {
    sandbox: Sandbox,
    admitted: oneshot::Sender<()>,
}

/// Enforces the policies of `node` until `shutdown` is ready; then takes the table away.
///
/// # Errors
/// If a watch cannot be kept or the table cannot be removed at the end. Failures in between are logged and tried again.
pub async fn enforce(
    client: Client,
    node: Node,
    socket: &Socket,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let (pods, pod_changes) = watch::<ApiPod>(&client);
    let (namespaces, namespace_changes) = watch::<Namespace>(&client);
    let (policies, policy_changes) = watch::<NetworkPolicy>(&client);
    let mut changes = select_all([pod_changes, namespace_changes, policy_changes]);
    let mut enforcer = Enforcer {
        node,
        pods: pods.clone(),
        namespaces: namespaces.clone(),
        policies: policies.clone(),
        addresses: BTreeMap::new(),
        waiting: Vec::new(),
        loaded: String::new(),
    };

    // Until everything is known, a table would leave some policies out: what an earlier agent left is better, and no sandbox starts.
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
    let mut admission = pin!(socket.admit(sender));
    loop {
        tokio::select! {
            // In this order, so that a table is made of everything that has arrived.
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
                enforcer.waiting.push(waiting);
                due = sooner(due, COALESCE);
            }
            () = at(due), if complete => {
                due = match enforcer.update().await {
                    Ok(()) => None,
                    Err(error) => {
                        error!(error = format!("{error:#}"), "table not loaded");
                        Some(Instant::now() + RETRY)
                    }
                };
            }
        }
    }
    nft::load(REMOVAL).await.context("cannot remove the table")
}

/// Enforces nothing and lets every sandbox start, until `shutdown` is ready.
///
/// # Errors
/// If the table of an earlier agent cannot be removed.
pub async fn permit(socket: &Socket, shutdown: impl Future<Output = ()>) -> Result<()> {
    nft::load(REMOVAL)
        .await
        .context("cannot remove the table")?;
    let (sender, mut sandboxes) = mpsc::channel::<Waiting>(64);
    let admit_all = async {
        while let Some(waiting) = sandboxes.recv().await {
            waiting.admit();
        }
    };
    tokio::select! {
        () = shutdown => Ok(()),
        result = socket.admit(sender) => result,
        () = admit_all => Ok(()),
    }
}

/// What is due already, or `delay` from now if that is earlier.
fn sooner(due: Option<Instant>, delay: Duration) -> Option<Instant> {
    let soon = Instant::now() + delay;
    Some(due.map_or(soon, |due| due.min(soon)))
}

/// Ready at `due`; never without one.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

/// A cache of all objects of a kind, and a stream that must be polled to keep it current and yields whenever it has changed.
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

/// The caches, and what of them is in the kernel.
struct Enforcer {
    node: Node,
    pods: Store<ApiPod>,
    namespaces: Store<Namespace>,
    policies: Store<NetworkPolicy>,
    /// What the CNI plugin said, by pod UID.
    addresses: BTreeMap<String, Ipv4Addr>,
    waiting: Vec<Waiting>,
    loaded: String,
}

impl Enforcer {
    /// Brings the kernel up to the caches, and admits the sandboxes whose rules are then in force.
    async fn update(&mut self) -> Result<()> {
        let started = Instant::now();
        let pods: BTreeMap<_, _> = self
            .pods
            .state()
            .into_iter()
            .filter_map(|pod| Some((pod.metadata.uid.clone()?, pod)))
            .collect();
        self.addresses.retain(|uid, _| pods.contains_key(uid));
        self.waiting.retain(|waiting| !waiting.admitted.is_closed());
        // A pod that is not in the cache has no labels yet: its sandbox waits for the watch.
        let known = |waiting: &mut Waiting| pods.contains_key(&waiting.sandbox.uid);
        let admissible: Vec<_> = self.waiting.extract_if(.., known).collect();
        self.addresses.extend(
            admissible
                .iter()
                .map(|Waiting { sandbox, .. }| (sandbox.uid.clone(), sandbox.address)),
        );

        let table = Table::compile(&self.node, &self.world(&pods));
        let ruleset = render(&table);
        if ruleset != self.loaded {
            let rendered = started.elapsed();
            if let Err(error) = nft::load(&ruleset).await {
                self.waiting.extend(admissible);
                return Err(error);
            }
            let (rendered, took) = (rendered.as_micros(), started.elapsed().as_micros());
            info!(
                pods = table.pods.len(),
                bytes = ruleset.len(),
                rendered_us = rendered,
                took_us = took,
                "table loaded"
            );
            self.loaded = ruleset;
        }
        admissible.into_iter().for_each(Waiting::admit);
        Ok(())
    }

    fn world(&self, pods: &BTreeMap<String, Arc<ApiPod>>) -> World {
        let policies = self.policies.state().into_iter().map(|policy| {
            Policy::try_from(policy.as_ref()).unwrap_or_else(|error| {
                warn!(policy = %ObjectRef::from_obj(policy.as_ref()), %error, "policy not understood: its namespace is isolated");
                Policy::isolating(&policy)
            })
        });
        World::new(
            pods.iter()
                .filter_map(|(uid, pod)| Pod::read(pod, self.addresses.get(uid).copied())),
            self.namespaces
                .state()
                .iter()
                .map(|namespace| (namespace.name_any(), namespace.labels().clone())),
            policies,
        )
    }
}

impl Waiting {
    fn admit(self) {
        debug!(sandbox = %self.sandbox, "admitted");
        // If the plugin has given up, the kubelet tries again.
        let _ = self.admitted.send(());
    }
}

/// The socket that the CNI plugin asks at. Its file goes with the value.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    listener: UnixListener,
}

impl Socket {
    /// Binds the socket, in place of one that a killed agent left.
    ///
    /// # Errors
    /// If the path cannot be bound.
    pub fn bind(path: &Path) -> Result<Self> {
        if path.exists() {
            std::fs::remove_file(path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
        let listener = UnixListener::bind(path)
            .with_context(|| format!("cannot listen at {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            listener,
        })
    }

    /// Answers the plugin's requests, each by a task of its own.
    async fn admit(&self, sender: mpsc::Sender<Waiting>) -> Result<()> {
        loop {
            let (plugin, _) = self
                .listener
                .accept()
                .await
                .context("cannot accept at the CNI socket")?;
            let sender = sender.clone();
            tokio::spawn(async move {
                if let Err(error) = answer(plugin, sender).await {
                    warn!(error = format!("{error:#}"), "sandbox not admitted");
                }
            });
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Nothing can be done about a failure, and `bind` removes what is left.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Serves one request of the plugin.
async fn answer(plugin: UnixStream, sender: mpsc::Sender<Waiting>) -> Result<()> {
    let mut plugin = BufReader::new(plugin);
    let mut line = String::new();
    timeout(ADMISSION_DEADLINE, plugin.read_line(&mut line))
        .await
        .context("no request")??;
    let verdict = match line.parse::<Sandbox>() {
        Ok(sandbox) => ask(sandbox, sender).await,
        Err(malformed) => Err(malformed.into()),
    };
    let answer = match &verdict {
        Ok(()) => ADMITTED.to_owned(),
        Err(error) => format!("{error:#}"),
    };
    plugin.write_all(format!("{answer}\n").as_bytes()).await?;
    verdict
}

/// Waits until the sandbox's rules are in force.
async fn ask(sandbox: Sandbox, sender: mpsc::Sender<Waiting>) -> Result<()> {
    let (admitted, answer) = oneshot::channel();
    let name = sandbox.to_string();
    let stopping = "the agent is stopping";
    sender
        .send(Waiting { sandbox, admitted })
        .await
        .context(stopping)?;
    match timeout(ADMISSION_DEADLINE, answer).await {
        Ok(answer) => answer.context(stopping),
        Err(_) => bail!("no rules in time for {name}"),
    }
}
