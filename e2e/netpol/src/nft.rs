//! The one command that changes the kernel.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// A load takes tens of milliseconds; one that takes this long hangs.
const DEADLINE: Duration = Duration::from_secs(10);

/// Loads a ruleset in one transaction: either all of it is in force afterwards, or nothing has changed.
///
/// # Errors
/// If `nft` cannot be run, refuses the ruleset, or does not end.
pub(crate) async fn load(ruleset: &str) -> Result<()> {
    timeout(DEADLINE, run(ruleset))
        .await
        .context("nft does not end")?
}

async fn run(ruleset: &str) -> Result<()> {
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start nft")?;
    let mut stdin = nft.stdin.take().context("nft has no standard input")?;
    // nft reads everything before it says anything, so there is no reader to wait for while writing.
    stdin
        .write_all(ruleset.as_bytes())
        .await
        .context("nft does not read the ruleset")?;
    drop(stdin);
    let output = nft.wait_with_output().await?;
    if !output.status.success() {
        bail!(
            "nft ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
