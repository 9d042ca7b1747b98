//! A Kubernetes cluster for tests and for the demo: a local one of host processes, one made by kind
//! in Docker, or an existing one.

mod apply;
mod cgroup;
mod config;
mod control_plane;
mod dns;
mod down;
mod kind;
mod layout;
mod local;
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

use anyhow::Result;
use futures::future::try_join_all;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::process::Command;

pub use apply::apply;
pub use layout::{ECHO_PORTS, MAX_NODES, METADATA, OUTSIDE};

use crate::{
    images::{Archive, Image, Workshop},
    toolchain::{
        cache::Cache,
        command, interrupt,
        progress::{Phase, Progress},
    },
};
use layout::Node;

/// Options of a new cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of nodes, 1 to [`MAX_NODES`].
    pub nodes: u8,
    /// Start the NetworkPolicy agent in permissive mode, which enforces nothing.
    pub permissive: bool,
    /// This crate's program, which serves the cluster's outside when called with `outside`.
    pub program: PathBuf,
}

/// A running cluster.
#[derive(Clone)]
pub struct Cluster {
    provider: Provider,
    kubeconfig: PathBuf,
    workshop: Workshop,
}

/// Provider of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Provider {
    /// Processes of this machine.
    Local(Vec<Node>),
    /// Containers made by kind.
    Kind,
    /// The user's cluster, named by `KUBECONFIG`.
    Existing,
}

