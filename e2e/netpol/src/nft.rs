//! The one command that changes the kernel.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::render::{Turn, render};
use crate::table::Table;

/// A load takes tens of milliseconds; one that takes this long hangs.
const DEADLINE: Duration = Duration::from_secs(10);

/// The kernel's side: which of the two tables is in force.
///
/// Tables take turns because no transaction is atomic for a packet on its way. If one replaced a table, the packet could pass the new
/// table's hook before the switch and the old table's hook after it, and so go through unjudged: at a high rate of packets, one
/// replacement in sixty let one through. A packet that meets both tables has to please both, and there is always one to meet.
pub(crate) struct Kernel {
    turn: Turn,
}

impl Kernel {
    /// The kernel as an earlier agent may have left it.
    pub(crate) fn new() -> Self {
        Self { turn: Turn::B }
    }

    /// Puts a table in force in place of the one before. What it denies is denied when half of that is done, what it allows is allowed
    /// at the end.
    ///
    /// # Errors
    /// If `nft` fails; it is then safe to try again.
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

    /// Removes every table, also of an earlier agent.
    ///
    /// # Errors
    /// If `nft` fails.
    pub(crate) async fn clear() -> Result<()> {
        load(&Turn::ALL.map(Turn::removal).concat())
            .await
            .context("tables not removed")
    }
}

/// Loads a ruleset in one transaction: either all of it is done, or nothing.
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
