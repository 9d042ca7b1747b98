//! Layers of an image, written to temporary files and hashed on the way.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use crate::toolchain::cache::hex;

/// A finished layer, in a temporary file.
pub(crate) struct Layer {
    pub(super) file: File,
    pub(super) digest: String,
    pub(super) size: u64,
}

impl Layer {
    /// Digest of the layer's tar.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }
}

/// Contents of an additional layer. Paths are relative to the root of the image.
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
        self.0
            .insert(path.to_owned(), Node::Directory { mode, owner });
        self
    }

    /// A small world-readable file.
    pub(crate) fn text(mut self, path: &str, text: &str) -> Self {
        self.0.insert(
            path.to_owned(),
            Node::File {
                mode: 0o644,
                source: Source::Text(text.to_owned()),
            },
        );
        self
    }

    /// A copy of a file of this machine.
    pub(crate) fn file(mut self, path: &str, mode: u32, source: &Path) -> Self {
        self.0.insert(
            path.to_owned(),
            Node::File {
                mode,
                source: Source::Path(source.to_path_buf()),
            },
        );
        self
    }

    /// A symbolic link.
    pub(crate) fn link(mut self, path: &str, target: &str) -> Self {
        self.0.insert(
            path.to_owned(),
            Node::Link {
                target: target.to_owned(),
            },
        );
        self
    }

    /// Adds the parent directories of each entry, for an image without other layers.
    pub(crate) fn with_parents(mut self) -> Self {
        let parents: Vec<String> = self
            .0
            .keys()
            .flat_map(|path| {
                path.match_indices('/')
                    .map(|(end, _)| path[..end].to_owned())
            })
            .collect();
        for parent in parents {
            self.0.entry(parent).or_insert(Node::Directory {
                mode: 0o755,
                owner: 0,
            });
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
                            let file = File::open(source)
                                .with_context(|| format!("opening {}", source.display()))?;
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

/// A layer of the entries of the tar `source` that `keep` accepts. Owners and modes are kept;
/// devices are dropped, as a runtime creates its own.
pub(crate) fn filtered(source: impl Read, keep: impl Fn(&str) -> bool) -> Result<Layer> {
    let mut tar = tar::Builder::new(Hashing::temporary()?);
    for entry in tar::Archive::new(BufReader::new(source)).entries()? {
        let entry = entry?;
        let path = entry
            .path()?
            .to_string_lossy()
            .trim_start_matches("./")
            .to_owned();
        let mut header = entry.header().clone();
        let kind = header.entry_type();
        if path.is_empty() || kind.is_block_special() || kind.is_character_special() || !keep(&path)
        {
            continue;
        }
        header.set_mtime(0);
        if kind.is_symlink() || kind.is_hard_link() {
            let target = entry
                .link_name()?
                .with_context(|| format!("{path} is a link without a target"))?
                .into_owned();
            let target = if kind.is_hard_link() {
                target.strip_prefix(".").unwrap_or(&target).to_path_buf()
            } else {
                target
            };
            tar.append_link(&mut header, path, target)?;
        } else {
            tar.append_data(&mut header, path, entry)?;
        }
    }
    tar.into_inner()?.finish()
}

/// A temporary file that hashes everything written to it.
struct Hashing {
    file: BufWriter<File>,
    sha256: Sha256,
    size: u64,
}

impl Hashing {
    fn temporary() -> Result<Self> {
        Ok(Self {
            file: BufWriter::with_capacity(1 << 18, tempfile::tempfile()?),
            sha256: Sha256::new(),
            size: 0,
        })
    }

    fn finish(self) -> Result<Layer> {
        let file = self.file.into_inner()?;
        Ok(Layer {
            file,
            digest: format!("sha256:{}", hex(&self.sha256.finalize())),
            size: self.size,
        })
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
    use std::io::Seek;

    use super::*;

    #[test]
    fn a_filter_keeps_links_and_owners_and_drops_rejected_entries() {
        let mut source = tar::Builder::new(Vec::new());
        for path in ["./usr/share/doc/x", "./usr/bin/y"] {
            let mut header = Header::new_gnu();
            header.set_size(1);
            header.set_uid(7);
            header.set_mtime(99);
            source.append_data(&mut header, path, &b"1"[..]).unwrap();
        }
        let layer = filtered(source.into_inner().unwrap().as_slice(), |path| {
            !path.starts_with("usr/share/doc/")
        })
        .unwrap();
        let mut file = layer.file;
        file.rewind().unwrap();
        let mut archive = tar::Archive::new(file);
        let entries: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap())
            .collect();
        assert_eq!(entries.len(), 1);
        assert_eq!(
            (
                entries[0].header().uid().unwrap(),
                entries[0].header().mtime().unwrap()
            ),
            (7, 0)
        );
    }
}
