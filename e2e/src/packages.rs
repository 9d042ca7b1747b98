//! What the machine itself must have: Debian packages for the node's container runtime and networking, and a Go toolchain.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

use crate::{cache::Cache, command, phase::Progress};

/// A program that the local cluster runs, and the Debian package that has it.
struct Needed {
    program: &'static str,
    package: &'static str,
}

const NEEDED: &[Needed] = &[
    Needed { program: "containerd", package: "containerd" },
    Needed { program: "runc", package: "runc" },
    Needed { program: "/usr/lib/cni/ptp", package: "containernetworking-plugins" },
    Needed { program: "nft", package: "nftables" },
    Needed { program: "iptables", package: "iptables" },
    Needed { program: "ip", package: "iproute2" },
    Needed { program: "conntrack", package: "conntrack" },
    Needed { program: "sysctl", package: "procps" },
    Needed { program: "mmdebstrap", package: "mmdebstrap" },
    Needed { program: "/usr/share/keyrings/debian-archive-keyring.gpg", package: "debian-archive-keyring" },
    Needed { program: "gcc", package: "gcc" },
    Needed { program: "/etc/ssl/certs/ca-certificates.crt", package: "ca-certificates" },
];

/// The Go version that `e2e/tools/go.mod` asks for.
const GO: &str = "1.26";

/// Installs the packages that are missing, as root on Debian or Ubuntu.
///
/// # Errors
/// Another system, not root (the exact command is part of the error), or apt-get fails.
pub async fn ensure(cache: &Cache, progress: &Progress) -> Result<()> {
    ensure!(
        cfg!(target_os = "linux"),
        "the local cluster runs on Linux alone. Here use a cluster in Docker instead: `cargo cluster up --provider kind`, or set KUBECONFIG to a cluster of yours"
    );
    let missing: Vec<&str> = NEEDED.iter().filter(|needed| find(needed.program).is_none()).map(|needed| needed.package).collect();
    let root = rustix::process::geteuid().is_root();
    if !missing.is_empty() {
        ensure!(
            find("apt-get").is_some(),
            "the local cluster takes its container runtime from Debian or Ubuntu packages ({}), and this system has no apt-get. Use `cargo cluster up --provider kind`, or set KUBECONFIG to a cluster of yours",
            missing.join(" ")
        );
        let install = format!("apt-get update && apt-get install --yes --no-install-recommends {}", missing.join(" "));
        ensure!(root, "packages are missing. Install them with\n\n    sudo sh -c '{install}'\n");
        progress
            .phase(format!("installing {}", missing.join(" ")), async |_| {
                let mut shell = Command::new("sh");
                shell.args(["-c", &install]).env("DEBIAN_FRONTEND", "noninteractive");
                // Packaged daemons must not start: the cluster runs its own.
                let policy = PolicyRc::install()?;
                let installed = command::run(&mut shell, &cache.log("apt-get")).await;
                policy.remove()?;
                installed
            })
            .await?;
    }
    ensure!(
        root,
        "the local cluster makes network namespaces, mounts and cgroups, so it must be run as root. Without root use `cargo cluster up --provider kind`, or set KUBECONFIG to a cluster of yours"
    );
    Ok(())
}

/// Debian's way to install a package without starting its service: a `policy-rc.d` that answers 101.
struct PolicyRc {
    ours: bool,
}

const POLICY_RC: &str = "/usr/sbin/policy-rc.d";

impl PolicyRc {
    fn install() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let ours = !Path::new(POLICY_RC).exists();
        if ours {
            std::fs::write(POLICY_RC, "#!/bin/sh\nexit 101\n").context("writing policy-rc.d")?;
            std::fs::set_permissions(POLICY_RC, std::fs::Permissions::from_mode(0o755))?;
        }
        Ok(Self { ours })
    }

    fn remove(self) -> Result<()> {
        if self.ours {
            std::fs::remove_file(POLICY_RC).context("removing policy-rc.d")?;
        }
        Ok(())
    }
}

/// Checks that there is a Go toolchain which can build the tools.
///
/// # Errors
/// Go is missing or too old; the error says where to get it.
pub async fn require_go() -> Result<()> {
    let Some(go) = find("go") else {
        bail!("Go {GO} or newer is needed to build Kubernetes and is not in PATH: get it from https://go.dev/dl/");
    };
    // With GOTOOLCHAIN=auto, Go's default, an older one fetches what go.mod asks for.
    let module = crate::tools::workspace().join("e2e/tools");
    command::stdout(Command::new(go).current_dir(module).args(["env", "GOVERSION"]))
        .await
        .with_context(|| format!("Go {GO} or newer is needed to build Kubernetes: get it from https://go.dev/dl/"))?;
    Ok(())
}

/// The path of a program, looked up in PATH and in the system directories that PATH may lack; absolute paths stand for themselves.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|directory| directory.join(program)).find(|candidate| candidate.exists())
}
