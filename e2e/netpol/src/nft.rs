//! The command that changes the kernel.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::render::{Turn, render};
use crate::table::Table;

/// Deadline of a load, which takes tens of milliseconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// The kernel's state: the table in force.
///
/// Tables alternate because no transaction is atomic for a packet in flight. If one replaced a
/// table, a packet could pass the new table's hook before the switch and the old table's hook after
/// it, and so avoid both: at a high rate of packets, one replacement in sixty let one through. A
/// packet that meets both tables must be accepted by both, and there is always one to meet.
pub(crate) struct Kernel {
    turn: Turn,
}

impl Kernel {
    /// The kernel in the state that an earlier agent may have left.
    pub(crate) fn new() -> Self {
        Self { turn: Turn::B }
    }

    /// Puts a table in force in place of the previous one. Its denials take effect after the first
    /// half, its allowances at the end.
    ///
    /// # Errors
    /// If `nft` fails; a retry is then safe.
    pub(crate) async fn replace(&mut self, table: &Table) -> Result<()> {
        let next = self.turn.next();
        load(&render(table, next))
            .await
            .context("table not loaded")?;
        load(&self.turn.removal())
            .await
            .context("the table before not removed")?;
        self.turn = next;
        Ok(())
    }

    /// Removes every table, including those of an earlier agent.
    ///
    /// # Errors
    /// If `nft` fails.
    pub(crate) async fn clear() -> Result<()> {
        load(&Turn::ALL.map(Turn::removal).concat())
            .await
            .context("tables not removed")
    }
}

/// Loads a ruleset in one transaction, completely or not at all.
async fn load(ruleset: &str) -> Result<()> {
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
    // nft reads all input before it writes, so nothing has to be read while writing.
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
