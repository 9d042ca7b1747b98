//! Everything that a cluster can leave on the machine, as a set of lines to compare before and
//! after. Other programs start and end meanwhile, so only candidates are included: by the cluster's
//! names, its addresses, and the directories of its programs.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

/// Name of the cluster in all places that have a name.
const NAME: &str = "dryrun-e2e";
/// Marker in the environment of the cluster's processes.
const MARK: &[u8] = b"DRYRUN_E2E_DAEMON=";

/// Lines of the machine's network configuration with one of these strings can belong to a cluster:
/// names, addresses of nodes, pods and Services, the outside, and the tables and chains of
/// kube-proxy, the kubelet, CNI plugins and the NetworkPolicy agent.
const NETWORK: &[&str] = &[
    NAME,
    "fabric",
    "cni0",
    "172.30.0.",
    "10.244.",
    "10.96.",
    "192.0.2.1",
    "169.254.169.254",
    "kube",
    "KUBE-",
    "CNI-",
    "cni_",
    "netpol",
];

/// Parent directories of the directories of system programs.
const ROOTS: &[&str] = &[
    "/run",
    "/var/lib",
    "/var/log",
    "/etc",
    "/opt",
    "/usr/libexec",
];
/// Names of directories that belong to a cluster or a Kubernetes node with all their contents.
const OWN: &[&str] = &[
    NAME,
    "kube",
    "etcd",
    "cni",
    "/var/log/pods",
    "/var/log/containers",
];
/// Names of directories that Docker or Podman use too: only entries made for Kubernetes are
/// included.
const SHARED: &[&str] = &["containerd", "runc", "/run/netns"];
/// Directories with private file systems of a node, which must be invisible to the machine.
const PRIVATE: &[&str] = &[
    "/run/netns",
    "/run/containerd",
    "/var/lib/cni",
    "/var/log/containers",
    "/var/log/pods",
];
/// Prefixes of containerd's and CNI's names for Kubernetes.
const FOR_KUBERNETES: &[&str] = &["k8s.io", "cni-", NAME];

/// Kernel settings that a node changes, or would change without its own network namespace.
const SETTINGS: &[&str] = &[
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/vm/panic_on_oom",
    "/proc/sys/kernel/panic",
    "/proc/sys/kernel/panic_on_oops",
    "/proc/sys/kernel/keys",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv4/conf/all",
    "/proc/sys/net/ipv4/conf/default",
    "/proc/sys/net/ipv4/conf/dryrun-e2e",
    "/proc/sys/net/ipv6/conf/all",
    "/proc/sys/net/ipv6/conf/default",
    "/proc/sys/net/ipv6/conf/dryrun-e2e",
];

/// Processes, mounts, links, addresses, routes, rules, tables, cgroups, settings and files.
pub fn snapshot() -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let mut add = |kind: &str, found: Vec<String>| {
        lines.extend(found.into_iter().map(|line| format!("{kind}: {line}")));
    };
    add("process", processes().into_iter().map(|p| p.line).collect());
    add("mount", mounts());
    for (kind, command) in [
        ("link", "ip -oneline -brief link"),
        ("address", "ip -oneline -brief address"),
        ("route", "ip -oneline route show table all"),
        ("rule", "ip -oneline rule"),
        ("nft", "nft --stateless list ruleset"),
    ] {
        let mut words = command.split(' ');
        let output = Command::new(words.next().unwrap())
            .args(words)
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}");
        let text = String::from_utf8(output.stdout).unwrap();
        let ours = text.lines().filter(|line| contains(line, NETWORK));
        add(kind, ours.map(str::to_owned).collect());
    }
    add("cgroup", below(Path::new("/sys/fs/cgroup"), &is_cgroup));
    add("file", files());
    add("setting", settings());
    lines
}

/// A process of a cluster, identified for its lifetime by a unique line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    id: String,
    line: String,
}

/// All processes of a cluster: those with its marker or cgroup, and those that share a network
/// namespace with one of them.
pub fn processes() -> BTreeSet<Process> {
    let all: Vec<PathBuf> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("stat").exists())
        .collect();
    let machine = network(Path::new("/proc/self"));
    let surely: Vec<&PathBuf> = all.iter().filter(|process| is_marked(process)).collect();
    let networks: BTreeSet<_> = surely
        .iter()
        .filter_map(|process| network(process))
        .collect();
    all.iter()
        .filter(|process| {
            let network = network(process);
            surely.contains(process)
                || network != machine && network.is_some_and(|found| networks.contains(&found))
        })
        .filter_map(|process| identity(process))
        .collect()
}

