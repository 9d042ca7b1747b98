//! Configuration files of the cluster's components.

use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    layout::{self, DNS_SERVICE, Node, POD_CIDR},
    pki,
};
use crate::images::PAUSE;

/// Writes the files that the control plane reads.
pub(crate) fn control_plane() -> Result<()> {
    write("admission.yaml", include_str!("config/admission.yaml"))?;
    write(
        "authentication.yaml",
        include_str!("config/authentication.yaml"),
    )?;
    write("audit.yaml", include_str!("config/audit.yaml"))?;
    let mut key = [0; 32];
    rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty())?;
    let encryption = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{
            "resources": ["secrets"],
            "providers": [{"secretbox": {"keys": [{"name": "cluster", "secret": k8s_openapi::ByteString(key.to_vec())}]}}, {"identity": {}}],
        }],
    });
    pki::secret(&layout::config("encryption.json"), &encryption.to_string())
}

/// Writes the files that the components of one node read.
pub(crate) fn node(node: Node) -> Result<()> {
    let name = node.name();
    write("resolv.conf", &format!("nameserver {DNS_SERVICE}\n"))?;
    write(&format!("containerd-{name}.toml"), &containerd(node))?;
    write(&format!("kubelet-{name}.json"), &kubelet(node).to_string())?;
    write(&format!("proxy-{name}.json"), &proxy(node).to_string())?;
    let path = node.state("cni/10-pods.conflist");
    fs::write(&path, cni(node).to_string()).with_context(|| format!("writing {}", path.display()))
}

fn write(file: &str, text: &str) -> Result<()> {
    let path = layout::config(file);
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}

/// containerd's configuration: every path that it writes to belongs to the node, and its streaming
/// server listens on an address that only the node can reach.
fn containerd(node: Node) -> String {
    let (root, state, socket) = (
        node.state("containerd"),
        node.containerd_state(),
        node.socket(),
    );
    let (opt, plugins, networks) = (node.state("opt"), node.state("cni-bin"), node.state("cni"));
    format!(
        r#"version = 2
root = "{root}"
state = "{state}"
oom_score = 0
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{opt}"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  disable_apparmor = true
  sandbox_image = "{PAUSE}"
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{networks}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"#,
        root = root.display(),
        state = state.display(),
        socket = socket.display(),
        opt = opt.display(),
        plugins = plugins.display(),
        networks = networks.display(),
    )
}

fn kubelet(node: Node) -> Value {
    let name = node.name();
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address(),
        "port": 10250,
        "readOnlyPort": 0,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": 10248,
        "containerRuntimeEndpoint": format!("unix://{}", node.socket().display()),
        "authentication": {"anonymous": {"enabled": false}, "webhook": {"enabled": true}, "x509": {"clientCAFile": layout::pki("ca.crt")}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": layout::pki(&format!("kubelet-{name}.crt")),
        "tlsPrivateKeyFile": layout::pki(&format!("kubelet-{name}.key")),
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": "cluster.local",
        "resolvConf": layout::config("resolv.conf"),
        "podLogsDir": node.state("pod-logs"),
        "volumePluginDir": node.state("volume-plugins"),
        "failCgroupV1": false,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", node.cgroup()),
        "cgroupsPerQOS": true,
        "enforceNodeAllocatable": ["pods"],
        "oomScoreAdj": 0,
        "failSwapOn": false,
        "makeIPTablesUtilChains": false,
        "protectKernelDefaults": false,
        "maxPods": 200,
        "evictionHard": {"memory.available": "200Mi", "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%"},
        // Images cannot be pulled again, so they are never collected.
        "imageGCHighThresholdPercent": 100,
        "serializeImagePulls": false,
        "nodeStatusUpdateFrequency": "4s",
        "nodeStatusReportFrequency": "1m",
        "syncFrequency": "30s",
    })
}

fn proxy(node: Node) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": node.name(),
        "clientConnection": {"kubeconfig": layout::pki("proxy.kubeconfig")},
        "clusterCIDR": POD_CIDR,
        "detectLocalMode": "ClusterCIDR",
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        // Connection tracking limits are machine-wide; zero leaves them unchanged.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "nftables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
    })
}

/// The CNI configuration. Its last plugin blocks sandbox creation until the pod's NetworkPolicies
/// are in the kernel.
fn cni(node: Node) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": false,
                "mtu": 1500,
                "ipam": {
                    "type": "host-local",
                    "dataDir": node.state("ipam"),
                    "ranges": [[{"subnet": node.pod_cidr()}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true},
            {"type": "netpol-cni", "socket": node.netpol_socket()},
        ],
    })
}
