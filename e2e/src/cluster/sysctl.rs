//! Kernel settings that the kubelet changes machine-wide: saved before and restored afterwards.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::layout;

/// Settings that a kubelet writes at its start (`pkg/kubelet/cm`, `setupKernelTunables`).
const CHANGED: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// Saves the current values.
pub(crate) fn save() -> Result<()> {
    let mut saved = String::new();
    for name in CHANGED {
        let value = fs::read_to_string(Path::new("/proc/sys").join(name))
            .with_context(|| format!("reading the setting {name}"))?;
        saved += &format!("{name} {}\n", value.trim());
    }
    fs::write(file(), saved).context("saving kernel settings")
}

/// Restores the saved values, if there are any.
pub(crate) fn restore() -> Result<()> {
    let Ok(saved) = fs::read_to_string(file()) else {
        return Ok(());
    };
    for (name, value) in saved.lines().filter_map(|line| line.split_once(' ')) {
        fs::write(Path::new("/proc/sys").join(name), value)
            .with_context(|| format!("restoring the setting {name}"))?;
    }
    Ok(())
}

fn file() -> std::path::PathBuf {
    layout::state("sysctl.saved")
}
