//! Termination by SIGINT or SIGTERM, for the whole command.
//!
//! After [`listen`], neither signal ends the program by itself. Each piece of work is wrapped in
//! [`unless`], and the owner of temporary resources removes them afterwards. A signal is never
//! forgotten: work that starts after it ends at once.

use std::{future::Future, process::ExitCode, sync::LazyLock};

use anyhow::{Context, Result};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Exit status that a shell reports for a program ended by SIGINT.
const STATUS: u8 = 130;

static TERMINATED: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));

/// The error of work ended by a signal.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Takes the signals over; a second one ends the program at once, even during cleanup.
///
/// # Errors
/// The signal handlers cannot be installed.
pub fn listen() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listening to SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening to SIGTERM")?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if TERMINATED.send_replace(true) {
                std::process::exit(i32::from(STATUS));
            }
        }
    });
    Ok(())
}

/// Runs `work`, and drops it when a signal arrives.
///
/// # Errors
/// Those of `work`, or [`Interrupted`].
pub async fn unless<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut terminated = TERMINATED.subscribe();
    let done = tokio::select! {
        biased;
        // The sender lives as long as the program.
        _ = terminated.wait_for(|terminated| *terminated) => return Err(Interrupted.into()),
        done = work => done,
    };
    // A terminal also interrupts the programs started by the work; their failures are expected
    // then.
    match done {
        Err(_) if *TERMINATED.borrow() => Err(Interrupted.into()),
        done => done,
    }
}

/// The exit code of a command that has failed with this error.
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<Interrupted>() {
        ExitCode::from(STATUS)
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, since signals concern the whole process; no other unit test of this crate raises
    /// one.
    #[tokio::test]
    async fn a_signal_ends_current_and_later_work() {
        listen().unwrap();
        assert_eq!(unless(async { Ok(1) }).await.unwrap(), 1);
        let interrupted = unless(async {
            rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::TERM,
            )?;
            std::future::pending::<Result<()>>().await
        });
        let error = interrupted.await.unwrap_err().context("while at work");
        assert_eq!(exit_code(&error), ExitCode::from(STATUS));
        assert!(
            unless(async { Ok(()) })
                .await
                .unwrap_err()
                .is::<Interrupted>()
        );
    }
}
