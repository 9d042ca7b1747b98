//! Mutual exclusion of `up` and `down` on a machine.

use std::{
    io::ErrorKind,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

/// Lock held while the cluster is being changed. It is a socket in the abstract namespace: the
/// kernel releases it when the process ends for any reason, and it leaves no file.
pub(crate) struct Lock(#[expect(dead_code, reason = "held, never used")] UnixListener);

/// Grace period for a killed holder to exit.
const PATIENCE: Duration = Duration::from_secs(1);

impl Lock {
    /// Takes the lock.
    pub(crate) async fn take() -> Result<Self> {
        let started = Instant::now();
        loop {
            match UnixListener::bind_addr(&SocketAddr::from_abstract_name("dryrun-e2e")?) {
                Ok(listener) => return Ok(Self(listener)),
                Err(error) if error.kind() != ErrorKind::AddrInUse => {
                    return Err(error).context("taking the lock of the local cluster");
                }
                Err(_) => ensure!(
                    started.elapsed() < PATIENCE,
                    "another `cargo cluster up` or `cargo cluster down` is running on this machine: wait until it has ended"
                ),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
