//! Removal of the local cluster, from any state that a completed, failed or killed `up` or `down`
//! can leave.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::{
    cgroup,
    layout::{self, HOST_LINK, PRIVATE, RUN, STATE},
    network, process, sysctl,
};
use crate::toolchain::command;

/// Deadline for processes and cgroups to disappear.
const DEADLINE: Duration = Duration::from_secs(10);

/// Removes everything and proves that nothing is left.
pub(crate) async fn clean() -> Result<()> {
    process::kill_all(DEADLINE).await?;
    network::down().await?;
    cgroup::remove_all(DEADLINE).await?;
    sysctl::restore()?;
    remove_made_directories()?;
    for directory in [RUN, STATE] {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {directory}"));
            }
            _ => {}
        }
    }
    let left = leftovers().await?;
    ensure!(
        left.is_empty(),
        "the cluster has left these resources:\n  {}",
        left.join("\n  ")
    );
    Ok(())
}

/// Creates the directories on which nodes mount their private file systems, and records which of
/// them did not exist.
pub(crate) fn make_private_directories() -> Result<()> {
    for path in PRIVATE {
        let mut missing: Vec<&Path> = Path::new(path)
            .ancestors()
            .take_while(|ancestor| !ancestor.exists())
            .collect();
        missing.reverse();
        for directory in missing {
            let mut noted = made_directories();
            noted.push(directory.to_path_buf());
            let noted: Vec<String> = noted
                .iter()
                .map(|directory| directory.to_string_lossy().into_owned())
                .collect();
            fs::write(layout::state(MADE), noted.join("\n")).context("recording a directory")?;
            fs::create_dir(directory)
                .with_context(|| format!("creating {}", directory.display()))?;
        }
    }
    Ok(())
}

const MADE: &str = "made-directories";

fn made_directories() -> Vec<PathBuf> {
    fs::read_to_string(layout::state(MADE))
        .unwrap_or_default()
        .lines()
        .map(PathBuf::from)
        .collect()
}

fn remove_made_directories() -> Result<()> {
    for directory in made_directories().iter().rev() {
        match fs::remove_dir(directory) {
            // Another program has started to use the directory, so it stays.
            Err(error)
                if !matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty
                ) =>
            {
                return Err(error).with_context(|| format!("removing {}", directory.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Lists everything of a cluster that is on the machine, one line each.
pub(crate) async fn leftovers() -> Result<Vec<String>> {
    let mut left: Vec<String> = process::ours()?
        .into_iter()
        .map(|(pid, daemon)| format!("process {pid} ({daemon})"))
        .collect();
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let ours = |line: &&str| {
        line.split(' ')
            .nth(1)
            .is_some_and(|target| target.starts_with(RUN) || target.starts_with(STATE))
    };
    left.extend(
        mounts
            .lines()
            .filter(ours)
            .map(|line| format!("mount {line}")),
    );
    left.extend(
        cgroup::ours()
            .iter()
            .map(|path| format!("cgroup {}", path.display())),
    );
    left.extend(
        [RUN, STATE]
            .into_iter()
            .filter(|path| Path::new(path).exists())
            .map(|path| format!("directory {path}")),
    );
    if network::has_host_link().await? {
        left.push(format!("network link {HOST_LINK}"));
    }
    let routes = command::stdout(
        Command::new("ip").args(["-4", "route", "show", "table", "all", "dev", HOST_LINK]),
    )
    .await
    .unwrap_or_default();
    left.extend(routes.lines().map(|route| format!("route {route}")));
    Ok(left)
}
