//! The cluster's programs, built from source: Kubernetes, etcd and related tools from the Go module
//! `e2e/tools`, and crates of this workspace as static binaries. Both are cached by the digest of
//! their sources.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result};
use tokio::process::Command;

use super::{
    cache::{Cache, Key},
    command,
    progress::Progress,
    workspace,
};

/// Kubernetes version reported by its binaries; `go.mod` decides which version is built.
const KUBERNETES: &str = "v1.36.3";

/// Packages of the tools module that are built by one command.
const PACKAGES: &[&str] = &[
    "k8s.io/kubernetes/cmd/kube-apiserver",
    "k8s.io/kubernetes/cmd/kube-controller-manager",
    "k8s.io/kubernetes/cmd/kube-scheduler",
    "k8s.io/kubernetes/cmd/kubelet",
    "k8s.io/kubernetes/cmd/kube-proxy",
    "k8s.io/kubernetes/cmd/kubectl",
    "go.etcd.io/etcd/server/v3",
    "sigs.k8s.io/kwok/cmd/kwok",
    "helm.sh/helm/v4/cmd/helm",
    "./cmd/dns",
];

/// Built separately: it imports `github.com/Sirupsen/logrus`, which Go refuses in one build with
/// the `github.com/sirupsen/logrus` of the others.
const LOCAL_PATH: &str = "github.com/rancher/local-path-provisioner";

/// Linker flags for small binaries.
const STRIPPED: &str = "-s -w";

/// The Go programs, ready to run.
#[derive(Clone, Debug)]
pub struct Tools {
    directory: PathBuf,
}

impl Tools {
    /// Builds the programs that are not in the cache. A cold build takes some minutes and shows
    /// each compiled package.
    ///
    /// # Errors
    /// Go is missing or a build fails.
    pub async fn ensure(cache: &Cache, progress: &Progress) -> Result<Self> {
        let module = workspace().join("e2e/tools");
        let ldflags = format!(
            "{STRIPPED} -X k8s.io/component-base/version.gitVersion={KUBERNETES} -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"
        );
        let key = Key::default()
            .tree(&module)?
            .text(&ldflags)
            .text(&PACKAGES.join(" "))
            .text(std::env::consts::ARCH);
        if let Some(directory) = cache.find("tools", &key)? {
            return Ok(Self { directory });
        }
        super::packages::require_go().await?;
        let name = format!(
            "building Kubernetes {KUBERNETES}, etcd, CoreDNS and Helm with Go (some minutes, once)"
        );
        let directory = progress
            .phase(name, async |phase| {
                cache
                    .entry("tools", &key, async |draft| {
                        let mut compiled = 0;
                        let mut note = |package: &str| {
                            compiled += 1;
                            phase.note(format!("{compiled} packages, now {package}"));
                        };
                        let mut all = go_build(&module, draft, &ldflags);
                        command::run_watched(all.args(PACKAGES), &cache.log("go-build"), &mut note)
                            .await?;
                        // Go names a binary after the last element of its path that is not a
                        // version.
                        std::fs::rename(draft.join("server"), draft.join("etcd"))
                            .context("renaming etcd's binary")?;
                        let mut local_path = go_build(&module, draft, STRIPPED);
                        command::run_watched(
                            local_path.arg(LOCAL_PATH),
                            &cache.log("go-build-local-path"),
                            &mut note,
                        )
                        .await
                    })
                    .await
            })
            .await?;
        Ok(Self { directory })
    }

    /// Path of one program, such as `kubectl` or `helm`.
    pub fn path(&self, program: &str) -> PathBuf {
        self.directory.join(program)
    }

