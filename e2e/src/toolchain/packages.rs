//! Requirements on the machine: Debian packages for the node's container runtime and networking,
//! and a Go toolchain.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::geteuid;
use tokio::process::Command;

use super::{cache::Cache, command, progress::Progress};

/// A required file or program, and the Debian package that contains it.
struct Needed {
    file: &'static str,
    package: &'static str,
}

/// Requirements of a local cluster's node.
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

/// Requirements for building images.
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

/// Requirements of tests without a cluster, besides a Postgres server.
const TESTS: &[Needed] = &[
    Needed {
        file: "nft",
        package: "nftables",
    },
    Needed {
        file: "unshare",
        package: "util-linux",
    },
    Needed {
        file: "python3",
        package: "python3",
    },
];

/// A Postgres server of Debian and its extensions, in the system's default version.
const POSTGRES: [&str; 2] = ["postgresql", "postgresql-contrib"];

/// Debian's directory of Postgres servers, with a directory for each version.
const POSTGRES_SERVERS: &str = "/usr/lib/postgresql";

/// The Go version that `e2e/tools/go.mod` asks for.
const GO: &str = "1.26";

/// Alternatives for machines that cannot run the local cluster.
const ELSEWHERE: &str = "use a cluster in Docker instead, `cargo cluster up --provider kind`, or set KUBECONFIG to your own cluster";

/// Installs the requirements of the local cluster, as root on Debian or Ubuntu.
///
/// # Errors
/// Another system, missing root privileges (the exact command is part of the error), or apt-get
/// fails.
pub async fn ensure_for_cluster(cache: &Cache, progress: &Progress) -> Result<()> {
    ensure!(
        cfg!(target_os = "linux"),
        "the local cluster runs on Linux only: {ELSEWHERE}"
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

/// Installs the requirements for building images, for any cluster.
///
/// # Errors
/// As [`ensure_for_cluster`].
pub async fn ensure_for_images(cache: &Cache, progress: &Progress) -> Result<()> {
    let missing = missing(&[IMAGES]);
    ensure!(
        missing.is_empty() || find("apt-get").is_some(),
        "images are built with {}, and this system has no apt-get to install it with",
        missing.join(", ")
    );
    install(&missing, cache, progress).await
}

/// Installs the requirements of tests without a cluster, if possible. Returns whether all are met,
/// so that no test has a reason to be skipped.
///
/// # Errors
/// apt-get fails.
pub async fn ensure_for_tests(cache: &Cache, progress: &Progress) -> Result<bool> {
    let missing = missing_for_tests();
    if geteuid().is_root() && find("apt-get").is_some() {
        install(&missing, cache, progress).await?;
    }
    let missing = missing_for_tests();
    if !missing.is_empty() {
        progress.say(&format!(
            "tests that need one of these packages are skipped: {}",
            missing.join(" ")
        ));
    }
    // Creating network namespaces needs root, and in some containers even root cannot.
    let mut nft = Command::new("unshare");
    nft.args(["--net", "nft", "list", "ruleset"]);
    Ok(missing.is_empty() && command::stdout(&mut nft).await.is_ok())
}

fn missing_for_tests() -> Vec<&'static str> {
    let mut missing = missing(&[TESTS]);
    if !has_server(Path::new(POSTGRES_SERVERS)) {
        missing.extend(POSTGRES);
    }
    missing
}

/// Returns whether Debian's directory has a Postgres server of any version.
fn has_server(servers: &Path) -> bool {
    let versions = std::fs::read_dir(servers).into_iter().flatten().flatten();
    versions
        .into_iter()
        .any(|version| version.path().join("bin/initdb").exists())
}

fn missing(needed: &[&[Needed]]) -> Vec<&'static str> {
    let absent = needed
        .iter()
        .flat_map(|needed| needed.iter())
        .filter(|needed| find(needed.file).is_none());
    absent.map(|needed| needed.package).collect()
}

async fn install(missing: &[&str], cache: &Cache, progress: &Progress) -> Result<()> {
    if geteuid().is_root() {
        PolicyRc::remove_left(Path::new(POLICY_RC))?;
    }
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
            // The packages' own services must not start: the cluster and the tests run their own.
            let _policy = PolicyRc::install(Path::new(POLICY_RC))?;
            command::run(&mut shell, &cache.log("apt-get")).await
        })
        .await
}

