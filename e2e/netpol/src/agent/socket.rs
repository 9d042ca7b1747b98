//! The agent's end of the Unix socket used by the CNI plugin.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::sandbox::{ADMISSION_DEADLINE, ADMITTED, Sandbox};

/// The socket to which the CNI plugin connects. Its file is removed with the value.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    listener: UnixListener,
}

impl Socket {
    /// Binds the socket, in place of one that a killed agent left. The path appears only when
    /// connections are accepted: a bound socket that does not listen yet refuses them (unix(7)), so
    /// it has another name until then.
    ///
    /// # Errors
    /// If the path cannot be bound.
    pub fn bind(path: &Path) -> Result<Self> {
        let unannounced = path.with_extension("new");
        if unannounced.exists() {
            fs::remove_file(&unannounced)
                .with_context(|| format!("cannot remove {}", unannounced.display()))?;
        }
        let listener = UnixListener::bind(&unannounced)
            .with_context(|| format!("cannot listen at {}", unannounced.display()))?;
        fs::rename(&unannounced, path)
            .with_context(|| format!("cannot listen at {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            listener,
        })
    }

    /// Serves the plugin's requests, each in its own task.
    pub(super) async fn serve(&self, sender: mpsc::Sender<Waiting>) -> Result<()> {
        loop {
            let (plugin, _) = self
                .listener
                .accept()
                .await
                .context("cannot accept at the CNI socket")?;
            let sender = sender.clone();
            tokio::spawn(async move {
                if let Err(error) = answer(plugin, sender).await {
                    warn!(error = format!("{error:#}"), "sandbox not admitted");
                }
            });
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A failure cannot be handled here, and `bind` removes the remaining file.
        let _ = fs::remove_file(&self.path);
    }
}

/// Serves one request of the plugin.
async fn answer(plugin: UnixStream, sender: mpsc::Sender<Waiting>) -> Result<()> {
    let mut plugin = BufReader::new(plugin);
    let mut line = String::new();
    timeout(ADMISSION_DEADLINE, plugin.read_line(&mut line))
        .await
        .context("no request")??;
    let verdict = match line.parse::<Sandbox>() {
        Ok(sandbox) => ask(sandbox, sender).await,
        Err(malformed) => Err(malformed.into()),
    };
    let answer = match &verdict {
        Ok(()) => ADMITTED.to_owned(),
        Err(error) => format!("{error:#}"),
    };
    plugin.write_all(format!("{answer}\n").as_bytes()).await?;
    verdict
}

/// Waits until the sandbox's rules are in force.
async fn ask(sandbox: Sandbox, sender: mpsc::Sender<Waiting>) -> Result<()> {
    let (admitted, answer) = oneshot::channel();
    let name = sandbox.to_string();
    let stopping = "the agent is stopping";
    sender
        .send(Waiting { sandbox, admitted })
        .await
        .context(stopping)?;
    match timeout(ADMISSION_DEADLINE, answer).await {
        Ok(answer) => answer.context(stopping),
        Err(_) => bail!("no rules in time for {name}"),
    }
}

/// A sandbox that waits for its rules. The reply may come too late, when the plugin no longer
/// waits.
pub(super) struct Waiting {
    pub(super) sandbox: Sandbox,
    admitted: oneshot::Sender<()>,
}

impl Waiting {
    /// Returns whether the plugin has given up.
    pub(super) fn is_late(&self) -> bool {
        self.admitted.is_closed()
    }

    /// Lets the sandbox start.
    pub(super) fn admit(self) {
        debug!(sandbox = %self.sandbox, "admitted");
        // If the plugin has given up, the kubelet will retry.
        let _ = self.admitted.send(());
    }
}
