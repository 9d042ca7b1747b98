//! The local cluster as a whole: one per machine, brought up and taken down under a lock.

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

/// Brings the cluster up. A failure or an interrupt takes it down again and keeps its logs in the
/// cache.
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
        .phase("removing the remains of an earlier cluster", async |_| {
            down::clean().await
        })
        .await?;
    let (workshop, binaries, images) = interrupt::unless(build_parts(progress)).await?;
    let nodes = Node::first(options.nodes);
    let parts = up::Parts {
        nodes: &nodes,
        tools: &workshop.tools,
        netpol: &Netpol {
            binaries,
            permissive: options.permissive,
        },
        images: &images,
        outside: options.program.clone(),
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
        Err(error) => Err(clean_up_failed(error, &cache.directory("failed-up")).await),
    }
}

/// Builds the parts of a cluster that do not depend on a running one.
async fn build_parts(progress: &Progress) -> Result<(Workshop, PathBuf, Vec<Archive>)> {
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

/// Keeps the logs of a cluster that did not come up, then removes the cluster even if the logs
/// could not be kept.
async fn clean_up_failed(error: anyhow::Error, kept: &Path) -> anyhow::Error {
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

/// Takes the cluster down from any state.
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

/// Replaces the NetworkPolicy agent of each node by one that enforces, or by a permissive one.
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

/// Deadline for a killed NetworkPolicy agent to exit.
const AGENT_ENDS: Duration = Duration::from_secs(5);

/// The nodes of a cluster that was brought up completely since the machine booted and whose API
/// server is alive.
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

/// Returns whether there is a local cluster to remove, even an incomplete one.
pub(super) fn is_there() -> bool {
    [layout::STATE, layout::RUN]
        .into_iter()
        .any(|directory| Path::new(directory).exists())
}

/// Record of a complete cluster.
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
