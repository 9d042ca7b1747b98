//! Images of the cluster's own components.

use std::{
    collections::BTreeMap,
    fs::{self, File},
};

use anyhow::Result;
use tokio::process::Command;

use super::{
    Archive, Image, PAUSE, Workshop,
    debian::{Extraction, PACKAGES, Suite},
    layer::Tree,
    oci::Config,
};
use crate::toolchain::{cache::Key, command};

/// The sandbox's only program, linked statically.
pub(super) async fn pause(workshop: &Workshop) -> Result<Archive> {
    let source = include_str!("pause.c");
    workshop
        .archive(
            Image::Pause,
            PAUSE.to_owned(),
            Key::default().text(source),
            async |draft| {
                let (code, program) = (draft.join("pause.c"), draft.join("pause"));
                fs::write(&code, source)?;
                let mut compiler = Command::new("cc");
                compiler
                    .args(["-Os", "-static", "-s", "-o"])
                    .arg(&program)
                    .arg(&code);
                command::run(&mut compiler, &workshop.cache.log("pause")).await?;
                let layer = Tree::default().file("pause", 0o755, &program).layer()?;
                fs::remove_file(code)?;
                fs::remove_file(program)?;
                Ok((
                    vec![layer],
                    Config {
                        entrypoint: vec!["/pause"],
                        user: "65535:65535",
                        ..Config::default()
                    },
                ))
            },
        )
        .await
}

/// Busybox, with a link for each applet.
pub(super) async fn busybox(workshop: &Workshop) -> Result<Archive> {
    let name = "dryrun.local/busybox:1".to_owned();
    let extraction = Extraction {
        suite: Suite::Trixie,
        packages: vec!["busybox-static".to_owned()],
        hook: None,
    };
    let key = extraction.key(&workshop.cache).await?;
    let making = format!("building {name} from Debian packages");
    workshop
        .archive(Image::Busybox, name, key, async |draft| {
            let log = workshop.cache.log("busybox");
            let extracted = workshop
                .progress
                .phase(making, async |_| extraction.run(draft, &log).await)
                .await?;
            let program = draft.join("busybox");
            for entry in tar::Archive::new(File::open(&extracted.tar)?).entries()? {
                let mut entry = entry?;
                if entry.header().entry_type().is_file() && entry.path()?.ends_with("bin/busybox") {
                    entry.unpack(&program)?;
                }
            }
            let applets = command::stdout(Command::new(&program).arg("--list")).await?;
            let mut tree = Tree::default()
                .file("bin/busybox", 0o755, &program)
                .directory("tmp", 0o1777, 0)
                .directory("root", 0o700, 0)
                .text(
                    "etc/passwd",
                    "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
                );
            for applet in applets.lines().filter(|applet| *applet != "busybox") {
                tree = tree.link(&format!("bin/{applet}"), "busybox");
            }
            let layer = tree.with_parents().layer()?;
            fs::remove_file(program)?;
            fs::remove_file(extracted.tar)?;
            let labels = BTreeMap::from([(PACKAGES, extracted.packages)]);
            Ok((
                vec![layer],
                Config {
                    cmd: vec!["sh"],
                    env: vec!["PATH=/bin".to_owned()],
                    labels,
                    ..Config::default()
                },
            ))
        })
        .await
}

/// CoreDNS with the few plugins that a cluster needs.
pub(super) async fn dns(workshop: &Workshop) -> Result<Archive> {
    program(workshop, Image::Dns, "dryrun.local/dns:1", "dns", "/dns").await
}

/// Rancher's local-path provisioner.
pub(super) async fn local_path(workshop: &Workshop) -> Result<Archive> {
    program(
        workshop,
        Image::LocalPath,
        "dryrun.local/local-path:1",
        "local-path-provisioner",
        "/local-path-provisioner",
    )
    .await
}

/// An image that holds one program of the tools module.
async fn program(
    workshop: &Workshop,
    image: Image,
    name: &str,
    program: &str,
    entrypoint: &'static str,
) -> Result<Archive> {
    // The directory of the tools is named by the digest of their sources.
    let key = Key::default()
        .text(&workshop.tools.directory().to_string_lossy())
        .text(program);
    workshop
        .archive(image, name.to_owned(), key, async |_| {
            let layer = Tree::default()
                .file(
                    entrypoint.trim_start_matches('/'),
                    0o755,
                    &workshop.tools.path(program),
                )
                .layer()?;
            Ok((
                vec![layer],
                Config {
                    entrypoint: vec![entrypoint],
                    user: "65532:65532",
                    ..Config::default()
                },
            ))
        })
        .await
}
