//! OCI image archives, written without Docker: uncompressed layers whose digests are taken while they are written, and a tar around them
//! that containerd and `kind load image-archive` import.
//!
//! An archive depends on nothing but its contents: times are zero, entries sorted, owners explicit.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use crate::cache::hex;

/// A finished layer, in a temporary file.
pub(crate) struct Layer {
    file: File,
    digest: String,
    size: u64,
}

impl Layer {
    /// Digest of the layer's tar.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }
}

/// What a layer of our own holds. Paths are relative to the root of the image.
#[derive(Default)]
pub(crate) struct Tree(BTreeMap<String, Node>);

enum Node {
    Directory { mode: u32, owner: u64 },
    File { mode: u32, source: Source },
    Link { target: String },
}

enum Source {
    Text(String),
    Path(PathBuf),
}

impl Tree {
    /// A directory owned by `owner`, user and group alike.
    pub(crate) fn directory(mut self, path: &str, mode: u32, owner: u64) -> Self {
        self.0.insert(path.to_owned(), Node::Directory { mode, owner });
        self
    }

    /// A small file that everybody may read.
    pub(crate) fn text(mut self, path: &str, text: &str) -> Self {
        self.0.insert(path.to_owned(), Node::File { mode: 0o644, source: Source::Text(text.to_owned()) });
        self
    }

    /// A copy of a file of this machine.
    pub(crate) fn file(mut self, path: &str, mode: u32, source: &Path) -> Self {
        self.0.insert(path.to_owned(), Node::File { mode, source: Source::Path(source.to_path_buf()) });
        self
    }

    /// A symbolic link.
    pub(crate) fn link(mut self, path: &str, target: &str) -> Self {
        self.0.insert(path.to_owned(), Node::Link { target: target.to_owned() });
        self
    }

    /// Adds the directories above each entry, for an image that has no other layer.
    pub(crate) fn with_parents(mut self) -> Self {
        let parents: Vec<String> = self.0.keys().flat_map(|path| path.match_indices('/').map(|(end, _)| path[..end].to_owned())).collect();
        for parent in parents {
            self.0.entry(parent).or_insert(Node::Directory { mode: 0o755, owner: 0 });
        }
        self
    }

    /// Writes the layer.
    pub(crate) fn layer(&self) -> Result<Layer> {
        let mut tar = tar::Builder::new(Hashing::temporary()?);
        for (path, node) in &self.0 {
            let mut header = Header::new_gnu();
            header.set_mtime(0);
            match node {
                Node::Directory { mode, owner } => {
                    header.set_entry_type(EntryType::Directory);
                    header.set_mode(*mode);
                    header.set_uid(*owner);
                    header.set_gid(*owner);
                    header.set_size(0);
                    tar.append_data(&mut header, format!("{path}/"), io::empty())?;
                }
                Node::File { mode, source } => {
                    header.set_mode(*mode);
                    match source {
                        Source::Text(text) => {
                            header.set_size(text.len() as u64);
                            tar.append_data(&mut header, path, text.as_bytes())?;
                        }
                        Source::Path(source) => {
                            let file = File::open(source).with_context(|| format!("opening {}", source.display()))?;
                            header.set_size(file.metadata()?.len());
                            tar.append_data(&mut header, path, file)?;
                        }
                    }
                }
                Node::Link { target } => {
                    header.set_entry_type(EntryType::Symlink);
                    header.set_mode(0o777);
                    header.set_size(0);
                    tar.append_link(&mut header, path, target)?;
                }
            }
        }
        tar.into_inner()?.finish()
    }
}

/// A layer made of those entries of the tar `source` that `keep` wants. Owners and modes stay; devices are left out, a runtime makes its own.
pub(crate) fn filtered(source: impl Read, keep: impl Fn(&str) -> bool) -> Result<Layer> {
    let mut tar = tar::Builder::new(Hashing::temporary()?);
    for entry in tar::Archive::new(BufReader::new(source)).entries()? {
        let entry = entry?;
        let path = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
        let mut header = entry.header().clone();
        let kind = header.entry_type();
        if path.is_empty() || kind.is_block_special() || kind.is_character_special() || !keep(&path) {
            continue;
        }
        header.set_mtime(0);
        if kind.is_symlink() || kind.is_hard_link() {
            let target = entry.link_name()?.with_context(|| format!("{path} links nowhere"))?.into_owned();
            let target = if kind.is_hard_link() { target.strip_prefix(".").unwrap_or(&target).to_path_buf() } else { target };
            tar.append_link(&mut header, path, target)?;
        } else {
            tar.append_data(&mut header, path, entry)?;
        }
    }
    tar.into_inner()?.finish()
}

