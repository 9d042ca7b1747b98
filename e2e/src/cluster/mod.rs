//! A Kubernetes cluster for tests and for the demo: a local one from host processes, one that kind makes in Docker, or one that is there
//! already.

mod apply;
mod cgroup;
mod config;
mod control_plane;
mod dns;
mod down;
mod layout;
mod lock;
mod logs;
mod network;
mod node;
mod pki;
mod process;
mod sysctl;
mod up;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::{Deserialize, Serialize};

pub use apply::apply;
pub use layout::{ECHO_PORTS, MAX_NODES, METADATA, OUTSIDE};

use crate::{
    cache::Cache,
    command,
    images::{self, Archive, Image, Workshop},
    packages,
    phase::Progress,
    tools::{Tools, static_binaries},
};
use layout::Node;
use lock::Lock;
use node::Netpol;

/// How a local cluster is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of nodes, 1 to [`MAX_NODES`].
    pub nodes: u8,
    /// Start the NetworkPolicy agent so that it enforces nothing.
    pub permissive: bool,
    /// This crate's program, which serves the cluster's outside when called with `world`.
    pub program: PathBuf,
}

/// A cluster that runs.
#[derive(Clone)]
pub struct Cluster {
    provider: Provider,
    kubeconfig: PathBuf,
    workshop: Workshop,
}

/// Whose cluster it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Provider {
    /// Made of processes of this machine.
    Local(Vec<Node>),
    /// Given by the user.
    Existing,
}

/// What [`Cluster::running`] has to know about a local cluster that was brought up completely.
#[derive(Serialize, Deserialize)]
struct Record {
    nodes: u8,
    boot: String,
}

impl Cluster {
    /// Brings up a local cluster; a failure or an interrupt on the way takes it down again and keeps its logs in the cache.
    ///
    /// # Errors
    /// A cluster runs already, the machine lacks something, or a component fails.
    pub async fn up(options: &Options, progress: &Progress) -> Result<Self> {
        ensure!((1..=MAX_NODES).contains(&options.nodes), "a cluster has 1 to {MAX_NODES} nodes");
        let cache = Cache::open()?;
        packages::ensure(&cache, progress).await?;
        let _lock = Lock::take()?;
        if let Some(record) = Record::of_running()? {
            bail!("a cluster with {} node(s) is running already: use it, or remove it with `cargo cluster down`", record.nodes);
        }
        progress.phase("removing what an earlier cluster left", async |_| down::clean().await).await?;
        let workshop = Workshop { tools: Tools::ensure(&cache, progress).await?, cache, progress: progress.clone() };
        let binaries = static_binaries(&workshop.cache, progress, "netpol", images::NETPOL, images::NETPOL_SOURCES).await?;
        let base = workshop.images(&images::BASE).await?;
        let nodes = Node::first(options.nodes);
        let parts = up::Parts {
            nodes: &nodes,
            tools: &workshop.tools,
            netpol: &Netpol { binaries, permissive: options.permissive },
            images: &base,
            world: options.program.clone(),
        };
        let outcome = tokio::select! {
            outcome = up::up(&parts, progress) => outcome,
            signal = interrupted() => signal.and_then(|()| bail!("interrupted")),
        };
        if let Err(error) = outcome {
            let kept = workshop.cache.directory("failed-up");
            logs::keep(&kept)?;
            down::clean().await.with_context(|| format!("cleaning up after: {error:#}"))?;
            return Err(error.context(format!("the cluster did not come up; its logs are kept in {}", kept.display())));
        }
        Record { nodes: options.nodes, boot: boot()? }.write()?;
        Ok(Self { provider: Provider::Local(nodes), kubeconfig: layout::state("kubeconfig"), workshop })
    }

    /// The local cluster, if one is running.
    ///
    /// # Errors
    /// Its tools are neither in the cache nor can be built.
    pub async fn running(progress: &Progress) -> Result<Option<Self>> {
        let Some(record) = Record::of_running()? else { return Ok(None) };
        Self::with(Provider::Local(Node::first(record.nodes)), layout::state("kubeconfig"), progress).await.map(Some)
    }

