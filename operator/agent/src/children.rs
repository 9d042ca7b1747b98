//! The processes that the agent starts, and those that it inherits.
//!
//! As PID 1 of a container the agent is the parent of every orphan, so it waits for *any* child and
//! hands the status of its own children to their callers. Nothing else in this program may wait for
//! a process.

use std::{
    collections::BTreeMap,
    io,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{self, Command, ExitStatus},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process_group, wait};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Notify, oneshot},
};

/// All children of this process.
#[derive(Default)]
pub(crate) struct Children {
    /// The agent's own ones that still run, by process ID. Held while one is started or waited for,
    /// so that no status gets lost in between.
    running: Mutex<BTreeMap<i32, oneshot::Sender<ExitStatus>>>,
    reaped: Notify,
}

/// A running child, leader of its process group.
pub(crate) struct Child {
    pid: Pid,
    /// Its end; an error never occurs as long as [`Children`] lives.
    pub(crate) exit: oneshot::Receiver<ExitStatus>,
}

impl Children {
    /// Begins to wait for children. Once a process.
    ///
    /// # Errors
    /// SIGCHLD cannot be listened to.
    pub(crate) fn adopt() -> io::Result<Arc<Self>> {
        let mut signals = signal(SignalKind::child())?;
        let children = Arc::new(Self::default());
        let reaper = Arc::clone(&children);
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                reaper.reap();
            }
        });
        Ok(children)
    }

    /// Starts `command` as the leader of a new process group.
    pub(crate) fn spawn(&self, command: &mut Command) -> io::Result<Spawned> {
        let (sender, exit) = oneshot::channel();
        let mut running = self.running();
        let process = command.process_group(0).spawn()?;
        let pid = Pid::from_child(&process);
        running.insert(pid.as_raw_nonzero().get(), sender);
        Ok(Spawned {
            process,
            child: Child { pid, exit },
        })
    }

    /// Kills the child and its process group.
    pub(crate) fn kill(&self, child: &Child) {
        if self
            .running()
            .contains_key(&child.pid.as_raw_nonzero().get())
        {
            kill_group(child.pid);
        }
    }

    /// Kills everything in the container but the agent, and returns when nothing is left. Only
    /// where the agent is PID 1: elsewhere `kill(-1)` would hit unrelated processes, and a child's
    /// process group has already ended with it.
    pub(crate) async fn kill_all(&self) {
        if !getpid().is_init() {
            return;
        }
        loop {
            let reaped = self.reaped.notified();
            // The "process group" of PID 1 is `kill(-1)`: every process but the caller. No fork
            // escapes it, as one would escape a walk through /proc.
            kill_group(Pid::INIT);
            if !self.reap() {
                return;
            }
            reaped.await;
        }
    }

    /// Collects every child that has ended, and returns whether any is left.
    fn reap(&self) -> bool {
        let mut running = self.running();
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    if let Some(exit) = running.remove(&pid.as_raw_nonzero().get()) {
                        // What a command has left in its process group ends with it.
                        kill_group(pid);
                        // The receiver is gone when its task has ended.
                        let _ = exit.send(ExitStatus::from_raw(status.as_raw()));
                    }
                    self.reaped.notify_waiters();
                }
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<i32, oneshot::Sender<ExitStatus>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A child that has just been started, with its pipes.
pub(crate) struct Spawned {
    /// For its pipes alone: [`Child::exit`] reports its end.
    pub(crate) process: process::Child,
    pub(crate) child: Child,
}

/// A group that no longer exists is what is wanted.
fn kill_group(pid: Pid) {
    let _ = kill_process_group(pid, Signal::KILL);
}
