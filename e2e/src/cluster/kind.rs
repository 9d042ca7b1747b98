//! A cluster that kind makes in Docker, for machines on which the local cluster cannot run.

use std::{io::ErrorKind, path::PathBuf};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::Options;
use crate::{
    images::Archive,
    toolchain::{cache::Cache, command, interrupt, packages, progress::Progress},
};

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
    let note = note(cache);
    std::fs::write(&note, NAME).with_context(|| format!("writing {}", note.display()))?;
    let create = progress.phase("creating a cluster with kind", async |_| {
        let mut kind = Command::new("kind");
        kind.args([
            "create", "cluster", "--name", NAME, "--wait", "120s", "--config",
        ]);
        kind.arg(&nodes).arg("--kubeconfig").arg(&kubeconfig);
        command::run(&mut kind, &cache.log("kind")).await
    });
    if let Err(error) = interrupt::unless(create).await {
        // If this fails too, the note is still there for `cargo cluster down`.
        return Err(match down(cache, progress).await {
            Ok(()) => error,
            Err(left) => error.context(format!("what kind made could not be removed: {left:#}")),
        });
    }
    Ok(kubeconfig)
}

/// Written before kind begins: its containers are there long before a kubeconfig is.
fn note(cache: &Cache) -> PathBuf {
    cache.directory("kind.note")
}

/// Whether there is anything of kind's to delete, be it half a cluster.
pub(super) fn is_there(cache: &Cache) -> bool {
    note(cache).exists() || kubeconfig(cache).exists()
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

/// Deletes the cluster, or what there is of it.
pub(super) async fn down(cache: &Cache, progress: &Progress) -> Result<()> {
    progress
        .phase("deleting kind's cluster", async |_| {
            command::stdout(Command::new("kind").args(["delete", "cluster", "--name", NAME]))
                .await?;
            forget(cache)
        })
        .await
}

/// Removes what says that there is a cluster.
fn forget(cache: &Cache) -> Result<()> {
    for file in [kubeconfig(cache), note(cache)] {
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {}", file.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Where the kubeconfig is kept.
pub(super) fn kubeconfig(cache: &Cache) -> PathBuf {
    cache.directory("kind.kubeconfig")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_cluster_is_there_but_does_not_run() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::at(root.path());
        assert!(!is_there(&cache));
        std::fs::write(note(&cache), NAME).unwrap();
        assert!(is_there(&cache) && running(&cache).is_none());
        forget(&cache).unwrap();
        assert!(!is_there(&cache));
    }
}