/// Debian's mechanism for installing a package without starting its service: a `policy-rc.d` that
/// exits with 101. The file exists for the lifetime of this value; an existing one is kept.
struct PolicyRc {
    ours: Option<PathBuf>,
}

const POLICY_RC: &str = "/usr/sbin/policy-rc.d";

/// Marker line of a `policy-rc.d` written by this program.
const POLICY_RC_MARK: &str = "# Written by dryrun-e2e while it installs packages whose services must not start; safe to delete at any other time.";

impl PolicyRc {
    fn install(path: &Path) -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        if path.exists() && !Self::is_ours(path) {
            return Ok(Self { ours: None });
        }
        // Created first, so that a partial failure is cleaned up too.
        let policy = Self {
            ours: Some(path.to_path_buf()),
        };
        std::fs::write(path, format!("#!/bin/sh\n{POLICY_RC_MARK}\nexit 101\n"))
            .with_context(|| format!("writing {}", path.display()))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
        Ok(policy)
    }

    /// Removes the file that a killed installation has left.
    fn remove_left(path: &Path) -> Result<()> {
        if Self::is_ours(path) {
            std::fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?;
        }
        Ok(())
    }

    fn is_ours(path: &Path) -> bool {
        std::fs::read_to_string(path)
            .is_ok_and(|text| text.lines().any(|line| line == POLICY_RC_MARK))
    }
}

impl Drop for PolicyRc {
    fn drop(&mut self) {
        if let Some(path) = &self.ours
            && let Err(error) = Self::remove_left(path)
        {
            eprintln!("package services do not start until this file is removed: {error:#}");
        }
    }
}

/// Checks that a Go toolchain exists that can build the tools.
///
/// # Errors
/// Go is missing or too old; the error contains the download address.
pub async fn require_go() -> Result<()> {
    let Some(go) = find("go") else {
        bail!(
            "Go {GO} or newer is needed to build Kubernetes and is not in PATH: get it from https://go.dev/dl/"
        );
    };
    // With GOTOOLCHAIN=auto, Go's default, an older version downloads the one required by go.mod.
    let module = super::workspace().join("e2e/tools");
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

/// The path of a program, looked up in PATH; absolute paths are returned unchanged.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.exists())
}

/// `path` with the missing system directories appended, or none if it is complete: `su` keeps the
/// PATH of an ordinary user, which lacks directories of programs such as `nft`.
pub fn completed(path: &OsStr) -> Option<OsString> {
    let mut directories: Vec<PathBuf> = std::env::split_paths(path).collect();
    let given = directories.len();
    for system in ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from) {
        if !directories.contains(&system) {
            directories.push(system);
        }
    }
    // Entries that were split from a PATH can always be joined again.
    std::env::join_paths(&directories[..])
        .ok()
        .filter(|_| directories.len() > given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_rc_is_temporary_and_a_foreign_one_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policy-rc.d");
        let policy = PolicyRc::install(&path).unwrap();
        assert!(PolicyRc::is_ours(&path));
        // A killed process leaves the file; the next installation recognises it.
        std::mem::forget(policy);
        drop(PolicyRc::install(&path).unwrap());
        assert!(!path.exists());
        std::fs::write(&path, "#!/bin/sh\nexit 101\n").unwrap();
        drop(PolicyRc::install(&path).unwrap());
        PolicyRc::remove_left(&path).unwrap();
        assert!(path.exists());
    }

    #[test]
    fn a_server_of_any_version_is_found() {
        let servers = tempfile::tempdir().unwrap();
        assert!(!has_server(&servers.path().join("absent")));
        let programs = servers.path().join("17/bin");
        std::fs::create_dir_all(&programs).unwrap();
        assert!(!has_server(servers.path()));
        std::fs::write(programs.join("initdb"), "").unwrap();
        assert!(has_server(servers.path()));
    }

    #[test]
    fn a_path_is_completed_once() {
        let completed_path = completed(OsStr::new("/home/of/me:/usr/bin")).unwrap();
        assert_eq!(completed_path, "/home/of/me:/usr/bin:/usr/sbin:/sbin:/bin");
        assert_eq!(completed(&completed_path), None);
    }
}
