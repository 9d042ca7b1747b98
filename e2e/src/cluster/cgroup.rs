//! Creates and removes the parent cgroup of a node's pods, in the unified hierarchy of version 2 or
//! in each hierarchy of version 1.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::layout::CGROUP_PREFIX;

const ROOT: &str = "/sys/fs/cgroup";

/// Controllers that the kubelet requires under version 1.
const CONTROLLERS: [&str; 9] = [
    "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd",
];

/// Controllers that the kubelet requires to be delegated under version 2.
const DELEGATED: &str = "+cpu +cpuset +io +memory +pids";

/// Creates the cgroup `name` with everything that the kubelet needs.
pub(crate) fn create(name: &str) -> Result<()> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        let directory = root.join(name);
        write(&root.join("cgroup.subtree_control"), DELEGATED)?;
        make(&directory)?;
        return write(&directory.join("cgroup.subtree_control"), DELEGATED);
    }
    for controller in CONTROLLERS {
        let directory = root.join(controller).join(name);
        make(&directory)?;
        if controller == "cpuset" {
            // A new cpuset is empty, and the kernel refuses processes in an empty one.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let all = fs::read_to_string(root.join(controller).join(file))
                    .with_context(|| format!("reading {file}"))?;
                write(&directory.join(file), all.trim())?;
            }
        }
    }
    Ok(())
}

/// Removes all cgroups of the cluster with their children. Their processes have ended already; the
/// kernel may need a moment to release them.
pub(crate) async fn remove_all(deadline: Duration) -> Result<()> {
    let started = Instant::now();
    loop {
        let left = ours();
        if left.is_empty() {
            return Ok(());
        }
        let mut failed = None;
        for directory in left {
            if let Err(error) = remove(&directory) {
                failed = Some(error);
            }
        }
        if started.elapsed() > deadline {
            bail!("a cgroup cannot be removed: {failed:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The cluster's cgroups in all hierarchies, including `unified` of a hybrid setup.
pub(crate) fn ours() -> Vec<PathBuf> {
    let below = |directory: &Path| {
        fs::read_dir(directory)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect::<Vec<_>>()
    };
    let root = Path::new(ROOT);
    let hierarchies = below(root);
    let candidates = hierarchies
        .iter()
        .filter(|path| !path.is_symlink())
        .flat_map(|path| below(path))
        .chain(hierarchies.iter().cloned());
    candidates
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(CGROUP_PREFIX))
        })
        .collect()
}

fn remove(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(directory).with_context(|| format!("removing {}", directory.display()))
}

fn make(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}
