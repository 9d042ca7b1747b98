//! Filling in manifests, and packing what a run gets from its user.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::cache;

/// `text` with each `${NAME}` replaced by its value.
///
/// # Errors
/// A value has no place, or a place has no value.
pub fn fill(text: &str, values: &[(&str, &str)]) -> Result<String> {
    let mut filled = text.to_owned();
    for (name, value) in values {
        let place = format!("${{{name}}}");
        ensure!(
            filled.contains(&place),
            "the manifest has no place for {name}"
        );
        filled = filled.replace(&place, value);
    }
    ensure!(
        !filled.contains("${"),
        "the manifest has a place without a value"
    );
    Ok(filled)
}

/// sha256 in lower-case hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    cache::hex(&Sha256::digest(bytes))
}

/// A tar of the files below `root`: sorted, without owners, times and byte code, so that equal sources give equal archives.
///
/// # Errors
/// A file cannot be read.
pub(super) fn pack(root: &Path) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for path in cache::files(root)? {
        if path
            .components()
            .any(|part| part.as_os_str() == "__pycache__")
        {
            continue;
        }
        let name = path.strip_prefix(root)?;
        let contents = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(contents.len().try_into()?);
        archive.append_data(&mut header, name, contents.as_slice())?;
    }
    Ok(archive.into_inner()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_filled() {
        assert_eq!(
            fill("a: ${A}\nb: ${B} ${A}\n", &[("A", "1"), ("B", "2")]).unwrap(),
            "a: 1\nb: 2 1\n"
        );
    }

    #[test]
    fn a_value_without_a_place_and_a_place_without_a_value_are_refused() {
        assert!(fill("a: ${A}", &[("A", "1"), ("B", "2")]).is_err());
        assert!(fill("a: ${A} ${B}", &[("A", "1")]).is_err());
    }

    #[test]
    fn archives_are_reproducible_and_without_byte_code() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("package/__pycache__")).unwrap();
        fs::write(root.path().join("package/b.py"), "b").unwrap();
        fs::write(root.path().join("package/a.py"), "a").unwrap();
        fs::write(root.path().join("package/__pycache__/a.pyc"), "?").unwrap();
        let first = pack(root.path()).unwrap();
        fs::write(root.path().join("package/a.py"), "a").unwrap();
        assert_eq!(first, pack(root.path()).unwrap());
        let names: Vec<_> = tar::Archive::new(first.as_slice())
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["package/a.py", "package/b.py"]);
    }
}
