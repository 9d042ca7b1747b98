//! Collection of the logs and objects of a cluster in one directory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tokio::process::Command;

use super::{Cluster, Provider, layout};
use crate::toolchain::{cache, command};

/// Writes the logs of daemons and pods, the events and all objects except Secrets to `directory`.
pub(super) async fn gather(cluster: &Cluster, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
    if let Provider::Local(nodes) = &cluster.provider {
        copy_tree(&layout::state("log"), &directory.join("daemons"))?;
        for node in nodes {
            copy_tree(
                &node.state("pod-logs"),
                &directory.join("pods").join(node.name()),
            )?;
        }
    }
    let kubectl = |arguments: &[&str]| {
        let mut kubectl = Command::new(cluster.kubectl());
        kubectl
            .arg("--kubeconfig")
            .arg(&cluster.kubeconfig)
            .args(arguments);
        kubectl
    };
    let kinds = command::stdout(&mut kubectl(&[
        "api-resources",
        "--verbs=list",
        "--output=name",
    ]))
    .await?;
    for kind in kinds.lines().filter(|kind| *kind != "secrets") {
        let objects = command::stdout(&mut kubectl(&[
            "get",
            kind,
            "--all-namespaces",
            "--output=yaml",
        ]))
        .await?;
        write(
            &directory.join("objects").join(format!("{kind}.yaml")),
            &objects,
        )?;
    }
    Ok(())
}

/// Keeps the daemons' logs of a cluster that did not come up.
pub(super) fn keep(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("removing {}", directory.display()))?;
    }
    copy_tree(&layout::state("log"), directory)
}

/// Copies all files below `from`; a missing directory counts as empty.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    for file in cache::files(from)? {
        let target: PathBuf = to.join(file.strip_prefix(from).unwrap_or(&file));
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        }
        fs::copy(&file, &target).with_context(|| format!("copying {}", file.display()))?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    }
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
