//! Directories on the run's volumes: digests, sizes, free space.

use dryrun_core::problem::Problem;
use std::{
    collections::BTreeMap,
    fs::{self, File, Permissions},
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use dryrun_core::digest::{self, Leaf};
use sha2::{Digest, Sha256};
use tempfile::{Builder, NamedTempFile};

use crate::failure::{self, Result};

/// A memory volume in every pod of a run, for files with passwords. Not what the image may have set
/// TMPDIR to.
pub(crate) const TEMPORARY: &str = "/tmp";

/// A new file of mode 0600 in memory, which is deleted with the returned value.
pub(crate) fn temporary(prefix: &str) -> Result<NamedTempFile> {
    Builder::new()
        .prefix(prefix)
        .tempfile_in(TEMPORARY)
        .map_err(|error| failure::file(TEMPORARY, &error))
}

/// A directory's content.
#[derive(Debug, Default)]
pub(crate) struct Content {
    leaves: BTreeMap<String, Leaf>,
    /// Bytes of its regular files.
    pub(crate) bytes: u64,
}

impl Content {
    /// Reads every file below `root`.
    ///
    /// # Errors
    /// Something in it is neither a directory, a regular file nor a link that stays inside, or has
    /// a name that is no UTF-8.
    pub(crate) async fn read(root: &Path) -> Result<Self> {
        let root = root.to_owned();
        off_thread(move || {
            let mut content = Self::default();
            content
                .add(&root, "")
                .map_err(|error| failure::file(&root, &error))?;
            Ok(content)
        })
        .await
    }

    /// Tree digest, `sha256:…`.
    pub(crate) fn digest(&self) -> String {
        digest::digest(&self.leaves)
    }

    /// Number of files and links.
    pub(crate) fn files(&self) -> u64 {
        self.leaves.len() as u64
    }

    fn add(&mut self, directory: &Path, prefix: &str) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let refused = |why: &str| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{} {why}", entry.path().display()),
                )
            };
            let name = entry
                .file_name()
                .into_string()
                .map_err(|_| refused("has a name that is no UTF-8"))?;
            let path = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.add(&entry.path(), &format!("{path}/"))?;
            } else if kind.is_symlink() {
                let target = fs::read_link(entry.path())?
                    .into_os_string()
                    .into_string()
                    .map_err(|_| refused("has a target that is no UTF-8"))?;
                if !digest::stays_inside(&path, &target) {
                    return Err(refused("is a link that leads out of the tree"));
                }
                self.leaves.insert(path, Leaf::Link { target });
            } else if kind.is_file() {
                let mut file = File::open(entry.path())?;
                let metadata = file.metadata()?;
                self.bytes += metadata.len();
                self.leaves.insert(
                    path,
                    Leaf::File {
                        mode: metadata.permissions().mode(),
                        sha256: sha256(&mut file)?,
                    },
                );
            } else {
                return Err(refused("is no file, directory or link"));
            }
        }
        Ok(())
    }
}

fn sha256(file: &mut File) -> io::Result<[u8; 32]> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digest.finalize().into()),
            read => digest.update(&buffer[..read]),
        }
    }
}

/// Gives everything below and with `root` these modes. Links are left alone.
pub(crate) fn set_modes(root: &Path, directory: u32, file: u32) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            set_modes(&entry.path(), directory, file)?;
        } else if kind.is_file() {
            let execute = if entry.metadata()?.permissions().mode() & 0o100 == 0 {
                0
            } else {
                (file & 0o444) >> 2
            };
            fs::set_permissions(entry.path(), Permissions::from_mode(file | execute))?;
        }
    }
    fs::set_permissions(root, Permissions::from_mode(directory))
}

/// Returns true if a directory is empty; one that does not exist is empty.
pub(crate) fn is_empty(directory: &Path) -> io::Result<bool> {
    match fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// Deletes what is in a directory, and leaves the directory itself: a volume is mounted there.
pub(crate) fn clear(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?
        } else {
            fs::remove_file(entry.path())?
        }
    }
    Ok(())
}

/// Bytes that an unprivileged process may still write to the volume of `directory`.
pub(crate) fn free_bytes(directory: &Path) -> Result<u64> {
    let volume =
        rustix::fs::statvfs(directory).map_err(|error| failure::file(directory, &error.into()))?;
    Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
}

/// Runs work that reads or writes much away from the threads that answer requests.
pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Problem::permanent("AgentFailed", error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[tokio::test]
    async fn a_link_out_of_the_tree_is_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("a")).unwrap();
        fs::write(root.path().join("a/file"), "x").unwrap();
        symlink("../a/file", root.path().join("a/inside")).unwrap();
        let content = Content::read(root.path()).await.unwrap();
        assert_eq!((content.files(), content.bytes), (2, 1));
        symlink("../../etc/passwd", root.path().join("a/outside")).unwrap();
        let error = Content::read(root.path()).await.unwrap_err();
        assert!(error.message.contains("leads out of the tree"), "{error}");
    }

    #[test]
    fn modes_keep_the_execute_bit() {
        let root = tempfile::tempdir().unwrap();
        let mode = |name: &str| {
            root.path()
                .join(name)
                .metadata()
                .unwrap()
                .permissions()
                .mode()
                & 0o7777
        };
        fs::write(root.path().join("plain"), "").unwrap();
        fs::write(root.path().join("tool"), "").unwrap();
        fs::set_permissions(root.path().join("tool"), Permissions::from_mode(0o700)).unwrap();
        set_modes(root.path(), 0o755, 0o444).unwrap();
        assert_eq!(
            (mode("plain"), mode("tool"), mode(".")),
            (0o444, 0o555, 0o755)
        );
    }

    #[test]
    fn a_directory_is_cleared_and_kept() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("a")).unwrap();
        fs::write(root.path().join("a/b"), "").unwrap();
        assert!(!is_empty(root.path()).unwrap());
        clear(root.path()).unwrap();
        assert!(is_empty(root.path()).unwrap() && is_empty(&root.path().join("absent")).unwrap());
    }
}
