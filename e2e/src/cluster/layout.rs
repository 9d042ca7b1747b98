//! Names, addresses and paths of the local cluster. They are fixed per machine, so that `down`
//! finds everything that any `up` can have made.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

/// On-disk state: etcd's data, container images, volumes, logs, keys.
pub(crate) const STATE: &str = "/var/lib/dryrun-e2e";
/// Sockets and network namespaces. The path is short because a socket path is limited to 107 bytes.
pub(crate) const RUN: &str = "/run/dryrun-e2e";

/// The machine's address in the cluster's network, on which the API server listens.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);
/// The address of the outside namespace, which is every node's default gateway.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 2);
/// Port of the API server.
pub(crate) const API_PORT: u16 = 6443;
/// Name of the machine's link into the cluster's network.
pub(crate) const HOST_LINK: &str = "dryrun-e2e";

/// An address outside the cluster that answers (documentation range of RFC 5737): the positive
/// control for egress checks.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The address on which cloud providers serve instance metadata.
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// TCP and UDP ports that are echoed on [`OUTSIDE`] and [`METADATA`].
pub const ECHO_PORTS: [u16; 4] = [53, 80, 443, 5432];

/// Addresses of all pods.
pub(crate) const POD_CIDR: &str = "10.244.0.0/16";
/// Addresses of all Services.
pub(crate) const SERVICE_CIDR: &str = "10.96.0.0/16";
/// The Service `kubernetes`.
pub(crate) const KUBERNETES_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// The Service `kube-dns`.
pub(crate) const DNS_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

/// Fixed directories in which containerd, CNI and the kubelet keep state. A node has a private
/// tmpfs on each.
pub(crate) const PRIVATE: [&str; 6] = [
    "/run/netns",
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/var/log/containers",
    "/var/log/pods",
    "/run/containerd",
];
/// A node's volumes, as seen from the node; on the machine they are in [`Node::volumes`].
pub(crate) const VOLUMES: &str = "/var/lib/dryrun-e2e/volumes";
/// A node's small file system, for tests that fill a volume.
pub(crate) const SMALL_VOLUMES: &str = "/var/lib/dryrun-e2e/small-volumes";
/// Size of the small file system.
pub(crate) const SMALL_SIZE: &str = "64m";

/// Prefix of the nodes' cgroups.
pub(crate) const CGROUP_PREFIX: &str = "dryrun-e2e-";

/// A path below [`STATE`].
pub(crate) fn state(path: &str) -> PathBuf {
    Path::new(STATE).join(path)
}

/// The log of one daemon.
pub(crate) fn log(daemon: &str) -> PathBuf {
    state("log").join(format!("{daemon}.log"))
}

/// A key, certificate or kubeconfig.
pub(crate) fn pki(file: &str) -> PathBuf {
    state("pki").join(file)
}

/// A configuration file of a component.
pub(crate) fn config(file: &str) -> PathBuf {
    state("config").join(file)
}

/// The network namespace of the cluster's outside.
pub(crate) fn outside_net() -> PathBuf {
    Path::new(RUN).join("outside.net")
}

/// Maximum number of nodes that the address plan allows.
pub const MAX_NODES: u8 = 9;

/// One node, named `n1`, `n2`, ….
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node(u8);

impl Node {
    /// The first `count` nodes.
    pub(crate) fn first(count: u8) -> Vec<Self> {
        (1..=count).map(Self).collect()
    }

    /// Every possible node.
    pub(crate) fn all() -> Vec<Self> {
        Self::first(MAX_NODES)
    }

    pub(crate) fn name(self) -> String {
        format!("n{}", self.0)
    }

    pub(crate) fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(172, 30, 0, 10 + self.0)
    }

    pub(crate) fn pod_cidr(self) -> String {
        format!("10.244.{}.0/24", self.0)
    }

    /// The node's directory on disk.
    pub(crate) fn state(self, path: &str) -> PathBuf {
        state(&self.name()).join(path)
    }

    /// The directory behind [`VOLUMES`].
    pub(crate) fn volumes(self) -> PathBuf {
        self.state("volumes")
    }

    fn run(self, path: &str) -> PathBuf {
        Path::new(RUN).join(self.name()).join(path)
    }

    /// The directory of the node's sockets.
    pub(crate) fn run_directory(self) -> PathBuf {
        self.run("")
    }

    /// containerd's own transient state.
    pub(crate) fn containerd_state(self) -> PathBuf {
        self.run("containerd")
    }

    /// containerd's socket.
    pub(crate) fn socket(self) -> PathBuf {
        self.run("containerd.sock")
    }

    /// Socket on which the NetworkPolicy agent listens for its CNI plugin.
    pub(crate) fn netpol_socket(self) -> PathBuf {
        self.run("netpol.sock")
    }

    /// The node's network namespace.
    pub(crate) fn net(self) -> PathBuf {
        Path::new(RUN).join(format!("{}.net", self.name()))
    }

    /// The parent cgroup of the node's pods, in every hierarchy.
    pub(crate) fn cgroup(self) -> String {
        format!("{CGROUP_PREFIX}{}", self.name())
    }
}
