//! Processes of the local cluster's pods, seen from the machine: faults that no API can cause.

use std::fs;

use anyhow::{Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::environment::{Environment, eventually};

/// Kills all processes with this prefix of the command line, as eventually as there is one.
///
/// # Errors
/// No such process appears in time, or it cannot be killed.
pub(crate) async fn kill_by_title(title: &str) -> Result<()> {
    eventually(&format!("a process {title:?}"), async || {
        kill(&of_title(title)?, title)
    })
    .await
}

/// Kills every process of a container, by its container ID.
///
/// # Errors
/// There is none, or it cannot be killed.
pub(crate) async fn kill_container(id: &str) -> Result<()> {
    let id = id.rsplit('/').next().unwrap_or(id);
    ensure!(id.len() == 64, "{id:?} is no container's ID");
    eventually(&format!("a process of container {id}"), async || {
        kill(&of_container(id)?, id)
    })
    .await
}

/// Returns whether the cluster's processes run on this machine; otherwise the case is reported as
/// skipped.
pub(crate) fn is_here(env: &Environment, case: &str) -> bool {
    let here = env.audit_log().is_some();
    if !here {
        env.note(format!("{case}: skipped, not a local cluster"), "");
    }
    here
}

fn kill(processes: &[i32], what: &str) -> Result<Result<(), String>> {
    for process in processes {
        if let Some(pid) = Pid::from_raw(*process) {
            kill_process(pid, Signal::KILL)?;
        }
    }
    Ok(if processes.is_empty() {
        Err(format!("no process of {what}"))
    } else {
        Ok(())
    })
}

fn of_title(title: &str) -> Result<Vec<i32>> {
    find("cmdline", |line| line.starts_with(title))
}

/// The processes of a container, whose cgroup contains its ID.
fn of_container(id: &str) -> Result<Vec<i32>> {
    find("cgroup", |groups| groups.contains(id))
}

fn find(file: &str, matches: impl Fn(&str) -> bool) -> Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // A process may exit at any moment.
        if fs::read_to_string(entry.path().join(file)).is_ok_and(|text| matches(&text)) {
            found.push(pid);
        }
    }
    Ok(found)
}
