//! C-08 and C-10: one command of the harness.

use std::{
    io,
    os::fd::OwnedFd,
    pin::pin,
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use dryrun_core::{agent_api::tasks::CommandTask, run::facts::ScenarioClaim};
use tempfile::NamedTempFile;
use tokio::{net::unix::pipe, time::timeout};

use super::{Agent, log::Log};
use crate::{
    children::Child,
    connection, directory,
    failure::{self, Result},
    program,
};

/// Time for output that is still in the pipe when the command has ended. In a container no process
/// is left to hold the pipe then.
const DRAIN: Duration = Duration::from_secs(2);

/// Runs the command to its end or its timeout, and leaves no process of it behind.
pub(super) async fn run(agent: &Agent, task: CommandTask) -> Result<ScenarioClaim> {
    if task.fresh {
        agent.scratch.refresh().await?;
    }
    let mut log = Log::create(&agent.logs, &task.name)?;
    let passfile = task
        .login
        .as_ref()
        .map(|login| connection::passfile(&login.user, &login.password))
        .transpose()?;
    let mut claim = ScenarioClaim {
        name: task.name.clone(),
        ..ScenarioClaim::default()
    };
    let started = Instant::now();
    match start(agent, command(agent, &task, passfile.as_ref())) {
        Ok((child, output)) => {
            let limit = Duration::from_millis(task.timeout_ms);
            let (status, kept) = follow(agent, child, output, limit, &mut log).await;
            kept.map_err(|error| failure::file(&agent.logs, &error))?;
            claim.timed_out = status.is_none();
            claim.exit_code = status.and_then(|status| status.code());
        }
        Err(error) => {
            // Not its path: what is in the plan can be as long as it likes, and this ends in the
            // message of a condition.
            claim.problem = Some(format!("cannot start the command: {}", error.kind()));
        }
    }
    claim.milliseconds = started.elapsed().as_millis() as u64;
    log.finish(&mut claim)
        .map_err(|error| failure::file(&agent.logs, &error))?;
    Ok(claim)
}

/// The command with its whole environment: none of the agent's variables is in it.
fn command(agent: &Agent, task: &CommandTask, passfile: Option<&NamedTempFile>) -> Command {
    let mut command = Command::new(task.command.first().map_or("", String::as_str));
    command
        .args(task.command.iter().skip(1))
        .current_dir(agent.scratch.home())
        .env_clear();
    command
        .env("PATH", program::search_path())
        .env("HOME", agent.scratch.home())
        .env("TMPDIR", directory::TEMPORARY)
        .envs(&task.env);
    if let (Some(login), Some(passfile)) = (&task.login, passfile) {
        command
            .env("PGHOST", &login.address)
            .env("PGPORT", login.port.to_string())
            .env("PGDATABASE", &login.database)
            .env("PGUSER", &login.user)
            .env("PGPASSFILE", passfile.path());
    }
    command
}

/// Starts it with one pipe for standard output and error, so that their order is kept.
fn start(agent: &Agent, mut command: Command) -> io::Result<(Child, pipe::Receiver)> {
    let (reader, writer) = io::pipe()?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let child = agent.children.spawn(&mut command)?.child;
    Ok((child, program::receiver(Some(OwnedFd::from(reader)))?))
}

/// Keeps the output until the command has ended; no status when it was killed at its timeout.
async fn follow(
    agent: &Agent,
    mut child: Child,
    mut output: pipe::Receiver,
    limit: Duration,
    log: &mut Log,
) -> (Option<ExitStatus>, io::Result<()>) {
    let mut end = pin!(async {
        match timeout(limit, &mut child.exit).await {
            Ok(status) => status.ok(),
            Err(_) => {
                agent.children.kill(&child);
                None
            }
        }
    });
    let mut kept = Ok(());
    let status = tokio::select! {
        status = &mut end => status,
        closed = log.follow(&mut output) => {
            kept = closed;
            end.await
        }
    };
    agent.children.kill_all().await;
    let rest = timeout(DRAIN, log.follow(&mut output))
        .await
        .unwrap_or(Ok(()));
    (status, kept.and(rest))
}