    /// The directory of all programs.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// actionlint, which checks the workflows of the hosted runners. It has its own module and cache
/// entry, so that a new version does not rebuild Kubernetes.
///
/// # Errors
/// Go is missing or the build fails.
pub async fn actionlint(cache: &Cache, progress: &Progress) -> Result<PathBuf> {
    const NAME: &str = "actionlint";
    let module = workspace().join("e2e").join(NAME);
    let key = Key::default()
        .tree(&module)?
        .text(STRIPPED)
        .text(std::env::consts::ARCH);
    if let Some(directory) = cache.find(NAME, &key)? {
        return Ok(directory.join(NAME));
    }
    super::packages::require_go().await?;
    let directory = progress
        .phase("building actionlint with Go".to_owned(), async |_| {
            cache
                .entry(NAME, &key, async |draft| {
                    let mut build = go_build(&module, draft, STRIPPED);
                    build.arg("github.com/rhysd/actionlint/cmd/actionlint");
                    command::run(&mut build, &cache.log(NAME)).await
                })
                .await
        })
        .await?;
    Ok(directory.join(NAME))
}

fn go_build(module: &Path, output: &Path, ldflags: &str) -> Command {
    let mut go = Command::new("go");
    go.current_dir(module).env("CGO_ENABLED", "0");
    go.args([
        "build",
        "-v",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags",
        ldflags,
        "-o",
    ])
    .arg(output.join(""));
    go
}

/// The Cargo that started this program, in the workspace.
///
/// Variables that `cargo run` sets for this crate are removed: build scripts that depend on them,
/// such as ring's, would be rerun with half of all dependencies whenever a manual build alternates
/// with one by this program.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace());
    for (name, _) in std::env::vars_os() {
        let of_this_crate = name.to_str().is_some_and(|name| {
            [
                "CARGO_PKG_",
                "CARGO_MANIFEST_",
                "CARGO_BIN_",
                "CARGO_CRATE_",
            ]
            .iter()
            .any(|prefix| name.starts_with(prefix))
        });
        if of_this_crate {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Builds binaries of this workspace, statically linked with the profile `image`, and returns their
/// directory.
///
/// `sources` are the directories, relative to the workspace, whose contents are part of the cache
/// key; the workspace's manifest and lock file are always included.
///
/// # Errors
/// The sources cannot be read or do not compile.
pub async fn static_binaries(
    cache: &Cache,
    progress: &Progress,
    name: &str,
    crates: &[StaticCrate],
    sources: &[&str],
) -> Result<PathBuf> {
    let root = workspace();
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut key = Key::default().text(&target);
    for file in ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml"] {
        key = key.file(&root.join(file))?;
    }
    for source in sources {
        key = key.tree(&root.join(source))?;
    }
    if let Some(directory) = cache.find(name, &key)? {
        return Ok(directory);
    }
    progress
        .phase(
            format!("building {name} with Cargo, statically linked"),
            async |phase| {
                cache
                    .entry(name, &key, async |draft| {
                        let target_directory = cache.directory("target");
                        let linker_flags = format!(
                            "CARGO_TARGET_{}_RUSTFLAGS",
                            target.replace('-', "_").to_uppercase()
                        );
                        let mut cargo = cargo();
                        cargo.stdin(Stdio::null());
                        cargo
                            .env(linker_flags, "-C target-feature=+crt-static")
                            .env_remove("RUSTFLAGS")
                            .env_remove("CARGO_ENCODED_RUSTFLAGS");
                        cargo
                            .args([
                                "build",
                                "--locked",
                                "--profile",
                                "image",
                                "--target",
                                &target,
                                "--target-dir",
                            ])
                            .arg(&target_directory);
                        for krate in crates {
                            cargo.args(["-p", krate.package]);
                        }
                        let note = |line: &str| phase.note(line.trim().to_owned());
                        command::run_watched(&mut cargo, &cache.log(name), note).await?;
                        for binary in crates.iter().flat_map(|krate| krate.binaries) {
                            let built = target_directory.join(&target).join("image").join(binary);
                            std::fs::copy(&built, draft.join(binary))
                                .with_context(|| format!("copying {}", built.display()))?;
                            require_static(&draft.join(binary))?;
                        }
                        Ok(())
                    })
                    .await
            },
        )
        .await
}

/// A crate of this workspace and its binaries.
#[derive(Clone, Copy, Debug)]
pub struct StaticCrate {
    /// Name of the Cargo package.
    pub package: &'static str,
    /// Names of its binaries.
    pub binaries: &'static [&'static str],
}

/// Refuses a dynamically linked executable: it could not start in an image without a loader.
fn require_static(binary: &Path) -> Result<()> {
    let elf = std::fs::read(binary).with_context(|| format!("reading {}", binary.display()))?;
    let wants_loader = elf_program_types(&elf)
        .with_context(|| format!("{} is no 64-bit ELF executable", binary.display()))?
        .contains(&PT_INTERP);
    anyhow::ensure!(!wants_loader, "{} is dynamically linked", binary.display());
    Ok(())
}

/// Program header type of the dynamic loader (ELF specification, `PT_INTERP`).
const PT_INTERP: u32 = 3;

/// The `p_type` of each program header of a little-endian 64-bit ELF file.
fn elf_program_types(elf: &[u8]) -> Option<Vec<u32>> {
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let u16_at = |at: usize| Some(u16::from_le_bytes(elf.get(at..at + 2)?.try_into().ok()?));
    let table = usize::try_from(u64::from_le_bytes(elf.get(0x20..0x28)?.try_into().ok()?)).ok()?;
    let (size, count) = (usize::from(u16_at(0x36)?), usize::from(u16_at(0x38)?));
    (0..count)
        .map(|index| {
            Some(u32::from_le_bytes(
                elf.get(table + index * size..)?.get(..4)?.try_into().ok()?,
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_executable_is_recognised() {
        // The test binary itself is linked dynamically, which is Cargo's default.
        let own = std::env::current_exe().unwrap();
        assert!(
            require_static(&own)
                .unwrap_err()
                .to_string()
                .contains("dynamically linked")
        );
        assert!(elf_program_types(b"#!/bin/sh").is_none());
    }
}
