//! etcd, API server, controller manager and scheduler, which run on the machine itself and listen
//! on loopback and on [`HOST`].

use std::{path::Path, process::Command, time::Duration};

use anyhow::Result;
use kube::Client;

use super::{
    layout::{self, API_PORT, HOST, POD_CIDR, SERVICE_CIDR},
    process::Daemons,
};
use crate::toolchain::tools::Tools;

/// Deadline for the API server to answer; it takes about three seconds.
const API_DEADLINE: Duration = Duration::from_secs(60);

/// Starts etcd and the API server.
pub(crate) fn start_api(daemons: &mut Daemons, tools: &Tools) -> Result<()> {
    let data = layout::state("etcd");
    daemons.start(
        "etcd",
        Flags::of(&tools.path("etcd"))
            .flag("name", "dryrun-e2e")
            .path("data-dir", &data)
            // The data is deleted with the cluster.
            .switch("unsafe-no-fsync")
            .flag("listen-client-urls", "https://127.0.0.1:2379")
            .flag("advertise-client-urls", "https://127.0.0.1:2379")
            .flag("listen-peer-urls", "https://127.0.0.1:2380")
            .flag("initial-advertise-peer-urls", "https://127.0.0.1:2380")
            .flag("initial-cluster", "dryrun-e2e=https://127.0.0.1:2380")
            .switch("client-cert-auth")
            .pki("trusted-ca-file", "etcd-ca.crt")
            .pki("cert-file", "etcd.crt")
            .pki("key-file", "etcd.key")
            .switch("peer-client-cert-auth")
            .pki("peer-trusted-ca-file", "etcd-ca.crt")
            .pki("peer-cert-file", "etcd.crt")
            .pki("peer-key-file", "etcd.key")
            .flag("auto-compaction-retention", "1h")
            .flag("quota-backend-bytes", "2147483648")
            .flag("log-level", "warn")
            .command(),
    )?;
    daemons.start(
        "apiserver",
        Flags::of(&tools.path("kube-apiserver"))
            .flag("bind-address", &HOST.to_string())
            .flag("advertise-address", &HOST.to_string())
            .flag("secure-port", &API_PORT.to_string())
            .flag("etcd-servers", "https://127.0.0.1:2379")
            .pki("etcd-cafile", "etcd-ca.crt")
            .pki("etcd-certfile", "apiserver-etcd.crt")
            .pki("etcd-keyfile", "apiserver-etcd.key")
            .flag("authorization-mode", "Node,RBAC")
            .flag("enable-admission-plugins", "NodeRestriction")
            .path(
                "admission-control-config-file",
                &layout::config("admission.yaml"),
            )
            .path(
                "authentication-config",
                &layout::config("authentication.yaml"),
            )
            .path(
                "encryption-provider-config",
                &layout::config("encryption.json"),
            )
            .path("audit-policy-file", &layout::config("audit.yaml"))
            .path("audit-log-path", &audit_log())
            .flag("audit-log-maxsize", "200")
            .flag("audit-log-maxbackup", "1")
            .pki("client-ca-file", "ca.crt")
            .pki("tls-cert-file", "apiserver.crt")
            .pki("tls-private-key-file", "apiserver.key")
            .pki("kubelet-client-certificate", "apiserver-kubelet.crt")
            .pki("kubelet-client-key", "apiserver-kubelet.key")
            .pki("kubelet-certificate-authority", "ca.crt")
            .flag("kubelet-preferred-address-types", "InternalIP")
            .flag(
                "service-account-issuer",
                "https://kubernetes.default.svc.cluster.local",
            )
            .pki("service-account-key-file", "service-accounts.pub")
            .pki("service-account-signing-key-file", "service-accounts.key")
            .pki("requestheader-client-ca-file", "front-proxy-ca.crt")
            .flag("requestheader-allowed-names", "front-proxy-client")
            .flag("requestheader-username-headers", "X-Remote-User")
            .flag("requestheader-group-headers", "X-Remote-Group")
            .flag("requestheader-extra-headers-prefix", "X-Remote-Extra-")
            .pki("proxy-client-cert-file", "front-proxy.crt")
            .pki("proxy-client-key-file", "front-proxy.key")
            .flag("enable-aggregator-routing", "true")
            .flag("service-cluster-ip-range", SERVICE_CIDR)
            .flag("profiling", "false")
            .flag("allow-privileged", "true")
            .command(),
    )?;
    Ok(())
}

/// Waits until the API server is ready, which includes the built-in roles.
pub(crate) async fn ready(daemons: &mut Daemons, client: &Client) -> Result<()> {
    daemons
        .until("the API server is ready", API_DEADLINE, async || {
            let request = http::Request::get("/readyz").body(Vec::new()).ok()?;
            client
                .request_text(request)
                .await
                .ok()
                .filter(|answer| answer == "ok")
                .map(drop)
        })
        .await
}

/// Starts controller manager and scheduler. Must follow [`ready`]: the API server listens before
/// its built-in roles exist, and a controller manager that is refused in between exits.
pub(crate) fn start_controllers(daemons: &mut Daemons, tools: &Tools) -> Result<()> {
    daemons.start(
        "controller-manager",
        Flags::of(&tools.path("kube-controller-manager"))
            .client("controller-manager")
            .switch("use-service-account-credentials")
            // Pod CIDRs are set on the nodes by this program; the allocator would choose different
            // ones.
            .flag("allocate-node-cidrs", "false")
            .flag("cluster-cidr", POD_CIDR)
            .flag("service-cluster-ip-range", SERVICE_CIDR)
            .pki("root-ca-file", "ca.crt")
            .pki("service-account-private-key-file", "service-accounts.key")
            .pki("cluster-signing-cert-file", "ca.crt")
            .pki("cluster-signing-key-file", "ca.key")
            .path("flex-volume-plugin-dir", &layout::state("volume-plugins"))
            .flag("node-monitor-grace-period", "20s")
            // The default of 20 requests per second throttles all controllers at start-up.
            .flag("kube-api-qps", "200")
            .flag("kube-api-burst", "400")
            .command(),
    )?;
    daemons.start(
        "scheduler",
        Flags::of(&tools.path("kube-scheduler"))
            .client("scheduler")
            .command(),
    )?;
    Ok(())
}

/// The API server's audit log: one JSON object per line.
pub(crate) fn audit_log() -> std::path::PathBuf {
    layout::state("log/audit.log")
}

/// Command line of a component, built flag by flag.
pub(crate) struct Flags(Command);

impl Flags {
    pub(crate) fn of(program: &Path) -> Self {
        Self(Command::new(program))
    }

    pub(crate) fn flag(mut self, name: &str, value: &str) -> Self {
        self.0.arg(format!("--{name}={value}"));
        self
    }

    fn switch(mut self, name: &str) -> Self {
        self.0.arg(format!("--{name}"));
        self
    }

    fn path(self, name: &str, path: &Path) -> Self {
        self.flag(name, &path.to_string_lossy())
    }

    fn pki(self, name: &str, file: &str) -> Self {
        self.path(name, &layout::pki(file))
    }

    /// Adds the flags that every API client of the control plane needs.
    fn client(self, user: &str) -> Self {
        let kubeconfig = layout::pki(&format!("{user}.kubeconfig"));
        self.path("kubeconfig", &kubeconfig)
            .path("authentication-kubeconfig", &kubeconfig)
            .path("authorization-kubeconfig", &kubeconfig)
            .flag("bind-address", "127.0.0.1")
            .flag("leader-elect", "false")
            .flag("profiling", "false")
    }

    fn command(&mut self) -> &mut Command {
        &mut self.0
    }
}
