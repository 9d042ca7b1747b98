//! Building and running programs: the build cache, system packages, progress output and interrupts.

use std::path::{Path, PathBuf};

pub mod cache;
pub mod command;
pub mod interrupt;
pub mod packages;
pub mod progress;
pub mod tools;

/// The root of the work tree that this program was built from.
pub fn workspace() -> PathBuf {
    let e2e = Path::new(env!("CARGO_MANIFEST_DIR"));
    e2e.parent().unwrap_or(e2e).to_path_buf()
}
