//! C-08 and C-10: one command of the harness.

use std::{
    io,
    os::fd::OwnedFd,
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use dryrun_core::{
    control::{CommandTask, Login},
    facts::ScenarioClaim,
};
use tempfile::NamedTempFile;
use tokio::net::unix::pipe;

use super::{Agent, log::Log};
use crate::{
    children::Child,
    connection,
    failure::{self, Result},
    program,
};

/// How long output may still come when every process of the command has ended; only outside a container can one be left to hold the pipe.
const DRAIN: Duration = Duration::from_secs(2);

/// Runs the command to its end or its timeout, and leaves no process of it behind.
pub(super) async fn run(agent: &Agent, task: CommandTask) -> Result<ScenarioClaim> {
    let mut log = Log::create(&agent.logs, &task.name)?;
    let mut claim = ScenarioClaim { name: task.name.clone(), ..ScenarioClaim::default() };
    let started = Instant::now();
    let prepared = prepare(agent, &task)?;
    match start(agent, prepared.command) {
        Ok((child, mut output)) => {
            let ended = end(agent, child, Duration::from_millis(task.timeout_ms), log.follow(&mut output)).await;
            agent.children.kill_all().await;
            // Everybody who could write has ended: what is still in the pipe is all there is.
            let rest = tokio::time::timeout(DRAIN, log.follow(&mut output)).await;
            let followed = ended.followed.and(rest.unwrap_or(Ok(())));
            followed.map_err(|error| failure::file(&agent.logs, &error))?;
            claim.exit_code = ended.status.and_then(|status| status.code());
            claim.timed_out = ended.timed_out;
        }
        Err(error) => claim.problem = Some(format!("cannot start {}: {error}", task.command.first().map_or("", String::as_str))),
    }
    claim.milliseconds = started.elapsed().as_millis() as u64;
    log.finish(&mut claim).map_err(|error| failure::file(&agent.logs, &error))?;
    Ok(claim)
}

/// A command with its passfile, which is deleted when the command has ended.
struct Prepared {
    command: Command,
    _passfile: Option<NamedTempFile>,
}