/// Fails if one of these processes is alive.
pub fn assert_ended(processes: &BTreeSet<Process>) {
    let alive: Vec<&String> = processes
        .iter()
        .filter(|process| identity(&Path::new("/proc").join(&process.id)).as_ref() == Some(process))
        .map(|process| &process.line)
        .collect();
    assert!(
        alive.is_empty(),
        "these processes are still alive: {alive:#?}"
    );
}

/// Process id, name and start time of a living process.
fn identity(process: &Path) -> Option<Process> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    let (name, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    // A zombie counts as exited.
    let (state, started) = (fields.first()?, fields.get(19)?);
    (*state != "Z").then(|| Process {
        id: process
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        line: format!("{name}) started at {started}"),
    })
}

fn is_marked(process: &Path) -> bool {
    let read = |file: &str| fs::read(process.join(file)).unwrap_or_default();
    let cgroups = String::from_utf8_lossy(&read("cgroup")).into_owned();
    read("environ")
        .split(|byte| *byte == 0)
        .any(|entry| entry.starts_with(MARK))
        || cgroups
            .lines()
            .any(|line| line.contains(&format!(":/{NAME}-")))
}

/// The network namespace of a process.
fn network(process: &Path) -> Option<(u64, u64)> {
    let namespace = fs::metadata(process.join("ns/net")).ok()?;
    Some((namespace.dev(), namespace.ino()))
}

/// Mounts that name a cluster, and those on the directories on which a node mounts its private file
/// systems.
fn mounts() -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let ours = |line: &&str| {
        let target = line.split(' ').nth(1).unwrap_or_default();
        contains(line, &[NAME, "/var/lib/kubelet", "k8s.io"]) || PRIVATE.contains(&target)
    };
    mounts.lines().filter(ours).map(str::to_owned).collect()
}

/// Returns whether it is a cluster's cgroup, or the default cgroup of one of its programs.
fn is_cgroup(path: &Path) -> bool {
    let components = path.strip_prefix("/sys/fs/cgroup").unwrap_or(path);
    let names: Vec<_> = components
        .iter()
        .map(|component| component.to_string_lossy())
        .collect();
    path.is_dir()
        && (names.iter().any(|name| name.starts_with(NAME))
            || names
                .iter()
                .take(2)
                .any(|name| name.starts_with("kubepods") || name == "k8s.io"))
}

/// Directories that can belong to a cluster, and their contents.
fn files() -> Vec<String> {
    let mut files = Vec::new();
    for root in ROOTS {
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            let path = entry.path();
            let keep: &dyn Fn(&Path) -> bool = if names(&path, OWN) {
                &|_| true
            } else if names(&path, SHARED) {
                &|path| names(path, FOR_KUBERNETES)
            } else {
                continue;
            };
            files.push(path.display().to_string());
            if path.is_dir() && !path.is_symlink() {
                files.extend(below(&path, keep));
            }
        }
    }
    files
}

fn settings() -> Vec<String> {
    let mut settings = Vec::new();
    for root in SETTINGS.iter().map(Path::new) {
        let files = if root.is_dir() {
            below(root, &|path| path.is_file())
        } else {
            vec![root.display().to_string()]
        };
        for file in files {
            // Some settings are write-only.
            if let Ok(value) = fs::read_to_string(&file) {
                settings.push(format!("{file} = {}", value.trim().replace('\n', " ")));
            }
        }
    }
    settings
}

fn names(path: &Path, parts: &[&str]) -> bool {
    contains(&path.to_string_lossy(), parts)
}

fn contains(text: &str, parts: &[&str]) -> bool {
    parts.iter().any(|part| text.contains(part))
}

fn below(root: &Path, keep: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(below(&path, keep));
        }
        if keep(&path) {
            found.push(path.display().to_string());
        }
    }
    found
}

/// Fails with the added and removed lines.
pub fn assert_same(before: &BTreeSet<String>, after: &BTreeSet<String>) {
    let (came, went): (Vec<_>, Vec<_>) = (
        after.difference(before).collect(),
        before.difference(after).collect(),
    );
    assert!(
        came.is_empty() && went.is_empty(),
        "came: {came:#?}\nwent: {went:#?}"
    );
}
