//! The wish of a person, or of the machine, that this program ends: SIGINT or SIGTERM, for the whole command.
//!
//! Once [`listen`] was called neither signal ends the program by itself any more. So each piece of work stands in [`unless`], and whoever
//! owns something that must not stay removes it afterwards. A wish is never forgotten: what begins after it ends at once.

use std::{future::Future, process::ExitCode, sync::LazyLock};

use anyhow::{Context, Result};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// What a shell says of a program that SIGINT has ended.
const STATUS: u8 = 130;

static WISH: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));

/// Why work was given up.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Takes the signals over; a second one ends the program at once, whatever it is cleaning up.
///
/// # Errors
/// The signals cannot be listened to.
pub fn listen() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listening to SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening to SIGTERM")?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if WISH.send_replace(true) {
                std::process::exit(i32::from(STATUS));
            }
        }
    });
    Ok(())
}

/// Does `work`, and drops it when the program is to end.
///
/// # Errors
/// Those of `work`, or [`Interrupted`].
pub async fn unless<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut wish = WISH.subscribe();
    let done = tokio::select! {
        biased;
        // The sender lives as long as the program.
        _ = wish.wait_for(|wish| *wish) => return Err(Interrupted.into()),
        done = work => done,
    };
    // A terminal interrupts the programs that the work runs as well; their failures are no news then.
    match done {
        Err(_) if *WISH.borrow() => Err(Interrupted.into()),
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

    /// One test, since the wish is that of the whole process; nothing else in this crate's unit tests asks for it.
    #[tokio::test]
    async fn a_signal_ends_work_and_what_begins_after_it() {
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