    /// The cluster that `KUBECONFIG` names, to be used as it is. The local cluster stays the local one if it is named so.
    ///
    /// # Errors
    /// The tools are neither in the cache nor can be built.
    pub async fn existing(progress: &Progress) -> Result<Option<Self>> {
        let Some(kubeconfig) = std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty()).map(PathBuf::from) else { return Ok(None) };
        if kubeconfig == layout::state("kubeconfig") {
            return Self::running(progress).await;
        }
        Self::with(Provider::Existing, kubeconfig, progress).await.map(Some)
    }

    /// The cluster to use: that of `KUBECONFIG`, else the local one.
    ///
    /// # Errors
    /// As [`Cluster::existing`] and [`Cluster::running`].
    pub async fn find(progress: &Progress) -> Result<Option<Self>> {
        match Self::existing(progress).await? {
            Some(cluster) => Ok(Some(cluster)),
            None => Self::running(progress).await,
        }
    }

    async fn with(provider: Provider, kubeconfig: PathBuf, progress: &Progress) -> Result<Self> {
        let cache = Cache::open()?;
        let workshop = Workshop { tools: Tools::ensure(&cache, progress).await?, cache, progress: progress.clone() };
        Ok(Self { provider, kubeconfig, workshop })
    }

    /// Takes the local cluster down, whatever state it is in, and proves that nothing is left.
    ///
    /// # Errors
    /// Something cannot be removed, or is left.
    pub async fn remove(progress: &Progress) -> Result<()> {
        ensure!(rustix::process::geteuid().is_root(), "only root can remove the local cluster");
        let _lock = Lock::take()?;
        progress.phase("removing the cluster", async |_| down::clean().await).await
    }

    /// Takes this cluster down if it is a local one; another one is left as it is.
    ///
    /// # Errors
    /// As [`Cluster::remove`].
    pub async fn down(self) -> Result<()> {
        match self.provider {
            Provider::Local(_) => Self::remove(&self.workshop.progress).await,
            Provider::Existing => Ok(()),
        }
    }

    /// Everything of a local cluster that is on this machine, one line each; nothing after [`Cluster::remove`].
    ///
    /// # Errors
    /// The machine cannot be looked at.
    pub async fn leftovers() -> Result<Vec<String>> {
        down::leftovers().await
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client for the administrator.
    ///
    /// # Errors
    /// The kubeconfig cannot be used.
    pub async fn client(&self) -> Result<Client> {
        up::client(&self.kubeconfig).await
    }

    /// A client that acts as `user` in `groups`, by impersonation.
    ///
    /// # Errors
    /// The kubeconfig cannot be used.
    pub async fn client_as(&self, user: &str, groups: &[&str]) -> Result<Client> {
        let mut config = Config::from_custom_kubeconfig(Kubeconfig::read_from(&self.kubeconfig)?, &KubeConfigOptions::default()).await?;
        config.auth_info.impersonate = Some(user.to_owned());
        config.auth_info.impersonate_groups = (!groups.is_empty()).then(|| groups.iter().map(|group| (*group).to_owned()).collect());
        Ok(Client::try_from(config)?)
    }

    /// A kubeconfig with which `kubectl` acts as `user` in `group`: a certificate signed by the cluster's own authority.
    ///
    /// # Errors
    /// Not a local cluster, or the file cannot be written.
    pub fn user_kubeconfig(&self, user: &str, group: Option<&str>) -> Result<PathBuf> {
        ensure!(matches!(self.provider, Provider::Local(_)), "only the local cluster's authority can be asked for a certificate of {user}");
        pki::user_kubeconfig(user, group)
    }

    /// Makes `images` and loads them into every node. In an existing cluster nothing is loaded: its nodes must have the images by their names.
    ///
    /// # Errors
    /// An image cannot be made or loaded.
    pub async fn load_images(&self, images: &[Image]) -> Result<Vec<Archive>> {
        let archives = self.workshop.images(images).await?;
        if let Provider::Local(nodes) = &self.provider {
            let load = async |_: &crate::phase::Phase| futures::future::try_join_all(nodes.iter().map(|node| node::import(*node, &archives))).await;
            self.workshop.progress.phase("loading images into the nodes", load).await?;
        }
        Ok(archives)
    }

    /// The program `kubectl` of the cluster's version.
    pub fn kubectl(&self) -> PathBuf {
        self.workshop.tools.path("kubectl")
    }

    /// The program `helm`.
    pub fn helm(&self) -> PathBuf {
        self.workshop.tools.path("helm")
    }

    /// The local cluster's audit log, one JSON object a line.
    pub fn audit_log(&self) -> Option<PathBuf> {
        matches!(self.provider, Provider::Local(_)).then(control_plane::audit_log)
    }
}

impl Cluster {
    /// What runs, as lines for a person.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn status(&self) -> Result<String> {
        let mut status = format!("kubeconfig  {}\n", self.kubeconfig.display());
        if matches!(self.provider, Provider::Local(_)) {
            let mut daemons: Vec<String> = process::ours()?.into_values().collect();
            daemons.sort();
            daemons.dedup();
            status += &format!("processes   {}\n", daemons.join(", "));
        }
        let mut kubectl = tokio::process::Command::new(self.kubectl());
        kubectl.arg("--kubeconfig").arg(&self.kubeconfig).args(["get", "nodes,pods", "--all-namespaces", "--output", "wide"]);
        Ok(status + &command::stdout(&mut kubectl).await?)
    }

    /// Gathers logs and objects in `directory`: the daemons' logs, the audit log, the pods' logs, and every object but Secrets.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub async fn logs(&self, directory: &Path) -> Result<()> {
        logs::gather(self, directory).await
    }
}

impl Record {
    /// The record of a cluster that was brought up completely since the machine was booted, and whose API server lives.
    fn of_running() -> Result<Option<Self>> {
        let Ok(text) = fs::read(Self::file()) else { return Ok(None) };
        let record: Self = serde_json::from_slice(&text).context("reading the record of the local cluster")?;
        let lives = record.boot == boot()? && process::ours()?.values().any(|daemon| daemon == "apiserver");
        Ok(lives.then_some(record))
    }

    fn write(&self) -> Result<()> {
        fs::write(Self::file(), serde_json::to_vec(self)?).context("writing the record of the local cluster")
    }

    fn file() -> PathBuf {
        layout::state("cluster.json")
    }
}

/// The kernel's identifier of this boot.
fn boot() -> Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").context("reading the boot identifier")
}

/// Completes when somebody wants this program to end.
async fn interrupted() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = tokio::signal::ctrl_c() => ended?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
