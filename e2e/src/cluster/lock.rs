//! One `up` or `down` at a time on a machine.

use std::{
    io::ErrorKind,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
};

use anyhow::{Context, Result, bail};

/// Held for as long as the cluster is being changed. It is a socket in the abstract namespace, which the kernel takes back when its holder
/// ends in whatever way, and which leaves no file.
pub(crate) struct Lock(#[expect(dead_code, reason = "held, never used")] UnixListener);

impl Lock {
    /// Takes the lock.
    pub(crate) fn take() -> Result<Self> {
        match UnixListener::bind_addr(&SocketAddr::from_abstract_name("dryrun-e2e")?) {
            Ok(listener) => Ok(Self(listener)),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                bail!(
                    "another `cargo cluster up` or `cargo cluster down` is at work on this machine: wait until it has ended"
                )
            }
            Err(error) => Err(error).context("taking the lock of the local cluster"),
        }
    }
}
