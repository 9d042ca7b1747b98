//! The cluster's processes: started with a marker variable in their environment, and found again by
//! that marker, by their network namespace or by their cgroup. The kernel keeps all three, so every
//! process of a crashed `up` is found, and no other process is ever killed.

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

/// Environment variable that marks a process of the cluster; its value is the daemon's name. Child
/// processes inherit it.
pub(crate) const MARK: &str = "DRYRUN_E2E_DAEMON";

/// Daemons started by this `up`, monitored while it waits for them.
#[derive(Default)]
pub(crate) struct Daemons(Vec<(String, Child)>);

impl Daemons {
    /// Starts a daemon in its own process group, so that an interrupt at the terminal reaches only
    /// `up`. Its output goes to its log.
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

    /// Fails if a daemon has exited, with the last lines of its log.
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

    /// Polls until `probe` returns a value, as long as all daemons are alive.
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
                bail!(
                    "timed out after {}s waiting until {what}",
                    deadline.as_secs()
                );
            }
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
    }
}

/// Polling interval for conditions without an event.
const PROBE_INTERVAL: Duration = Duration::from_millis(40);

/// Every living process of the cluster: its process id and the name of its daemon.
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

/// Kills every process of the cluster and waits until all have exited. The order does not matter,
/// as no state is kept.
pub(crate) async fn kill_all(deadline: Duration) -> Result<()> {
    let started = Instant::now();
    loop {
        let ours = ours()?;
        if ours.is_empty() {
            return Ok(());
        }
        if started.elapsed() > deadline {
            bail!("these processes cannot be killed: {ours:?}");
        }
        let namespaces = namespaces();
        for pid in ours.into_keys() {
            kill(pid, &namespaces);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Kills this daemon and waits until it has exited.
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
        ensure!(started.elapsed() < deadline, "{name} cannot be killed");
        let namespaces = namespaces();
        for pid in found {
            kill(pid, &namespaces);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Kills one process. The pidfd is opened before the process is identified, so a process id that
/// was reused meanwhile is never hit.
fn kill(pid: i32, namespaces: &[(u64, u64)]) {
    let Some(handle) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
    else {
        return;
    };
    if belongs(pid, namespaces).is_some() {
        // ESRCH is fine: the process has exited by itself.
        let _ = pidfd_send_signal(&handle, Signal::KILL);
    }
}

/// Device and inode of each network namespace of the cluster.
fn namespaces() -> Vec<(u64, u64)> {
    let files = Node::all()
        .into_iter()
        .map(Node::net)
        .chain([layout::outside_net()]);
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

/// The daemon that a living process belongs to, if it is one of the cluster's. A zombie counts as
/// exited.
fn belongs(pid: i32, namespaces: &[(u64, u64)]) -> Option<String> {
    let proc = Path::new("/proc").join(pid.to_string());
    let stat = fs::read_to_string(proc.join("stat")).ok()?;
    // The state follows the command name, which is in parentheses and may contain any character.
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

/// The daemon named by a process's marker; none if the process cannot be read any more. A process
/// in another pid namespace belongs to a cluster inside a container, which counts as another
/// machine.
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
