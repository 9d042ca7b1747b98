//! OCI image archives, written without Docker: layers, configuration, manifest, and a tar of them
//! that containerd and `kind load image-archive` import.
//!
//! An archive depends only on its contents: times are zero, entries sorted, owners explicit.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Read, Seek, Write},
    path::Path,
};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::Header;

use super::layer::Layer;
use crate::toolchain::cache::hex;

/// Start-up configuration of a container, with the names of the OCI image specification.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Config {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) entrypoint: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) cmd: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) env: Vec<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) user: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) working_dir: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<&'static str, String>,
}

/// Writes the archive of the image `name` and returns the digest of its manifest.
pub(crate) fn write(
    archive: &Path,
    name: &str,
    layers: Vec<Layer>,
    config: &Config,
) -> Result<String> {
    let digests: Vec<&String> = layers.iter().map(|layer| &layer.digest).collect();
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": digests},
    });
    let config = Blob::of(&config)?;
    let descriptors: Vec<Value> = layers
        .iter()
        .map(|layer| json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer.digest, "size": layer.size}))
        .collect();
    let manifest = Blob::of(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.digest, "size": config.bytes.len()},
        "layers": descriptors,
    }))?;
    let index = json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": MANIFEST,
            "digest": manifest.digest,
            "size": manifest.bytes.len(),
            "platform": {"architecture": architecture(), "os": "linux"},
            "annotations": {
                "io.containerd.image.name": name,
                "org.opencontainers.image.ref.name": name.rsplit_once(':').map_or("latest", |(_, tag)| tag),
            },
        }],
    });
    let mut tar = tar::Builder::new(BufWriter::new(
        File::create(archive).with_context(|| format!("creating {}", archive.display()))?,
    ));
    append(
        &mut tar,
        "oci-layout",
        LAYOUT.len() as u64,
        LAYOUT.as_bytes(),
    )?;
    let index = serde_json::to_vec(&index)?;
    append(&mut tar, "index.json", index.len() as u64, index.as_slice())?;
    for blob in [&config, &manifest] {
        append(
            &mut tar,
            &blob_path(&blob.digest),
            blob.bytes.len() as u64,
            blob.bytes.as_slice(),
        )?;
    }
    for mut layer in layers {
        layer.file.rewind()?;
        append(&mut tar, &blob_path(&layer.digest), layer.size, layer.file)?;
    }
    tar.into_inner()?.flush()?;
    Ok(manifest.digest)
}

const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn append(
    tar: &mut tar::Builder<impl Write>,
    path: &str,
    size: u64,
    contents: impl Read,
) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_size(size);
    tar.append_data(&mut header, path, contents)
        .with_context(|| format!("writing {path}"))
}

fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

/// This machine's architecture, in OCI terms.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

struct Blob {
    bytes: Vec<u8>,
    digest: String,
}

impl Blob {
    fn of(value: &Value) -> Result<Self> {
        let bytes = serde_json::to_vec(value)?;
        let digest = format!("sha256:{}", hex(&Sha256::digest(&bytes)));
        Ok(Self { bytes, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::layer::Tree;

    fn sample(archive: &Path) -> String {
        let tree = Tree::default()
            .text("etc/passwd", "root:x:0:0::/:/bin/sh\n")
            .link("bin/sh", "busybox")
            .directory("tmp", 0o1777, 0)
            .with_parents();
        let config = Config {
            entrypoint: vec!["/bin/sh"],
            ..Config::default()
        };
        write(
            archive,
            "dryrun.local/sample:1",
            vec![tree.layer().unwrap()],
            &config,
        )
        .unwrap()
    }

    #[test]
    fn archives_of_equal_contents_are_equal() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (directory.path().join("1"), directory.path().join("2"));
        assert_eq!(sample(&first), sample(&second));
        assert_eq!(
            std::fs::read(first).unwrap(),
            std::fs::read(second).unwrap()
        );
    }

    #[test]
    fn every_digest_is_that_of_its_blob_and_parents_come_first() {
        let directory = tempfile::tempdir().unwrap();
        let archive = directory.path().join("image.tar");
        sample(&archive);
        let mut paths = Vec::new();
        for entry in tar::Archive::new(File::open(&archive).unwrap())
            .entries()
            .unwrap()
        {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            if let Some(digest) = path.strip_prefix("blobs/sha256/") {
                assert_eq!(hex(&Sha256::digest(&bytes)), digest);
                if bytes.len() % 512 == 0 {
                    let mut layer = tar::Archive::new(bytes.as_slice());
                    paths = layer
                        .entries()
                        .unwrap()
                        .map(|entry| {
                            entry
                                .unwrap()
                                .path()
                                .unwrap()
                                .to_string_lossy()
                                .into_owned()
                        })
                        .collect();
                }
            }
        }
        assert_eq!(paths, ["bin/", "bin/sh", "etc/", "etc/passwd", "tmp/"]);
    }
}
