//! A cluster that kind makes in Docker, for machines on which the local cluster cannot run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::Options;
use crate::{cache::Cache, command, images::Archive, packages, phase::Progress};

/// Name of the cluster, for kind.
const NAME: &str = "dryrun-e2e";

/// Creates it and gives its kubeconfig.
pub(super) async fn up(options: &Options, cache: &Cache, progress: &Progress) -> Result<PathBuf> {
    ensure!(
        !options.permissive,
        "kind's nodes enforce NetworkPolicies themselves; only the local cluster can be permissive"
    );
    for (program, source) in [
        ("docker", "https://docs.docker.com/engine/install/"),
        ("kind", "https://kind.sigs.k8s.io/"),
    ] {
        ensure!(
            packages::find(program).is_some(),
            "`--provider kind` needs {program}, which is not in PATH: get it from {source}"
        );
    }
    let (kubeconfig, nodes) = (kubeconfig(cache), cache.directory("kind.yaml"));
    let roles = ["control-plane"]
        .into_iter()
        .chain((1..options.nodes).map(|_| "worker"));
    let roles: Vec<_> = roles
        .map(|role| serde_json::json!({"role": role}))
        .collect();
    let config = serde_json::json!({"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": roles});
    std::fs::write(&nodes, config.to_string())
        .with_context(|| format!("writing {}", nodes.display()))?;
    progress
        .phase("creating a cluster with kind", async |_| {
            let mut kind = Command::new("kind");
            kind.args([
                "create", "cluster", "--name", NAME, "--wait", "120s", "--config",
            ]);
            kind.arg(&nodes).arg("--kubeconfig").arg(&kubeconfig);
            command::run(&mut kind, &cache.log("kind")).await
        })
        .await?;
    Ok(kubeconfig)
}

/// The kubeconfig of a cluster that kind made, if there is one.
pub(super) fn running(cache: &Cache) -> Option<PathBuf> {
    Some(kubeconfig(cache)).filter(|kubeconfig| kubeconfig.exists())
}

/// Loads an archive into all nodes.
pub(super) async fn load(image: &Archive) -> Result<()> {
    let mut kind = Command::new("kind");
    kind.args(["load", "image-archive", "--name", NAME])
        .arg(&image.file);
    command::stdout(&mut kind).await.map(drop)
}

/// Deletes the cluster.
pub(super) async fn down(kubeconfig: &Path, progress: &Progress) -> Result<()> {
    progress
        .phase("deleting kind's cluster", async |_| {
            command::stdout(Command::new("kind").args(["delete", "cluster", "--name", NAME]))
                .await?;
            std::fs::remove_file(kubeconfig).context("removing the kubeconfig")
        })
        .await
}

/// Where the kubeconfig is kept.
pub(super) fn kubeconfig(cache: &Cache) -> PathBuf {
    cache.directory("kind.kubeconfig")
}
