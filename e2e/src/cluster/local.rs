//! The local cluster as a whole: one on a machine, brought up and taken down under a lock.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::{
    MAX_NODES, Options, down,
    layout::{self, Node},
    lock::Lock,
    logs, node,
    node::Netpol,
    process, up,
};
use crate::{
    images::{self, Archive, Workshop},
    toolchain::{cache::Cache, interrupt, packages, progress::Progress, tools::static_binaries},
};

/// Brings it up; a failure or an interrupt on the way takes it down again and keeps its logs in the cache.
pub(super) async fn up(options: &Options, progress: &Progress) -> Result<(Vec<Node>, Workshop)> {
    ensure!(
        (1..=MAX_NODES).contains(&options.nodes),
        "a cluster has 1 to {MAX_NODES} nodes"
    );
    let cache = Cache::open()?;
    interrupt::unless(packages::ensure_for_cluster(&cache, progress)).await?;
    let _lock = Lock::take().await?;
    if let Some(nodes) = running()? {
        bail!(
            "a cluster with {} node(s) is running already: use it, or remove it with `cargo cluster down`",
            nodes.len()
        );
    }
    progress
        .phase("removing what an earlier cluster left", async |_| {
            down::clean().await
        })
        .await?;
    let (workshop, binaries, images) = interrupt::unless(ingredients(progress)).await?;
    let nodes = Node::first(options.nodes);
    let parts = up::Parts {
        nodes: &nodes,
        tools: &workshop.tools,
        netpol: &Netpol {
            binaries,
            permissive: options.permissive,
        },
        images: &images,
        world: options.program.clone(),
    };
    let complete = async {
        up::up(&parts, progress).await?;
        Record {
            nodes: options.nodes,
            boot: boot()?,
        }
        .write()
    };
    match interrupt::unless(complete).await {
        Ok(()) => Ok((nodes, workshop)),
        Err(error) => Err(given_up(error, &cache.directory("failed-up")).await),
    }
}

/// What a cluster is made of that is built before.
async fn ingredients(progress: &Progress) -> Result<(Workshop, PathBuf, Vec<Archive>)> {
    let workshop = Workshop::open(progress).await?;
    let binaries = netpol(&workshop).await?;
    let images = workshop.images(&images::BASE).await?;
    Ok((workshop, binaries, images))
}

async fn netpol(workshop: &Workshop) -> Result<PathBuf> {
    static_binaries(
        &workshop.cache,
        &workshop.progress,
        "netpol",
        images::NETPOL,
        images::NETPOL_SOURCES,
    )
    .await
}

/// Keeps the logs of a cluster that did not come up, and removes the rest of it, whether or not the logs could be kept.
async fn given_up(error: anyhow::Error, kept: &Path) -> anyhow::Error {
    let logs = match logs::keep(kept) {
        Ok(()) => format!("its logs are kept in {}", kept.display()),
        Err(why) => format!("its logs could not be kept: {why:#}"),
    };
    let left = match down::clean().await {
        Ok(()) => String::new(),
        Err(why) => {
            format!("; it could not be removed either, try `cargo cluster down`: {why:#}")
        }
    };
    error.context(format!("the cluster did not come up; {logs}{left}"))
}

/// Takes it down, whatever state it is in.
pub(super) async fn down(progress: &Progress) -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "only root can remove the local cluster"
    );
    let _lock = Lock::take().await?;
    progress
        .phase("removing the cluster", async |_| down::clean().await)
        .await
}

/// Puts another NetworkPolicy agent in the place of each node's: one that enforces, or one that lets everything pass.
pub(super) async fn enforce(nodes: &[Node], workshop: &Workshop, enforcing: bool) -> Result<()> {
    let netpol = Netpol {
        binaries: netpol(workshop).await?,
        permissive: !enforcing,
    };
    let mut daemons = process::Daemons::default();
    for node in nodes {
        process::kill_daemon(&node::agent(*node), AGENT_ENDS).await?;
        node::start_agent(&mut daemons, &netpol, *node)?;
    }
    Ok(())
}

/// How long a NetworkPolicy agent may take to end when it is killed.
const AGENT_ENDS: Duration = Duration::from_secs(5);

/// The nodes of a cluster that was brought up completely since the machine was booted, and whose API server lives.
pub(super) fn running() -> Result<Option<Vec<Node>>> {
    let Ok(text) = fs::read(Record::file()) else {
        return Ok(None);
    };
    let record: Record =
        serde_json::from_slice(&text).context("reading the record of the local cluster")?;
    let lives = record.boot == boot()?
        && process::ours()?
            .values()
            .any(|daemon| daemon == "apiserver");
    Ok(lives.then(|| Node::first(record.nodes)))
}

/// Whether there is anything of a local cluster to remove, be it half of one.
pub(super) fn is_there() -> bool {
    [layout::STATE, layout::RUN]
        .into_iter()
        .any(|directory| Path::new(directory).exists())
}

/// Written when a cluster is complete.
#[derive(Serialize, Deserialize)]
struct Record {
    nodes: u8,
    boot: String,
}

impl Record {
    fn write(&self) -> Result<()> {
        fs::write(Self::file(), serde_json::to_vec(self)?)
            .context("writing the record of the local cluster")
    }

    fn file() -> PathBuf {
        layout::state("cluster.json")
    }
}

/// The kernel's identifier of this boot.
fn boot() -> Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").context("reading the boot identifier")
}
