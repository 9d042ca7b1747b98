//! Unpacking of an untrusted tar archive.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{OpenOptionsExt, symlink},
    path::{Component, Path},
};

use dryrun_core::digest;
use tar::{Archive, EntryType};

/// Unpacks regular files, directories and links that stay inside; anything else in the archive is
/// an error, and nothing is left out silently.
///
/// # Errors
/// An absolute path or one with `..`, a hard link, a device, a link out of the tree, a path through
/// a link, a file that exists.
pub(super) fn unpack(archive: &[u8], destination: &Path) -> io::Result<()> {
    let mut links = BTreeSet::new();
    for entry in Archive::new(archive).entries()? {
        let mut entry = entry?;
        let written = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let refused = |why: &str| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the archive's entry {written:?} {why}"),
            )
        };
        let path = inner(&written).ok_or_else(|| refused("leads out of the tree"))?;
        if path.is_empty() {
            continue;
        }
        if links.iter().any(|link| Path::new(&path).starts_with(link)) {
            return Err(refused("passes through a link"));
        }
        let target = destination.join(&path);
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            fs::create_dir_all(&target)?;
            continue;
        }
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        match kind {
            EntryType::Regular | EntryType::Continuous => {
                let mode = if entry.header().mode()? & 0o100 == 0 {
                    0o644
                } else {
                    0o755
                };
                let mut file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(mode)
                    .open(&target)?;
                io::copy(&mut entry, &mut file)?;
            }
            EntryType::Symlink => {
                let link = entry
                    .link_name()?
                    .ok_or_else(|| refused("is a link without a target"))?
                    .to_string_lossy()
                    .into_owned();
                if !digest::stays_inside(&path, &link) {
                    return Err(refused("is a link that leads out of the tree"));
                }
                symlink(&link, &target)?;
                links.insert(path);
            }
            _ => return Err(refused("is no file, directory or symbolic link")),
        }
    }
    Ok(())
}

/// The path without `.`; `None` when it is absolute, has `..` or is no UTF-8.
fn inner(written: &str) -> Option<String> {
    if written.contains(char::REPLACEMENT_CHARACTER) {
        return None;
    }
    let mut parts = Vec::new();
    for component in Path::new(written).components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tar::{Builder, Header};

    /// An archive with entries that a careful writer would refuse to make.
    fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (path, kind, content) in entries {
            let mut header = Header::new_gnu();
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            let data = if matches!(kind, EntryType::Symlink | EntryType::Link) {
                header.set_link_name_literal(content).unwrap();
                ""
            } else {
                content
            };
            header.set_size(data.len() as u64);
            header.set_cksum();
            builder.append(&header, data.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn unpacked(entries: &[(&str, EntryType, &str)]) -> (tempfile::TempDir, io::Result<()>) {
        let directory = tempfile::tempdir().unwrap();
        let result = unpack(&archive(entries), directory.path());
        (directory, result)
    }

    #[test]
    fn files_directories_and_inner_links_are_unpacked() {
        let (directory, result) = unpacked(&[
            ("./", EntryType::Directory, ""),
            ("./package/", EntryType::Directory, ""),
            ("./package/code.py", EntryType::Regular, "print()"),
            ("deep/er/file", EntryType::Regular, "x"),
            ("deep/link", EntryType::Symlink, "../package/code.py"),
        ]);
        result.unwrap();
        assert_eq!(
            fs::read_to_string(directory.path().join("deep/link")).unwrap(),
            "print()"
        );
        assert_eq!(
            fs::read_to_string(directory.path().join("deep/er/file")).unwrap(),
            "x"
        );
    }

    #[test]
    fn everything_that_could_leave_the_tree_is_refused() {
        for (why, entries) in [
            (
                "leads out",
                vec![("/etc/cron.d/x", EntryType::Regular, "x")],
            ),
            ("leads out", vec![("a/../../x", EntryType::Regular, "x")]),
            (
                "leads out of the tree",
                vec![("a", EntryType::Symlink, "/etc/passwd")],
            ),
            (
                "leads out of the tree",
                vec![("a/b", EntryType::Symlink, "../../x")],
            ),
            (
                "leads out of the tree",
                vec![("a", EntryType::Symlink, "b/../../x")],
            ),
            (
                "passes through a link",
                vec![
                    ("a", EntryType::Symlink, "b"),
                    ("a/x", EntryType::Regular, "x"),
                ],
            ),
            ("is no file", vec![("a", EntryType::Link, "/etc/passwd")]),
            ("is no file", vec![("a", EntryType::Char, "")]),
            ("is no file", vec![("a", EntryType::Fifo, "")]),
        ] {
            let (_directory, result) = unpacked(&entries);
            let error = result.unwrap_err().to_string();
            assert!(error.contains(why), "{entries:?}: {error}");
        }
    }

    #[test]
    fn no_file_is_written_twice() {
        let (_directory, result) = unpacked(&[
            ("a", EntryType::Regular, "x"),
            ("a", EntryType::Regular, "y"),
        ]);
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
