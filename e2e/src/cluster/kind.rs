//! A cluster made by kind in Docker, for machines that cannot run the local cluster.

use std::{io::ErrorKind, path::PathBuf};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::Options;
use crate::{
    images::Archive,
    toolchain::{cache::Cache, command, interrupt, packages, progress::Progress},
};

/// Name of the kind cluster.
const NAME: &str = "dryrun-e2e";

/// Creates the cluster and returns its kubeconfig.
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
    ensure!(
        !kubeconfig.exists(),
        "kind's cluster is running already: use it, or remove it with `cargo cluster down`"
    );
    if is_there(cache) {
        down(cache, progress).await?;
    }
    let roles = ["control-plane"]
        .into_iter()
        .chain((1..options.nodes).map(|_| "worker"));
    let roles: Vec<_> = roles
        .map(|role| serde_json::json!({"role": role}))
        .collect();
    let config = serde_json::json!({"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": roles});
    std::fs::write(&nodes, config.to_string())
        .with_context(|| format!("writing {}", nodes.display()))?;
    let marker = marker(cache);
    std::fs::write(&marker, NAME).with_context(|| format!("writing {}", marker.display()))?;
    let create = progress.phase("creating a cluster with kind", async |_| {
        let mut kind = Command::new("kind");
        kind.args([
            "create", "cluster", "--name", NAME, "--wait", "120s", "--config",
        ]);
        kind.arg(&nodes).arg("--kubeconfig").arg(&kubeconfig);
        command::run(&mut kind, &cache.log("kind")).await
    });
    if let Err(error) = interrupt::unless(create).await {
        // If this fails too, the marker file remains for `cargo cluster down`.
        return Err(match down(cache, progress).await {
            Ok(()) => error,
            Err(left) => error.context(format!(
                "the incomplete kind cluster could not be removed: {left:#}"
            )),
        });
    }
    Ok(kubeconfig)
}

/// Marker file, written before kind starts: its containers exist long before a kubeconfig does.
fn marker(cache: &Cache) -> PathBuf {
    cache.directory("kind.note")
}

/// Returns whether there is a kind cluster to delete, even an incomplete one.
pub(super) fn is_there(cache: &Cache) -> bool {
    marker(cache).exists() || kubeconfig(cache).exists()
}

/// The kubeconfig of the kind cluster, if there is one.
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

/// Deletes the cluster, complete or not.
pub(super) async fn down(cache: &Cache, progress: &Progress) -> Result<()> {
    progress
        .phase("deleting kind's cluster", async |_| {
            command::stdout(Command::new("kind").args(["delete", "cluster", "--name", NAME]))
                .await?;
            remove_marker(cache)
        })
        .await
}

/// Removes the files that mark the cluster as existing.
fn remove_marker(cache: &Cache) -> Result<()> {
    for file in [kubeconfig(cache), marker(cache)] {
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {}", file.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Path of the kubeconfig.
pub(super) fn kubeconfig(cache: &Cache) -> PathBuf {
    cache.directory("kind.kubeconfig")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incomplete_cluster_exists_but_is_not_running() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::at(root.path());
        assert!(!is_there(&cache));
        std::fs::write(marker(&cache), NAME).unwrap();
        assert!(is_there(&cache) && running(&cache).is_none());
        remove_marker(&cache).unwrap();
        assert!(!is_there(&cache));
    }
}
