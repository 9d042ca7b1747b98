//! One digest over a directory: what is verified after it has travelled on a volume.

use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// A node of a tree that is not a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// A regular file.
    File {
        /// Permission bits.
        mode: u32,
        /// sha256 of its bytes.
        sha256: [u8; 32],
    },
    /// A symbolic link that stays in the tree.
    Link {
        /// Its target, as written.
        target: String,
    },
}

/// Digest of the tree with these leaves by their path relative to its root, as `sha256:…`.
///
/// It is the sha256 over the sorted lines `mode path sha256`; the mode of a file is that of git
/// (100644, or 100755 when its owner may execute it), so that it does not depend on the writer's
/// umask; a link has the mode 120000 and the sha256 of its target. Paths are escaped, so that no
/// name can imitate another line.
pub fn digest(leaves: &BTreeMap<String, Leaf>) -> String {
    let mut lines: Vec<String> = leaves
        .iter()
        .map(|(path, leaf)| {
            let (mode, sha256) = match leaf {
                Leaf::File { mode, sha256 } => (
                    if mode & 0o100 == 0 {
                        "100644"
                    } else {
                        "100755"
                    },
                    hex(sha256),
                ),
                Leaf::Link { target } => ("120000", hex(&Sha256::digest(target))),
            };
            format!("{mode} {} {sha256}\n", path.escape_default())
        })
        .collect();
    lines.sort_unstable();
    prefixed(
        &lines
            .iter()
            .fold(Sha256::new(), |digest, line| digest.chain_update(line))
            .finalize(),
    )
}

/// A sha256 as facts have it: `sha256:` and lower-case hex.
pub fn prefixed(sha256: &[u8]) -> String {
    format!("sha256:{}", hex(sha256))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns true if a symbolic link at `path` with this target stays in the tree.
///
/// The target must be relative, climb with leading `..` no further than to the root, and have no
/// `..` after a name: such a name may be another link, and what `..` means behind it depends on
/// where that one leads. The caller makes sure that no directory of `path` is itself a link.
pub fn stays_inside(path: &str, target: &str) -> bool {
    if target.is_empty() || target.starts_with('/') {
        return false;
    }
    let depth = path.split('/').count() - 1;
    let mut steps = target
        .split('/')
        .filter(|step| !matches!(*step, "" | "."))
        .peekable();
    let mut climbed = 0;
    while steps.next_if_eq(&"..").is_some() {
        climbed += 1;
    }
    climbed <= depth && steps.all(|step| step != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(mode: u32, content: &str) -> Leaf {
        Leaf::File {
            mode,
            sha256: Sha256::digest(content).into(),
        }
    }

    fn tree(leaves: &[(&str, Leaf)]) -> String {
        digest(
            &leaves
                .iter()
                .map(|(path, leaf)| ((*path).to_owned(), leaf.clone()))
                .collect(),
        )
    }

    #[test]
    fn the_digest_is_over_sorted_lines() {
        let lines = format!(
            "100644 a {}\n100755 b/c {}\n",
            hex(&Sha256::digest("x")),
            hex(&Sha256::digest("y"))
        );
        assert_eq!(
            tree(&[("b/c", file(0o755, "y")), ("a", file(0o640, "x"))]),
            prefixed(&Sha256::digest(lines))
        );
    }

    #[test]
    fn every_part_of_a_leaf_counts() {
        let base = tree(&[("a", file(0o644, "x"))]);
        for other in [
            tree(&[("a", file(0o644, "y"))]),
            tree(&[("b", file(0o644, "x"))]),
            tree(&[("a", file(0o755, "x"))]),
            tree(&[("a", Leaf::Link { target: "x".into() })]),
            tree(&[]),
        ] {
            assert_ne!(base, other);
        }
        assert_eq!(base, tree(&[("a", file(0o600, "x"))]), "the umask does not");
    }

    #[test]
    fn a_name_cannot_imitate_a_line() {
        let forged = format!("a {}\n100644 b", hex(&Sha256::digest("x")));
        assert_ne!(
            tree(&[(&forged, file(0o644, "y"))]),
            tree(&[("a", file(0o644, "x")), ("b", file(0o644, "y"))])
        );
    }

    #[test]
    fn links_stay_inside_or_are_refused() {
        for (path, target) in [
            ("a", "b"),
            ("a/b", "../c"),
            ("a/b/c", "../../d/e"),
            ("a", "./b"),
            ("a/b", ".."),
        ] {
            assert!(stays_inside(path, target), "{path} -> {target}");
        }
        for (path, target) in [
            ("a", "/etc/passwd"),
            ("a", ".."),
            ("a/b", "../../c"),
            ("a/b", "c/../../.."),
            ("a", "b/../c"),
            ("a", ""),
        ] {
            assert!(!stays_inside(path, target), "{path} -> {target}");
        }
    }
}
