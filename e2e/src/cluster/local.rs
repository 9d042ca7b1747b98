//! The local cluster as a whole: one on a machine, brought up and taken down under a lock.

use std::{fs, path::PathBuf, time::Duration};

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
    cache::Cache,
    images::{self, Workshop},
    packages,
    phase::Progress,
    tools::static_binaries,
};

/// Brings it up; a failure or an interrupt on the way takes it down again and keeps its logs in the cache.
pub(super) async fn up(options: &Options, progress: &Progress) -> Result<(Vec<Node>, Workshop)> {
    ensure!(
        (1..=MAX_NODES).contains(&options.nodes),
        "a cluster has 1 to {MAX_NODES} nodes"
    );
    let cache = Cache::open()?;
    packages::ensure_for_cluster(&cache, progress).await?;
    let _lock = Lock::take()?;
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
    let workshop = Workshop::open(progress).await?;
    let binaries = static_binaries(
        &workshop.cache,
        progress,
        "netpol",
        images::NETPOL,
        images::NETPOL_SOURCES,
    )
    .await?;
    let images = workshop.images(&images::BASE).await?;
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
    let outcome = tokio::select! {
        outcome = up::up(&parts, progress) => outcome,
        signal = interrupted() => signal.and_then(|()| bail!("interrupted")),
    };
    if let Err(error) = outcome {
        let kept = workshop.cache.directory("failed-up");
        logs::keep(&kept)?;
        down::clean()
            .await
            .with_context(|| format!("cleaning up after: {error:#}"))?;
        return Err(error.context(format!(
            "the cluster did not come up; its logs are kept in {}",
            kept.display()
        )));
    }
    Record {
        nodes: options.nodes,
        boot: boot()?,
    }
    .write()?;
    Ok((nodes, workshop))
}

/// Takes it down, whatever state it is in.
pub(super) async fn down(progress: &Progress) -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "only root can remove the local cluster"
    );
    let _lock = Lock::take()?;
    progress
        .phase("removing the cluster", async |_| down::clean().await)
        .await
}

/// Puts another NetworkPolicy agent in the place of each node's: one that enforces, or one that lets everything pass.
pub(super) async fn enforce(nodes: &[Node], workshop: &Workshop, enforcing: bool) -> Result<()> {
    let binaries = static_binaries(
        &workshop.cache,
        &workshop.progress,
        "netpol",
        images::NETPOL,
        images::NETPOL_SOURCES,
    )
    .await?;
    let netpol = Netpol {
        binaries,
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
