//! Execution of other programs, with errors that contain the failed command, its last output and
//! the path of the log.

use std::{
    fs::File,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::unix::pipe::Receiver,
    process::{Child, Command},
    time::timeout,
};

/// Number of log lines quoted by an error.
const QUOTED: usize = 30;

/// Deadline for reading the last output of a program that has exited.
const DRAIN: Duration = Duration::from_secs(2);

/// Runs `command`; its output goes to the file `log`.
///
/// # Errors
/// The program is missing or fails: the last lines of the log and its path are part of the error.
pub async fn run(command: &mut Command, log: &Path) -> Result<()> {
    let file = create(log)?;
    let status = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .kill_on_drop(true)
        .status()
        .await
        .with_context(|| cannot_start(command))?;
    if status.success() {
        Ok(())
    } else {
        bail!("{} ended with {status}; {}", name(command), tail(log))
    }
}

/// Like [`run`], and passes each line of output to `line`. The command has its own process group,
/// which is killed when the future is dropped, so that processes started by Cargo or Go do not
/// outlive it.
///
/// # Errors
/// As [`run`].
pub async fn run_watched(
    command: &mut Command,
    log: &Path,
    mut line: impl FnMut(&str),
) -> Result<()> {
    let mut file = tokio::fs::File::from_std(create(log)?);
    let (output, input) = std::io::pipe()?;
    let spawned = command
        .stdin(Stdio::null())
        .stdout(input.try_clone()?)
        .stderr(input)
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let mut group = Group(spawned.with_context(|| cannot_start(command))?);
    // The command keeps the writing ends until they are replaced; the reader would never see the
    // end of the stream.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut lines = BufReader::new(Receiver::from_owned_fd(output.into())?).lines();
    let mut reading = std::pin::pin!(async {
        while let Some(text) = lines.next_line().await? {
            line(&text);
            file.write_all(text.as_bytes()).await?;
            file.write_all(b"\n").await?;
            file.flush().await?;
        }
        anyhow::Ok(())
    });
    let (status, left_over) = tokio::select! {
        read = &mut reading => {
            read?;
            (group.0.wait().await?, false)
        }
        // Processes left running may hold the writing ends forever; the command's own output is in
        // the pipe by now.
        status = group.0.wait() => match timeout(DRAIN, &mut reading).await {
            Ok(read) => {
                read?;
                (status?, false)
            }
            Err(_) => (status?, true),
        },
    };
    if !status.success() {
        bail!("{} ended with {status}; {}", name(command), tail(log));
    }
    ensure!(
        !left_over,
        "{} succeeded, but one of its child processes is still running; {}",
        name(command),
        tail(log)
    );
    Ok(())
}

/// A command and its child processes. All are killed if it is dropped before the command has
/// exited.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // A command that was waited for has no process id any more, so no other group is ever
        // killed.
        let leader = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(leader) = leader.and_then(Pid::from_raw) {
            // ESRCH is fine: the group has exited by itself.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// Runs `command` and returns its standard output.
///
/// # Errors
/// The program is missing or fails: its standard error is part of the error.
pub async fn stdout(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| cannot_start(command))?;
    checked(command, output)
}

/// Runs `command` with `input` on its standard input and returns its standard output.
///
/// # Errors
/// As [`stdout`].
pub async fn pipe(command: &mut Command, input: &str) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| cannot_start(command))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that fails early closes its input; its exit status explains more than the
        // broken pipe.
        drop(stdin.write_all(input.as_bytes()).await);
    }
    let output = child.wait_with_output().await?;
    checked(command, output)
}

fn checked(command: &Command, output: Output) -> Result<String> {
    if !output.status.success() {
        bail!(
            "{} ended with {}: {}",
            line(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The path of a log and its last lines, for an error message.
pub(crate) fn tail(log: &Path) -> String {
    format!("the log is {}{}", log.display(), last_lines(log))
}

/// The last lines of a log, one per line; empty if it cannot be read.
pub fn last_lines(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(QUOTED)..]
        .iter()
        .map(|line| format!("\n  | {line}"))
        .collect()
}

fn create(log: &Path) -> Result<File> {
    if let Some(directory) = log.parent() {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("creating {}", directory.display()))?;
    }
    File::create(log).with_context(|| format!("creating {}", log.display()))
}

fn name(command: &Command) -> String {
    Path::new(command.as_std().get_program())
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn line(command: &Command) -> String {
    command
        .as_std()
        .get_args()
        .fold(name(command), |line, argument| {
            format!("{line} {}", argument.to_string_lossy())
        })
}

fn cannot_start(command: &Command) -> String {
    format!(
        "starting {}",
        command.as_std().get_program().to_string_lossy()
    )
}

#[cfg(test)]
mod tests {
    use rustix::process::kill_process;

    use super::*;

    /// Result and displayed lines of a shell script.
    async fn watched(script: &str) -> (Result<()>, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        let mut lines = Vec::new();
        let ended = run_watched(
            Command::new("sh").args(["-c", script]),
            &directory.path().join("log"),
            |line| lines.push(line.to_owned()),
        )
        .await;
        (ended, lines)
    }

    #[tokio::test]
    async fn output_is_shown_and_quoted_on_failure() {
        let (ended, lines) = watched("echo one; echo two >&2").await;
        ended.unwrap();
        assert_eq!(lines, ["one", "two"]);
        let (ended, _) = watched("echo why; exit 3").await;
        let error = ended.unwrap_err().to_string();
        assert!(
            error.contains("exit status: 3") && error.ends_with("| why"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn processes_left_running_are_reported_and_not_waited_for() {
        for (code, expected) in [(0, "still running"), (3, "exit status: 3")] {
            // The child lives much longer than any deadline of this test.
            let (ended, lines) = watched(&format!("sleep 60 & echo $!; exit {code}")).await;
            let child = Pid::from_raw(lines[0].parse().unwrap()).unwrap();
            kill_process(child, Signal::KILL).unwrap();
            let error = ended.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[tokio::test]
    async fn child_processes_are_killed_when_the_future_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = None;
        // The future is dropped as soon as the script has printed its child's process id.
        let (sender, printed) = tokio::sync::oneshot::channel::<()>();
        let mut sender = Some(sender);
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & echo $!; wait"]);
        let log = directory.path().join("log");
        let running = run_watched(&mut command, &log, |line| {
            child = line.parse().ok().and_then(Pid::from_raw);
            drop(sender.take());
        });
        tokio::select! {
            ended = running => panic!("it has ended: {ended:?}"),
            _ = printed => {}
        }
        let gone = async {
            while alive(child.unwrap()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(30), gone).await.unwrap();
    }

    /// Returns whether a process exists and is not a zombie; init may reap orphans late.
    fn alive(process: Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_pid()));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }
}