/// How a container of the image starts, as the OCI image specification names it.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Config {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) entrypoint: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) cmd: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) env: Vec<&'static str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) user: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) working_dir: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<&'static str, String>,
}

/// Writes the archive of the image `name` and gives the digest of its manifest.
pub(crate) fn write(archive: &Path, name: &str, layers: Vec<Layer>, config: &Config) -> Result<String> {
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
    let mut tar = tar::Builder::new(BufWriter::new(File::create(archive).with_context(|| format!("creating {}", archive.display()))?));
    append(&mut tar, "oci-layout", LAYOUT.len() as u64, LAYOUT.as_bytes())?;
    let index = serde_json::to_vec(&index)?;
    append(&mut tar, "index.json", index.len() as u64, index.as_slice())?;
    for blob in [&config, &manifest] {
        append(&mut tar, &blob_path(&blob.digest), blob.bytes.len() as u64, blob.bytes.as_slice())?;
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

fn append(tar: &mut tar::Builder<impl Write>, path: &str, size: u64, contents: impl Read) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_size(size);
    tar.append_data(&mut header, path, contents).with_context(|| format!("writing {path}"))
}

fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

/// This machine's architecture, as images name it.
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

/// A temporary file that takes the digest of what is written to it.
struct Hashing {
    file: BufWriter<File>,
    sha256: Sha256,
    size: u64,
}

impl Hashing {
    fn temporary() -> Result<Self> {
        Ok(Self { file: BufWriter::with_capacity(1 << 18, tempfile::tempfile()?), sha256: Sha256::new(), size: 0 })
    }

    fn finish(self) -> Result<Layer> {
        let file = self.file.into_inner()?;
        Ok(Layer { file, digest: format!("sha256:{}", hex(&self.sha256.finalize())), size: self.size })
    }
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.sha256.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(archive: &Path) -> String {
        let tree = Tree::default().text("etc/passwd", "root:x:0:0::/:/bin/sh\n").link("bin/sh", "busybox").directory("tmp", 0o1777, 0).with_parents();
        let config = Config { entrypoint: vec!["/bin/sh"], ..Config::default() };
        write(archive, "dryrun.local/sample:1", vec![tree.layer().unwrap()], &config).unwrap()
    }

    #[test]
    fn archives_of_equal_contents_are_equal() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (directory.path().join("1"), directory.path().join("2"));
        assert_eq!(sample(&first), sample(&second));
        assert_eq!(std::fs::read(first).unwrap(), std::fs::read(second).unwrap());
    }

    #[test]
    fn every_digest_is_that_of_its_blob_and_parents_come_first() {
        let directory = tempfile::tempdir().unwrap();
        let archive = directory.path().join("image.tar");
        sample(&archive);
        let mut paths = Vec::new();
        for entry in tar::Archive::new(File::open(&archive).unwrap()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            if let Some(digest) = path.strip_prefix("blobs/sha256/") {
                assert_eq!(hex(&Sha256::digest(&bytes)), digest);
                if bytes.len() % 512 == 0 {
                    let mut layer = tar::Archive::new(bytes.as_slice());
                    paths = layer.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().to_string_lossy().into_owned()).collect();
                }
            }
        }
        assert_eq!(paths, ["bin/", "bin/sh", "etc/", "etc/passwd", "tmp/"]);
    }

    #[test]
    fn a_filter_keeps_links_and_owners_and_drops_what_is_not_wanted() {
        let mut source = tar::Builder::new(Vec::new());
        for path in ["./usr/share/doc/x", "./usr/bin/y"] {
            let mut header = Header::new_gnu();
            header.set_size(1);
            header.set_uid(7);
            header.set_mtime(99);
            source.append_data(&mut header, path, &b"1"[..]).unwrap();
        }
        let layer = filtered(source.into_inner().unwrap().as_slice(), |path| !path.starts_with("usr/share/doc/")).unwrap();
        let mut file = layer.file;
        file.rewind().unwrap();
        let mut archive = tar::Archive::new(file);
        let entries: Vec<_> = archive.entries().unwrap().map(|entry| entry.unwrap()).collect();
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].header().uid().unwrap(), entries[0].header().mtime().unwrap()), (7, 0));
    }
}
