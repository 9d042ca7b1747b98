//! Images of this workspace's crates. Each is named by the digest of its sources, so a cluster
//! never runs a stale one.

use std::path::Path;

use anyhow::Result;

use super::{Archive, Image, Workshop, layer::Tree, oci::Config};
use crate::toolchain::{
    cache::Key,
    tools::{StaticCrate, static_binaries},
};

const OPERATOR: &[StaticCrate] = &[
    StaticCrate {
        package: "dryrun-controller",
        binaries: &["dryrun-operator"],
    },
    StaticCrate {
        package: "dryrun-agent",
        binaries: &["dryrun-agent"],
    },
];

/// The NetworkPolicy agent and its CNI plugin, which run on nodes outside of containers.
pub(crate) const NETPOL: &[StaticCrate] = &[StaticCrate {
    package: "dryrun-netpol",
    binaries: &["netpol", "netpol-cni"],
}];

/// The probe of the NetworkPolicy tests.
const NETPROBE: &[StaticCrate] = &[StaticCrate {
    package: "dryrun-netpol",
    binaries: &["netprobe"],
}];

/// Directories whose contents determine the NetworkPolicy binaries.
pub(crate) const NETPOL_SOURCES: &[&str] = &["e2e/netpol"];

/// Path of Debian's bundle of certificate authorities, where programs expect it.
const CA_BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

/// The operator: exactly two static programs and a CA bundle.
pub(super) async fn operator(workshop: &Workshop) -> Result<Archive> {
    let binaries = static_binaries(
        &workshop.cache,
        &workshop.progress,
        "operator",
        OPERATOR,
        &["operator"],
    )
    .await?;
    let bundle = Path::new("/").join(CA_BUNDLE);
    let key = Key::default()
        .text(&binaries.to_string_lossy())
        .file(&bundle)?;
    workshop
        .archive(
            Image::Operator,
            format!("dryrun.local/operator:{}", key.short()),
            key.clone(),
            async |_| {
                let tree = Tree::default()
                    .file("dryrun-operator", 0o755, &binaries.join("dryrun-operator"))
                    .file("dryrun-agent", 0o755, &binaries.join("dryrun-agent"))
                    .file(CA_BUNDLE, 0o644, &bundle)
                    .with_parents();
                Ok((
                    vec![tree.layer()?],
                    Config {
                        entrypoint: vec!["/dryrun-operator"],
                        user: "65532:65532",
                        ..Config::default()
                    },
                ))
            },
        )
        .await
}

/// The probe of the NetworkPolicy tests.
pub(super) async fn netprobe(workshop: &Workshop) -> Result<Archive> {
    let binaries = static_binaries(
        &workshop.cache,
        &workshop.progress,
        "netprobe",
        NETPROBE,
        NETPOL_SOURCES,
    )
    .await?;
    let key = Key::default().text(&binaries.to_string_lossy());
    workshop
        .archive(
            Image::Netprobe,
            format!("dryrun.local/netprobe:{}", key.short()),
            key.clone(),
            async |_| {
                let layer = Tree::default()
                    .file("netprobe", 0o755, &binaries.join("netprobe"))
                    .layer()?;
                Ok((
                    vec![layer],
                    Config {
                        entrypoint: vec!["/netprobe"],
                        user: "65532:65532",
                        ..Config::default()
                    },
                ))
            },
        )
        .await
}
