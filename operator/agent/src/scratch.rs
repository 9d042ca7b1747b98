//! The directories that commands of the harness may write to, brought back to what setup left
//! there.

use std::{
    collections::BTreeMap,
    fs::{self, Metadata, Permissions},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rustix::process::getpid;

use crate::{
    directory::{TEMPORARY, off_thread},
    failure::{self, Result},
};

/// Memory volumes of a container that every process of it may write to.
const SHARED: [&str; 2] = [TEMPORARY, "/dev/shm"];

/// The scratch directories of an agent.
pub(crate) struct Scratch {
    home: PathBuf,
    /// Files that existed before the first fresh command.
    left_by_setup: Arc<Mutex<Option<Content>>>,
}

/// Everything in the directories, by its path.
type Content = BTreeMap<PathBuf, Mark>;

/// State of a file or directory, compared to detect changes. No process without rights can set the
/// time of the last change of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mark {
    Directory { inode: u64, mode: u32 },
    File { inode: u64, changed: (i64, i64) },
}

impl Mark {
    fn of(metadata: &Metadata) -> Self {
        let inode = metadata.ino();
        if metadata.is_dir() {
            // It changes with every file that is created in it.
            let mode = metadata.mode();
            Self::Directory { inode, mode }
        } else {
            let changed = (metadata.ctime(), metadata.ctime_nsec());
            Self::File { inode, changed }
        }
    }
}

impl Scratch {
    /// The scratch directories with this HOME.
    pub(crate) fn new(home: PathBuf) -> Self {
        Self {
            home,
            left_by_setup: Arc::default(),
        }
    }

    /// Working directory and HOME of commands.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Removes what was added or changed since the first call, which takes note of what is there.
    /// No command may run meanwhile.
    pub(crate) async fn refresh(&self) -> Result<()> {
        let mut directories = vec![self.home.clone()];
        // Elsewhere they are not the agent's alone.
        if getpid().is_init() {
            directories.extend(SHARED.map(PathBuf::from));
        }
        let left_by_setup = Arc::clone(&self.left_by_setup);
        off_thread(move || {
            let mut left_by_setup = left_by_setup.lock().unwrap_or_else(PoisonError::into_inner);
            let done = match &*left_by_setup {
                Some(content) => directories
                    .iter()
                    .try_for_each(|directory| remove_others(directory, content)),
                None => content(&directories).map(|found| *left_by_setup = Some(found)),
            };
            done.map_err(|error| failure::file("the scratch directories", &error))
        })
        .await
    }
}

/// Everything below these directories.
fn content(directories: &[PathBuf]) -> io::Result<Content> {
    let mut content = Content::new();
    let mut open = directories.to_vec();
    while let Some(directory) = open.pop() {
        for path in entries(&directory)? {
            let mark = Mark::of(&fs::symlink_metadata(&path)?);
            if let Mark::Directory { .. } = mark {
                open.push(path.clone());
            }
            content.insert(path, mark);
        }
    }
    Ok(content)
}

/// Removes everything below a directory that is not as it was, and gives its directories back the
/// modes that they had.
fn remove_others(directory: &Path, content: &Content) -> io::Result<()> {
    let mut open = vec![directory.to_owned()];
    // Directories to remove, each behind the one that it lies in.
    let mut gone = Vec::new();
    while let Some(directory) = open.pop() {
        for path in entries(&directory)? {
            let mark = Mark::of(&fs::symlink_metadata(&path)?);
            match (&mark, content.get(&path)) {
                (Mark::Directory { inode, .. }, Some(Mark::Directory { inode: was, mode }))
                    if inode == was =>
                {
                    fs::set_permissions(&path, Permissions::from_mode(*mode))?;
                    open.push(path);
                }
                (Mark::Directory { .. }, _) => {
                    fs::set_permissions(&path, Permissions::from_mode(0o700))?;
                    gone.push(path.clone());
                    open.push(path);
                }
                (Mark::File { .. }, Some(was)) if mark == *was => {}
                (Mark::File { .. }, _) => fs::remove_file(&path)?,
            }
        }
    }
    gone.iter().rev().try_for_each(fs::remove_dir)
}

/// The paths of what lies in a directory; nothing when there is none.
fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(found) => found.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[tokio::test]
    async fn what_was_added_or_changed_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let write = |name: &str, text: &str| fs::write(at(name), text).unwrap();
        fs::create_dir_all(at("venv/bin")).unwrap();
        for kept in ["venv/bin/python", "changed", "linked", "moved"] {
            write(kept, "setup");
        }
        symlink("venv/bin/python", at("link")).unwrap();
        let scratch = Scratch::new(directory.path().to_owned());
        scratch.refresh().await.unwrap();

        write("added", "x");
        write(".pgpass", "x");
        write("venv/bin/added", "x");
        write("changed", "setup");
        fs::hard_link(at("linked"), at("other")).unwrap();
        fs::rename(at("moved"), at("elsewhere")).unwrap();
        fs::remove_file(at("link")).unwrap();
        symlink("added", at("link")).unwrap();
        fs::create_dir_all(at("deep/er")).unwrap();
        write("deep/er/x", "x");
        fs::set_permissions(at("deep"), Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(at("venv"), Permissions::from_mode(0o500)).unwrap();
        for _ in 0..2 {
            scratch.refresh().await.unwrap();
            let left = content(&[directory.path().to_owned()]).unwrap();
            let mut expected = ["venv", "venv/bin", "venv/bin/python"].map(at).to_vec();
            expected.sort();
            assert_eq!(left.keys().cloned().collect::<Vec<_>>(), expected);
        }
        assert_eq!(fs::read_to_string(at("venv/bin/python")).unwrap(), "setup");
        let mode = fs::metadata(at("venv")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o755);
    }
}