/// The value of `KUBECONFIG`, if the user set it.
fn given_kubeconfig() -> Option<PathBuf> {
    std::env::var_os("KUBECONFIG")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

impl Cluster {
    /// Brings up a local cluster. A failure or an interrupt takes it down again and keeps its logs
    /// in the cache.
    ///
    /// # Errors
    /// A cluster is running already, the machine lacks a prerequisite, or a component fails.
    pub async fn up(options: &Options, progress: &Progress) -> Result<Self> {
        let (nodes, workshop) = local::up(options, progress).await?;
        Ok(Self {
            provider: Provider::Local(nodes),
            kubeconfig: layout::state("kubeconfig"),
            workshop,
        })
    }

    /// Creates a cluster with kind.
    ///
    /// # Errors
    /// Docker or kind is missing or fails.
    pub async fn up_in_kind(options: &Options, progress: &Progress) -> Result<Self> {
        let kubeconfig = kind::up(options, &Cache::open()?, progress).await?;
        interrupt::unless(Self::with(Provider::Kind, kubeconfig, progress)).await
    }

    /// The cluster that was brought up on this machine, local or kind, if one is running.
    ///
    /// # Errors
    /// Its tools are not in the cache and cannot be built.
    pub async fn running(progress: &Progress) -> Result<Option<Self>> {
        let (provider, kubeconfig) = match (local::running()?, kind::running(&Cache::open()?)) {
            (Some(nodes), _) => (Provider::Local(nodes), layout::state("kubeconfig")),
            (None, Some(kubeconfig)) => (Provider::Kind, kubeconfig),
            (None, None) => return Ok(None),
        };
        Self::with(provider, kubeconfig, progress).await.map(Some)
    }

    /// The cluster that `KUBECONFIG` names, used unchanged. A cluster that was brought up here
    /// keeps its provider even if `KUBECONFIG` names it.
    ///
    /// # Errors
    /// The tools are not in the cache and cannot be built.
    pub async fn existing(progress: &Progress) -> Result<Option<Self>> {
        let Some(kubeconfig) = given_kubeconfig() else {
            return Ok(None);
        };
        match Self::running(progress).await? {
            Some(ours) if ours.kubeconfig == kubeconfig => Ok(Some(ours)),
            _ => Self::with(Provider::Existing, kubeconfig, progress)
                .await
                .map(Some),
        }
    }

    /// Returns whether `KUBECONFIG` names a cluster that was not brought up here and is therefore
    /// used unchanged.
    ///
    /// # Errors
    /// There is no cache directory.
    pub fn is_given() -> Result<bool> {
        let ours = [
            layout::state("kubeconfig"),
            kind::kubeconfig(&Cache::open()?),
        ];
        Ok(given_kubeconfig().is_some_and(|given| !ours.contains(&given)))
    }

    /// The cluster to use: the one that `KUBECONFIG` names, otherwise the one that was brought up
    /// on this machine.
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
        let workshop = Workshop::open(progress).await?;
        Ok(Self {
            provider,
            kubeconfig,
            workshop,
        })
    }

    /// Takes down the cluster that was brought up on this machine, from any state, and proves that
    /// no part of a local cluster is left.
    ///
    /// # Errors
    /// A part cannot be removed, or is left.
    pub async fn remove(progress: &Progress) -> Result<()> {
        let cache = Cache::open()?;
        if !kind::is_there(&cache) {
            return local::down(progress).await;
        }
        // A failure to remove one must not keep the other.
        let kind = kind::down(&cache, progress).await;
        if local::is_there() {
            local::down(progress).await?;
        }
        kind
    }

    /// Turns enforcement of NetworkPolicies on or off on every node; returns false if the cluster's
    /// agent is not under this program's control. Pods keep running.
    ///
    /// # Errors
    /// An agent does not exit, or cannot be started.
    pub async fn enforce(&self, enforcing: bool) -> Result<bool> {
        match &self.provider {
            Provider::Local(nodes) => local::enforce(nodes, &self.workshop, enforcing)
                .await
                .map(|()| true),
            Provider::Kind | Provider::Existing => Ok(false),
        }
    }

    /// Takes this cluster down; a cluster given by the user is left unchanged.
    ///
    /// # Errors
    /// As [`Cluster::remove`].
    pub async fn down(self) -> Result<()> {
        match self.provider {
            Provider::Local(_) => local::down(&self.workshop.progress).await,
            Provider::Kind => kind::down(&self.workshop.cache, &self.workshop.progress).await,
            Provider::Existing => Ok(()),
        }
    }

    /// Lists everything of a local cluster that is on this machine, one line each; empty after
    /// [`Cluster::remove`].
    ///
    /// # Errors
    /// The state of the machine cannot be read.
    pub async fn leftovers() -> Result<Vec<String>> {
        down::leftovers().await
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client with the administrator's credentials.
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
        let mut config = Config::from_custom_kubeconfig(
            Kubeconfig::read_from(&self.kubeconfig)?,
            &KubeConfigOptions::default(),
        )
        .await?;
        config.auth_info.impersonate = Some(user.to_owned());
        config.auth_info.impersonate_groups =
            (!groups.is_empty()).then(|| groups.iter().map(|group| (*group).to_owned()).collect());
        Ok(Client::try_from(config)?)
    }

    /// A kubeconfig for `user` in `group`: with a certificate signed by the local cluster's
    /// authority, or by impersonation in other clusters.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn user_kubeconfig(&self, user: &str, group: Option<&str>) -> Result<PathBuf> {
        if matches!(self.provider, Provider::Local(_)) {
            return pki::user_kubeconfig(user, group);
        }
        let mut config = Kubeconfig::read_from(&self.kubeconfig)?;
        for identity in config
            .auth_infos
            .iter_mut()
            .filter_map(|named| named.auth_info.as_mut())
        {
            identity.impersonate = Some(user.to_owned());
            identity.impersonate_groups = group.map(|group| vec![group.to_owned()]);
        }
        let directory = self.workshop.cache.directory("users");
        fs::create_dir_all(&directory)?;
        let file = directory.join(format!("{}.kubeconfig", user.replace('/', "-")));
        pki::secret(&file, &serde_json::to_string(&config)?)?;
        Ok(file)
    }

    /// Builds `images` and loads them into every node. In an existing cluster nothing is loaded:
    /// its nodes must have the images under their names.
    ///
    /// # Errors
    /// An image cannot be built or loaded.
    pub async fn load_images(&self, images: &[Image]) -> Result<Vec<Archive>> {
        let archives = self.workshop.images(images).await?;
        let load = async |_: &Phase| match &self.provider {
            Provider::Local(nodes) => {
                let into_node = |node: &Node| node::import(*node, &archives);
                try_join_all(nodes.iter().map(into_node)).await.map(drop)
            }
            Provider::Kind => try_join_all(archives.iter().map(kind::load))
                .await
                .map(drop),
            Provider::Existing => Ok(()),
        };
        self.workshop
            .progress
            .phase("loading images into the nodes", load)
            .await?;
        Ok(archives)
    }

    /// Path of a `kubectl` of the cluster's version.
    pub fn kubectl(&self) -> PathBuf {
        self.workshop.tools.path("kubectl")
    }

    /// Path of `helm`.
    pub fn helm(&self) -> PathBuf {
        self.workshop.tools.path("helm")
    }

    /// The local cluster's audit log, one JSON object per line.
    pub fn audit_log(&self) -> Option<PathBuf> {
        matches!(self.provider, Provider::Local(_)).then(control_plane::audit_log)
    }

    /// A human-readable summary of the running components.
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
        let mut kubectl = Command::new(self.kubectl());
        kubectl.arg("--kubeconfig").arg(&self.kubeconfig).args([
            "get",
            "nodes,pods",
            "--all-namespaces",
            "--output",
            "wide",
        ]);
        Ok(status + &command::stdout(&mut kubectl).await?)
    }

    /// Gathers logs and objects in `directory`: the daemons' logs, the audit log, the pods' logs,
    /// and all objects except Secrets.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub async fn logs(&self, directory: &Path) -> Result<()> {
        logs::gather(self, directory).await
    }
}
