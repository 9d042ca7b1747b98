//! What the machine itself must have: Debian packages for the node's container runtime and networking, and a Go toolchain.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::geteuid;
use tokio::process::Command;

use crate::{cache::Cache, command, phase::Progress};

/// A file or program that is needed, and the Debian package that has it.
struct Needed {
    file: &'static str,
    package: &'static str,
}

/// What a node of the local cluster is made of.
const NODE: &[Needed] = &[
    Needed {
        file: "containerd",
        package: "containerd",
    },
    Needed {
        file: "runc",
        package: "runc",
    },
    Needed {
        file: "/usr/lib/cni/ptp",
        package: "containernetworking-plugins",
    },
    Needed {
        file: "nft",
        package: "nftables",
    },
    Needed {
        file: "iptables",
        package: "iptables",
    },
    Needed {
        file: "ip",
        package: "iproute2",
    },
    Needed {
        file: "conntrack",
        package: "conntrack",
    },
    Needed {
        file: "sysctl",
        package: "procps",
    },
];

/// What images are made with.
const IMAGES: &[Needed] = &[
    Needed {
        file: "mmdebstrap",
        package: "mmdebstrap",
    },
    Needed {
        file: "/usr/share/keyrings/debian-archive-keyring.gpg",
        package: "debian-archive-keyring",
    },
    Needed {
        file: "/etc/ssl/certs/ca-certificates.crt",
        package: "ca-certificates",
    },
    Needed {
        file: "cc",
        package: "gcc",
    },
];

/// The Go version that `e2e/tools/go.mod` asks for.
const GO: &str = "1.26";

/// Where to turn when the local cluster cannot run here.
const ELSEWHERE: &str = "use a cluster in Docker instead, `cargo cluster up --provider kind`, or set KUBECONFIG to a cluster of yours";

/// Installs what the local cluster needs, as root on Debian or Ubuntu.
///
/// # Errors
/// Another system, not root (the exact command is part of the error), or apt-get fails.
pub async fn ensure_for_cluster(cache: &Cache, progress: &Progress) -> Result<()> {
    ensure!(
        cfg!(target_os = "linux"),
        "the local cluster runs on Linux alone: {ELSEWHERE}"
    );
    let missing = missing(&[NODE, IMAGES]);
    ensure!(
        missing.is_empty() || find("apt-get").is_some(),
        "the local cluster takes its container runtime from packages of Debian or Ubuntu ({}), and this system has no apt-get: {ELSEWHERE}",
        missing.join(" ")
    );
    install(&missing, cache, progress).await?;
    ensure!(
        geteuid().is_root(),
        "the local cluster makes network namespaces, mounts and cgroups, and needs root: without root, {ELSEWHERE}"
    );
    Ok(())
}

/// Installs what images are made with, for any cluster.
///
/// # Errors
/// As [`ensure_for_cluster`].
pub async fn ensure_for_images(cache: &Cache, progress: &Progress) -> Result<()> {
    let missing = missing(&[IMAGES]);
    ensure!(
        missing.is_empty() || find("apt-get").is_some(),
        "images are made with {}, and this system has no apt-get to install it with",
        missing.join(", ")
    );
    install(&missing, cache, progress).await
}

fn missing(needed: &[&[Needed]]) -> Vec<&'static str> {
    let absent = needed
        .iter()
        .flat_map(|needed| needed.iter())
        .filter(|needed| find(needed.file).is_none());
    absent.map(|needed| needed.package).collect()
}

async fn install(missing: &[&str], cache: &Cache, progress: &Progress) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    let install =
        format!("apt-get update && apt-get install --yes --no-install-recommends {packages}");
    ensure!(
        geteuid().is_root(),
        "packages are missing. Install them with\n\n    sudo sh -c '{install}'\n"
    );
    progress
        .phase(format!("installing {packages}"), async |_| {
            let mut shell = Command::new("sh");
            shell
                .args(["-c", &install])
                .env("DEBIAN_FRONTEND", "noninteractive");
            // The packages' own services must not start: the cluster runs its own.
            let policy = PolicyRc::install()?;
            let installed = command::run(&mut shell, &cache.log("apt-get")).await;
            policy.remove()?;
            installed
        })
        .await
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
        bail!(
            "Go {GO} or newer is needed to build Kubernetes and is not in PATH: get it from https://go.dev/dl/"
        );
    };
    // With GOTOOLCHAIN=auto, Go's default, an older one fetches what go.mod asks for.
    let module = crate::tools::workspace().join("e2e/tools");
    command::stdout(
        Command::new(go)
            .current_dir(module)
            .args(["env", "GOVERSION"]),
    )
    .await
    .with_context(|| {
        format!("Go {GO} or newer is needed to build Kubernetes: get it from https://go.dev/dl/")
    })?;
    Ok(())
}

/// The path of a program, looked up in PATH and in the system directories that PATH may lack; absolute paths stand for themselves.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.exists())
}
