//! Build cache outside the work tree; entries are found by the digest of all their inputs.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// The cache directory: `$DRYRUN_CACHE`, otherwise `$XDG_CACHE_HOME/dryrun-e2e`, otherwise
/// `~/.cache/dryrun-e2e`.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Opens the cache and creates its directory if it is missing.
    ///
    /// # Errors
    /// No home directory is known, or the directory cannot be created.
    pub fn open() -> Result<Self> {
        let from = |variable| {
            std::env::var_os(variable)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let root = from("DRYRUN_CACHE")
            .or_else(|| from("XDG_CACHE_HOME").map(|cache| cache.join("dryrun-e2e")))
            .or_else(|| std::env::home_dir().map(|home| home.join(".cache/dryrun-e2e")))
            .context("no cache directory: set DRYRUN_CACHE")?;
        fs::create_dir_all(&root).with_context(|| format!("creating {}", root.display()))?;
        Ok(Self {
            root: std::path::absolute(root)?,
        })
    }

    /// A cache in a test's directory.
    #[cfg(test)]
    pub(crate) fn at(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
        }
    }

    /// A directory that is kept between runs and belongs to no key, such as a build's target
    /// directory.
    pub fn directory(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Path of the log of building `name`.
    pub fn log(&self, name: &str) -> PathBuf {
        self.root.join("log").join(format!("{name}.log"))
    }

    /// The directory that `make` creates for this name and key. It is created at most once: under a
    /// temporary name, then renamed when complete, so a crash never leaves a partial entry.
    ///
    /// # Errors
    /// Those of `make` and of the file system.
    pub async fn entry(
        &self,
        name: &str,
        key: &Key,
        make: impl AsyncFnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        if let Some(directory) = self.find(name, key)? {
            return Ok(directory);
        }
        let directory = self.path(name, key);
        let parent = self.root.join(name);
        fs::create_dir_all(&parent).with_context(|| format!("creating {}", parent.display()))?;
        remove_old(&parent)?;
        let draft = tempfile::Builder::new()
            .prefix(".making-")
            .tempdir_in(&parent)?;
        make(draft.path()).await?;
        let draft = draft.keep();
        match fs::rename(&draft, &directory) {
            // Another process created the same entry meanwhile: equal keys, equal contents.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists
                ) =>
            {
                fs::remove_dir_all(&draft)?
            }
            renamed => renamed.with_context(|| format!("renaming to {}", directory.display()))?,
        }
        Ok(directory)
    }

    /// The entry, if it exists.
    ///
    /// # Errors
    /// The time of its use cannot be recorded.
    pub fn find(&self, name: &str, key: &Key) -> Result<Option<PathBuf>> {
        let directory = self.path(name, key);
        if !directory.is_dir() {
            return Ok(None);
        }
        // Time of the last use, by which old entries are found.
        File::open(&directory)?.set_modified(SystemTime::now())?;
        Ok(Some(directory))
    }

    fn path(&self, name: &str, key: &Key) -> PathBuf {
        self.root.join(name).join(key.short())
    }
}

/// An entry that was unused for this long, or never completed, is removed when another entry of its
/// kind is created.
const KEPT: Duration = Duration::from_secs(14 * 24 * 60 * 60);

fn remove_old(parent: &Path) -> Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let used = entry.metadata()?.modified()?;
        if used.elapsed().is_ok_and(|unused| unused > KEPT) {
            fs::remove_dir_all(entry.path())
                .with_context(|| format!("removing {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// Digest of all inputs of an entry. Parts are length-prefixed, so that no two different lists of
/// parts give the same key.
#[derive(Clone, Debug, Default)]
pub struct Key(Sha256);

impl Key {
    /// Adds a text: a version, a flag, a recipe.
    #[must_use]
    pub fn text(mut self, part: &str) -> Self {
        self.update(part.as_bytes());
        self
    }

    /// Adds the contents of a file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn file(mut self, path: &Path) -> Result<Self> {
        self.update(&fs::read(path).with_context(|| format!("reading {}", path.display()))?);
        Ok(self)
    }

    /// Adds the names and contents of all files below a directory, in sorted order.
    ///
    /// # Errors
    /// A directory or file cannot be read.
    pub fn tree(mut self, root: &Path) -> Result<Self> {
        for path in files(root)? {
            self.update(
                path.strip_prefix(root)
                    .unwrap_or(&path)
                    .as_os_str()
                    .as_encoded_bytes(),
            );
            self = self.file(&path)?;
        }
        Ok(self)
    }

    /// The first 12 hexadecimal digits, for names in output.
    pub fn short(&self) -> String {
        hex(&self.0.clone().finalize()).chars().take(12).collect()
    }

    fn update(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part);
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// All regular files below `root`, sorted by path.
pub(crate) fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in
            fs::read_dir(&directory).with_context(|| format!("reading {}", directory.display()))?
        {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_every_part_and_on_where_it_ends() {
        assert_eq!(
            Key::default().text("a").short(),
            Key::default().text("a").short()
        );
        assert_ne!(
            Key::default().text("ab").text("c").short(),
            Key::default().text("a").text("bc").short()
        );
    }

    #[test]
    fn a_tree_key_sees_names_and_contents() {
        let directory = tempfile::tempdir().unwrap();
        let key = || Key::default().tree(directory.path()).unwrap().short();
        fs::write(directory.path().join("a"), "1").unwrap();
        let first = key();
        fs::write(directory.path().join("a"), "2").unwrap();
        let second = key();
        fs::rename(directory.path().join("a"), directory.path().join("b")).unwrap();
        assert_eq!(
            std::collections::BTreeSet::from([first, second, key()]).len(),
            3
        );
    }

    #[tokio::test]
    async fn an_unused_entry_is_removed_when_another_is_created() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::at(root.path());
        let (old, new) = (Key::default().text("old"), Key::default().text("new"));
        let made = cache.entry("thing", &old, async |_| Ok(())).await.unwrap();
        File::open(&made)
            .unwrap()
            .set_modified(SystemTime::now() - KEPT - KEPT)
            .unwrap();
        cache.entry("thing", &new, async |_| Ok(())).await.unwrap();
        assert_eq!(cache.find("thing", &old).unwrap(), None);
        assert!(cache.find("thing", &new).unwrap().is_some());
    }

    #[tokio::test]
    async fn an_entry_is_created_once_and_a_failure_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::at(root.path());
        let key = Key::default().text("x");
        assert!(
            cache
                .entry("thing", &key, async |_| anyhow::bail!("no"))
                .await
                .is_err()
        );
        assert_eq!(fs::read_dir(root.path().join("thing")).unwrap().count(), 0);
        let made = cache
            .entry("thing", &key, async |draft| {
                Ok(fs::write(draft.join("f"), "1")?)
            })
            .await
            .unwrap();
        assert_eq!(fs::read_to_string(made.join("f")).unwrap(), "1");
        let again = cache
            .entry("thing", &key, async |_| anyhow::bail!("made twice"))
            .await
            .unwrap();
        assert_eq!(made, again);
    }
}
