//! The evidence volume, a part of which was written by untrusted code.

use std::{
    collections::VecDeque,
    ffi::{CStr, OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::Path,
};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};

use crate::failure::{self, Result};

/// Directories in directories that are entered.
const DEPTH: usize = 32;
/// Bytes of all paths together.
const PATHS: usize = 16 << 20;

/// A directory whose files are read without ever leaving it.
pub(crate) struct Volume(OwnedFd);

/// Files on a volume.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Regular files, in order.
    pub(crate) files: Vec<OsString>,
    /// Entries that are not files or could not be read, with the reason.
    pub(crate) others: Vec<(OsString, String)>,
    /// Every path and every target of a link, one a line: names are texts too.
    pub(crate) names: Vec<u8>,
}

impl Volume {
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::open(directory, flags, Mode::empty())
            .map(Self)
            .map_err(|error| failure::file(directory, &error.into()))
    }

    /// Opens a regular file. Nothing else is read, and nothing is waited for: a FIFO without a
    /// writer would block for ever.
    pub(crate) fn file(&self, path: &OsStr) -> io::Result<File> {
        let file = File::from(self.resolve(path, OFlags::NONBLOCK | OFlags::NOCTTY)?);
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::Error::other("it is no regular file"))
        }
    }

    fn resolve(&self, path: &OsStr, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let inside =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        Ok(rustix::fs::openat2(
            &self.0,
            path,
            flags,
            Mode::empty(),
            inside,
        )?)
    }

    /// Lists the whole volume, as far as paths are of a sane length and number.
    pub(crate) fn list(&self) -> Listing {
        let mut listing = Listing::default();
        let mut waiting = VecDeque::from([(OsString::from("."), 0)]);
        while let Some((directory, depth)) = waiting.pop_front() {
            let listed = self.list_one(&directory, &mut listing, |found| {
                if depth == DEPTH {
                    return Some(format!("more than {DEPTH} directories deep"));
                }
                waiting.push_back((found, depth + 1));
                None
            });
            if let Err(error) = listed {
                listing.others.push((directory, error.to_string()));
            }
            if listing.names.len() > PATHS {
                let message = "there are too many files to look at all of them";
                listing
                    .others
                    .push((OsString::from("."), message.to_owned()));
                break;
            }
        }
        listing.files.sort_unstable();
        listing.others.sort_unstable();
        listing
    }

    fn list_one(
        &self,
        directory: &OsStr,
        listing: &mut Listing,
        mut enter: impl FnMut(OsString) -> Option<String>,
    ) -> io::Result<()> {
        let opened = self.resolve(directory, OFlags::DIRECTORY)?;
        for entry in Dir::read_from(&opened)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let path = join(directory, name);
            listing.names.extend_from_slice(path.as_bytes());
            listing.names.push(b'\n');
            let problem = match rustix::fs::statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(status) => match FileType::from_raw_mode(status.st_mode) {
                    FileType::RegularFile => {
                        listing.files.push(path.clone());
                        None
                    }
                    FileType::Directory => enter(path.clone()),
                    FileType::Symlink => {
                        if let Ok(target) = rustix::fs::readlinkat(opened.as_fd(), name, Vec::new())
                        {
                            listing.names.extend_from_slice(target.to_bytes());
                            listing.names.push(b'\n');
                        }
                        Some("a symbolic link is not followed".to_owned())
                    }
                    _ => Some("it is no regular file".to_owned()),
                },
                Err(error) => Some(error.to_string()),
            };
            listing
                .others
                .extend(problem.map(|problem| (path, problem)));
            if listing.names.len() > PATHS {
                break;
            }
        }
        Ok(())
    }
}

fn join(directory: &OsStr, name: &CStr) -> OsString {
    let mut path = Vec::new();
    if directory != "." {
        path.extend_from_slice(directory.as_bytes());
        path.push(b'/');
    }
    path.extend_from_slice(name.to_bytes());
    OsString::from_vec(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, io::Read, os::unix::fs::symlink};

    #[test]
    fn a_hostile_tree_is_listed_and_never_left() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::create_dir_all(path("harness/a")).unwrap();
        fs::write(path("harness/a/file"), "x").unwrap();
        fs::write(path("harness/line\nbreak"), "x").unwrap();
        symlink("/etc", path("harness/etc")).unwrap();
        symlink("a/file", path("harness/inner")).unwrap();
        let fifo = rustix::fs::CWD;
        rustix::fs::mknodat(fifo, path("harness/fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let deep = "d/".repeat(40);
        fs::create_dir_all(path(&deep)).unwrap();

        let volume = Volume::open(root.path()).unwrap();
        let listing = volume.list();
        assert_eq!(listing.files, ["harness/a/file", "harness/line\nbreak"]);
        let others: Vec<_> = listing
            .others
            .iter()
            .map(|(path, _)| path.len().min(15))
            .collect();
        assert_eq!(others, [15, 11, 12, 13], "{:?}", listing.others);
        assert!(String::from_utf8_lossy(&listing.names).contains("/etc\n"));

        let open = |name: &str| volume.file(OsStr::new(name));
        let mut text = String::new();
        open("harness/a/file")
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "x");
        for name in [
            "harness/etc/passwd",
            "harness/inner",
            "harness/fifo",
            "harness",
            "../x",
            "/etc/passwd",
        ] {
            assert!(open(name).is_err(), "{name}");
        }
    }
}
