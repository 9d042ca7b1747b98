//! The cluster's network: a namespace for each node and one for the outside. The outside holds the
//! bridge that connects the machine and all nodes, is every node's default gateway, and forwards
//! nothing; so no packet of a pod can leave the machine.

use std::{fs::File, path::Path};

use anyhow::{Context, Result};
use tokio::process::Command;

use super::layout::{
    self, GATEWAY, HOST, HOST_LINK, METADATA, Node, OUTSIDE, POD_CIDR, SERVICE_CIDR,
};
use crate::toolchain::command;

/// Creates the namespaces, links, addresses and routes.
pub(crate) async fn up(nodes: &[Node]) -> Result<()> {
    let outside = layout::outside_net();
    make_namespace(&outside).await?;
    sysctl(
        &outside,
        &[
            "net.ipv6.conf.all.disable_ipv6=1",
            "net.ipv6.conf.default.disable_ipv6=1",
            "net.ipv4.ip_forward=0",
        ],
    )
    .await?;
    let mut in_outside = format!(
        "link set lo up\n\
         addr add {OUTSIDE}/32 dev lo\n\
         addr add {METADATA}/32 dev lo\n\
         link add fabric type bridge\n\
         addr add {GATEWAY}/24 dev fabric\n\
         link set fabric up\n\
         link set host master fabric up\n"
    );
    let first = nodes.first().context("a cluster has at least one node")?;
    let mut on_host = format!(
        "addr add {HOST}/24 dev {HOST_LINK}\nlink set {HOST_LINK} up\nroute add {SERVICE_CIDR} via {}\n",
        first.address()
    );
    for node in nodes {
        let (name, address, pods, net) = (node.name(), node.address(), node.pod_cidr(), node.net());
        make_namespace(&net).await?;
        // Set before the node's link exists, so that the link starts with these defaults.
        sysctl(&net, &NODE_SETTINGS).await?;
        in_outside += &format!(
            "link add {name} type veth peer name eth0 netns {}\nlink set {name} master fabric up\nroute add {pods} via {address}\n",
            net.display()
        );
        on_host += &format!("route add {pods} via {address}\n");
    }
    let mut link = Command::new("ip");
    link.args([
        "link", "add", HOST_LINK, "type", "veth", "peer", "name", "host", "netns",
    ])
    .arg(&outside);
    command::stdout(&mut link).await?;
    ip(Some(&outside), &in_outside).await?;
    ip(None, &on_host).await?;
    for node in nodes {
        node_up(*node, nodes).await?;
    }
    Ok(())
}

/// Settings of a node, which is a router:
/// - without IPv6, pods have no link-local address that would bypass the policies;
/// - `rp_filter` drops packets whose source address is not the pod's own;
/// - no redirects are sent: the machine would cache one for the address of a deleted pod and never
///   reach the next pod with that address.
const NODE_SETTINGS: [&str; 7] = [
    "net.ipv6.conf.all.disable_ipv6=1",
    "net.ipv6.conf.default.disable_ipv6=1",
    "net.ipv4.ip_forward=1",
    "net.ipv4.conf.all.rp_filter=1",
    "net.ipv4.conf.default.rp_filter=1",
    "net.ipv4.conf.all.send_redirects=0",
    "net.ipv4.conf.default.send_redirects=0",
];

async fn node_up(node: Node, nodes: &[Node]) -> Result<()> {
    let mut batch = format!(
        "link set lo up\naddr add {}/24 dev eth0\nlink set eth0 up\nroute add default via {GATEWAY}\nroute add unreachable {}\n",
        node.address(),
        node.pod_cidr(),
    );
    for other in nodes.iter().filter(|other| **other != node) {
        batch += &format!("route add {} via {}\n", other.pod_cidr(), other.address());
    }
    ip(Some(&node.net()), &batch).await
}

/// Removes every namespace and link that [`up`] can have made; missing ones are not an error.
pub(crate) async fn down() -> Result<()> {
    if has_host_link().await? {
        command::stdout(Command::new("ip").args(["link", "delete", HOST_LINK])).await?;
    }
    for net in Node::all()
        .into_iter()
        .map(Node::net)
        .chain([layout::outside_net()])
    {
        remove_namespace(&net)?;
    }
    Ok(())
}

/// Returns whether the machine has its link into the cluster's network.
pub(crate) async fn has_host_link() -> Result<bool> {
    let links = command::stdout(Command::new("ip").args(["-oneline", "link", "show"])).await?;
    Ok(links.contains(&format!(": {HOST_LINK}@")))
}

/// Creates a network namespace, kept by a mount on the file `path`. The file is not below
/// /run/netns, which `ip netns` would turn into a persistent mount.
async fn make_namespace(path: &Path) -> Result<()> {
    File::create(path).with_context(|| format!("creating {}", path.display()))?;
    let mut unshare = Command::new("unshare");
    unshare.arg(format!("--net={}", path.display())).arg("true");
    command::stdout(&mut unshare).await?;
    Ok(())
}

fn remove_namespace(path: &Path) -> Result<()> {
    use rustix::{
        io::Errno,
        mount::{UnmountFlags, unmount},
    };
    if !path.exists() {
        return Ok(());
    }
    match unmount(path, UnmountFlags::DETACH) {
        // EINVAL: the file was created, but the namespace was not yet mounted on it.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(error).with_context(|| format!("unmounting {}", path.display())),
    }
    std::fs::remove_file(path).with_context(|| format!("removing {}", path.display()))
}

/// A command that runs in the network namespace `net`.
pub(crate) fn inside(net: &Path, program: &str) -> std::process::Command {
    let mut command = std::process::Command::new("nsenter");
    command.arg(format!("--net={}", net.display())).arg(program);
    command
}

async fn ip(net: Option<&Path>, batch: &str) -> Result<()> {
    let mut ip = match net {
        Some(net) => Command::from(inside(net, "ip")),
        None => Command::new("ip"),
    };
    command::pipe(ip.args(["-batch", "-"]), batch)
        .await
        .with_context(|| format!("setting up the cluster's network ({POD_CIDR}, {HOST}/24)"))?;
    Ok(())
}

async fn sysctl(net: &Path, settings: &[&str]) -> Result<()> {
    command::stdout(
        Command::from(inside(net, "sysctl"))
            .args(["-qw"])
            .args(settings),
    )
    .await?;
    Ok(())
}
