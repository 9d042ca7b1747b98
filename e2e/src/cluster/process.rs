//! The cluster's processes: started with a mark in their environment, and found again by that mark, by their network namespace or by
//! their cgroup. The kernel keeps all three, so nothing that a crashed `up` started is ever lost, and nothing else is ever touched.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::layout::{self, CGROUP_PREFIX, Node};
use crate::toolchain::command;

/// Environment variable that marks a process of the cluster; its value is the daemon's name. Children inherit it.
pub(crate) const MARK: &str = "DRYRUN_E2E_DAEMON";

/// Daemons started by this `up`, watched while it waits for them.
#[derive(Default)]
pub(crate) struct Daemons(Vec<(String, Child)>);

impl Daemons {
    /// Starts a daemon in a process group of its own, so that an interrupt at the terminal reaches only `up`; its output goes to its log.
    pub(crate) fn start(&mut self, name: &str, command: &mut Command) -> Result<u32> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(layout::log(name))?;
        let child = command
            .env(MARK, name)
            .env("TMPDIR", layout::state("tmp"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let pid = child.id();
        self.0.push((name.to_owned(), child));
        Ok(pid)
    }

    /// Fails if a daemon has ended, with the last lines of its log.
    pub(crate) fn check(&mut self) -> Result<()> {
        for (name, child) in &mut self.0 {
            if let Some(status) = child.try_wait()? {
                bail!(
                    "{name} ended with {status}; its log ends with{}",
                    command::last_lines(&layout::log(name))
                );
            }
        }
        Ok(())
    }

    /// Waits until `probe` gives a value, as long as all daemons live.
    pub(crate) async fn until<T>(
        &mut self,
        what: &str,
        deadline: Duration,
        mut probe: impl AsyncFnMut() -> Option<T>,
    ) -> Result<T> {
        let started = Instant::now();
        loop {
            if let Some(value) = probe().await {
                return Ok(value);
            }
            self.check()?;
            if started.elapsed() > deadline {
                bail!("not so after {}s: {what}", deadline.as_secs());
            }
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
    }
}

/// Time between two looks at something that has no event to wait for.
const PROBE_INTERVAL: Duration = Duration::from_millis(40);

/// Every living process of the cluster: its process id and the name of the daemon that it is, or belongs to.
pub(crate) fn ours() -> Result<BTreeMap<i32, String>> {
    let namespaces = namespaces();
    let own = rustix::process::getpid().as_raw_pid();
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        if pid == own {
            continue;
        }
        if let Some(daemon) = belongs(pid, &namespaces) {
            found.insert(pid, daemon);
        }
    }
    Ok(found)
}

/// Kills every process of the cluster and waits until all are gone. There is no order to keep: nothing of their state is kept either.
pub(crate) async fn kill_all(deadline: Duration) -> Result<()> {
    let started = Instant::now();
    loop {
        let ours = ours()?;
        if ours.is_empty() {
            return Ok(());
        }
        if started.elapsed() > deadline {
            bail!("these processes do not end: {ours:?}");
        }
        let namespaces = namespaces();
        for pid in ours.into_keys() {
            kill(pid, &namespaces);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Kills this daemon and waits until it is gone.
pub(crate) async fn kill_daemon(name: &str, deadline: Duration) -> Result<()> {
    let started = Instant::now();
    loop {
        let found: Vec<i32> = ours()?
            .into_iter()
            .filter(|(_, daemon)| daemon == name)
            .map(|(pid, _)| pid)
            .collect();
        if found.is_empty() {
            return Ok(());
        }
        ensure!(started.elapsed() < deadline, "{name} does not end");
        let namespaces = namespaces();
        for pid in found {
            kill(pid, &namespaces);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Kills one process. The handle is taken before the look that decides, so a process id that was given to somebody else meanwhile is never hit.
fn kill(pid: i32, namespaces: &[(u64, u64)]) {
    let Some(handle) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
    else {
        return;
    };
    if belongs(pid, namespaces).is_some() {
        // A process that ended by itself in between is as good.
        let _ = pidfd_send_signal(&handle, Signal::KILL);
    }
}

/// Device and inode of each network namespace that the cluster made.
fn namespaces() -> Vec<(u64, u64)> {
    let files = Node::all()
        .into_iter()
        .map(Node::net)
        .chain([layout::world_net()]);
    files
        .filter_map(|file| identity(&file))
        .filter(|found| Some(*found) != identity(Path::new("/proc/self/ns/net")))
        .collect()
}

fn identity(file: &Path) -> Option<(u64, u64)> {
    fs::metadata(file)
        .ok()
        .map(|metadata| (metadata.dev(), metadata.ino()))
}

/// The daemon that a living process is part of, if it is one of ours. A zombie is gone: only its parent can still see it.
fn belongs(pid: i32, namespaces: &[(u64, u64)]) -> Option<String> {
    let proc = Path::new("/proc").join(pid.to_string());
    let stat = fs::read_to_string(proc.join("stat")).ok()?;
    // The state follows the command's name, which is in parentheses and may itself contain any character.
    let state = stat.rsplit_once(") ")?.1.chars().next()?;
    if matches!(state, 'Z' | 'X') {
        return None;
    }
    if let Some(daemon) = mark(&proc)? {
        return Some(daemon);
    }
    let cgroups = fs::read_to_string(proc.join("cgroup")).unwrap_or_default();
    let root = format!(":/{CGROUP_PREFIX}");
    if let Some((_, cgroup)) = cgroups.lines().find_map(|line| line.split_once(&root)) {
        return Some(format!(
            "a pod of {}",
            cgroup.split('/').next().unwrap_or_default()
        ));
    }
    let net = identity(&proc.join("ns/net"))?;
    namespaces
        .contains(&net)
        .then(|| "a program in the cluster's network".to_owned())
}

/// The daemon that a process is marked as; none if the process cannot be read any more. In another process namespace it is one of a cluster
/// inside a container, which is a machine of its own.
fn mark(proc: &Path) -> Option<Option<String>> {
    let environment = fs::read(proc.join("environ")).ok()?;
    let mut entries = environment.split(|byte| *byte == 0);
    let marked = entries.find_map(|entry| entry.strip_prefix(MARK.as_bytes())?.strip_prefix(b"="));
    let here = identity(&proc.join("ns/pid")) == identity(Path::new("/proc/self/ns/pid"));
    Some(
        marked
            .filter(|_| here)
            .map(|daemon| String::from_utf8_lossy(daemon).into_owned()),
    )
}
