//! The images that the cluster itself runs.

use anyhow::Result;
use tokio::process::Command;

use super::{Archive, Image, PAUSE, Workshop, layer::Tree, oci::Config};
use crate::{cache::Key, command};

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
                std::fs::write(&code, source)?;
                let mut compiler = Command::new("cc");
                compiler
                    .args(["-Os", "-static", "-s", "-o"])
                    .arg(&program)
                    .arg(&code);
                command::run(&mut compiler, &workshop.cache.log("pause")).await?;
                let layer = Tree::default().file("pause", 0o755, &program).layer()?;
                std::fs::remove_file(code)?;
                std::fs::remove_file(program)?;
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
    // The directory of the tools is named after the digest of their sources.
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
