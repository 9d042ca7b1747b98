//! A node: its mount namespace, container runtime, kubelet, proxy and NetworkPolicy agent.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::process::Command as AsyncCommand;

use super::{
    cgroup,
    layout::{self, Node, PRIVATE, SMALL_SIZE, SMALL_VOLUMES, VOLUMES},
    network,
    process::Daemons,
};
use crate::{
    images::Archive,
    toolchain::{command, tools::Tools},
};

/// CNI plugins of Debian's package that the network configuration uses.
const CNI_PLUGINS: [&str; 4] = ["ptp", "portmap", "host-local", "loopback"];
/// Directory in which Debian's package installs them.
const CNI_DIRECTORY: &str = "/usr/lib/cni";

/// Deadline for containerd to answer.
const CONTAINERD_DEADLINE: Duration = Duration::from_secs(30);

/// Binaries and mode of the NetworkPolicy agent.
#[derive(Clone, Debug)]
pub(crate) struct Netpol {
    /// Directory of the binaries `netpol` and `netpol-cni`.
    pub(crate) binaries: PathBuf,
    /// Enforces nothing.
    pub(crate) permissive: bool,
}

/// Creates the node's directories and cgroups.
pub(crate) fn prepare(node: Node, netpol: &Netpol) -> Result<()> {
    for directory in [
        "kubelet",
        "pod-logs",
        "ipam",
        "cni",
        "cni-bin",
        "volume-plugins",
        "volumes",
    ] {
        let directory = node.state(directory);
        fs::create_dir_all(&directory)
            .with_context(|| format!("creating {}", directory.display()))?;
    }
    fs::create_dir_all(node.run_directory())?;
    let plugins = node.state("cni-bin");
    for plugin in CNI_PLUGINS {
        symlink(Path::new(CNI_DIRECTORY).join(plugin), plugins.join(plugin))?;
    }
    symlink(
        netpol.binaries.join("netpol-cni"),
        plugins.join("netpol-cni"),
    )?;
    cgroup::create(&node.cgroup())
}

/// Starts containerd as the first process of the node's own mount namespace and returns its process
/// id, which other processes use to enter that namespace.
///
/// State that containerd, CNI and the kubelet write to fixed paths goes to private file systems
/// there, which vanish with the node's last process.
pub(crate) fn start_containerd(daemons: &mut Daemons, node: Node) -> Result<u32> {
    let mut script = String::from("set -e\nmount --make-rshared /\n");
    for path in PRIVATE {
        script += &format!("mount -t tmpfs -o mode=755 tmpfs {path}\n");
    }
    script += &format!(
        "mount --bind {} {VOLUMES}\nmount -t tmpfs -o mode=755,size={SMALL_SIZE} tmpfs {SMALL_VOLUMES}\n",
        node.volumes().display()
    );
    script += "exec containerd --config \"$1\"\n";
    let mut command = network::inside(&node.net(), "unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        &script,
        "sh",
    ]);
    command.arg(layout::config(&format!("containerd-{}.toml", node.name())));
    // nsenter, unshare and sh each exec the next program, so the process id is containerd's.
    daemons.start(&format!("containerd-{}", node.name()), &mut command)
}

/// Imports `images` into the node's containerd as soon as it answers.
pub(crate) async fn import(node: Node, images: &[Archive]) -> Result<()> {
    wait_for_containerd(node).await?;
    let present = command::stdout(ctr(node).args(["images", "list"])).await?;
    for image in images {
        if present.lines().any(|line| {
            line.starts_with(&format!("{} ", image.name)) && line.contains(&image.digest)
        }) {
            continue;
        }
        let mut import = ctr(node);
        import.args(["images", "import"]).arg(&image.file);
        command::stdout(&mut import)
            .await
            .with_context(|| format!("loading {}", image.name))?;
    }
    Ok(())
}

async fn wait_for_containerd(node: Node) -> Result<()> {
    let started = std::time::Instant::now();
    while command::stdout(ctr(node).arg("version")).await.is_err() {
        let log = layout::log(&format!("containerd-{}", node.name()));
        anyhow::ensure!(
            started.elapsed() < CONTAINERD_DEADLINE,
            "containerd does not answer; its log ends with{}",
            command::last_lines(&log)
        );
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    Ok(())
}

fn ctr(node: Node) -> AsyncCommand {
    let mut ctr = AsyncCommand::new("ctr");
    ctr.arg("--address")
        .arg(node.socket())
        .args(["--namespace", "k8s.io"]);
    ctr
}

/// Starts kubelet, proxy and NetworkPolicy agent. The kubelet shares the namespaces of the process
/// `containerd`.
pub(crate) fn start_kubelet(
    daemons: &mut Daemons,
    tools: &Tools,
    netpol: &Netpol,
    node: Node,
    containerd: u32,
) -> Result<()> {
    start_agent(daemons, netpol, node)?;
    let name = node.name();
    let mut kubelet = Command::new("nsenter");
    kubelet
        .arg(format!("--target={containerd}"))
        .args(["--mount", "--net"])
        .arg(tools.path("kubelet"));
    kubelet
        .arg("--config")
        .arg(layout::config(&format!("kubelet-{name}.json")));
    kubelet
        .arg("--kubeconfig")
        .arg(layout::pki(&format!("kubelet-{name}.kubeconfig")));
    kubelet
        .arg("--root-dir")
        .arg(node.state("kubelet"))
        .arg("--cert-dir")
        .arg(node.state("kubelet/pki"));
    kubelet.args([
        "--hostname-override",
        &name,
        "--node-ip",
        &node.address().to_string(),
    ]);
    daemons.start(&format!("kubelet-{name}"), &mut kubelet)?;

    let mut proxy = network::inside(&node.net(), &tools.path("kube-proxy").to_string_lossy());
    proxy
        .arg("--config")
        .arg(layout::config(&format!("proxy-{name}.json")));
    daemons.start(&format!("proxy-{name}"), &mut proxy)?;
    Ok(())
}

/// Name of the node's NetworkPolicy agent among the daemons.
pub(crate) fn agent(node: Node) -> String {
    format!("netpol-{}", node.name())
}

/// Starts the node's NetworkPolicy agent.
pub(crate) fn start_agent(daemons: &mut Daemons, netpol: &Netpol, node: Node) -> Result<()> {
    let name = node.name();
    let mut agent = network::inside(
        &node.net(),
        &netpol.binaries.join("netpol").to_string_lossy(),
    );
    agent
        .arg("--kubeconfig")
        .arg(layout::pki("netpol.kubeconfig"))
        .args(["--node", &name, "--pod-cidr", &node.pod_cidr()]);
    agent.arg("--cni-socket").arg(node.netpol_socket());
    if netpol.permissive {
        agent.arg("--permissive");
    }
    daemons.start(&self::agent(node), &mut agent).map(drop)
}
