//! Running other programs to their end, with an error that says what failed, why, and where the whole log is.

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

/// Lines of a log that an error quotes.
const QUOTED: usize = 30;

/// How long the last lines of a program that has ended may take to be read.
const DRAIN: Duration = Duration::from_secs(2);

/// Runs `command`; everything that it says goes to the file `log`.
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

/// Like [`run`], and shows each line to `line` as it comes. The command has a process group of its own, and whoever no longer waits for it
/// ends the whole group: what Cargo or Go has started does not go on without them.
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
    // The command holds the writing ends until it is told otherwise, and the reader would never see the end.
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
        // What it left running can hold the writing ends for ever; what it said itself is in the pipe by now.
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
        "{} succeeded, but something that it started is still running; {}",
        name(command),
        tail(log)
    );
    Ok(())
}

/// A command and all that it has started. If it is dropped before the command has ended, nothing of them stays.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // A command that was waited for has no process id any more, so no other group is ever hit.
        let leader = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(leader) = leader.and_then(Pid::from_raw) {
            // A group that ended by itself in between is as good.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// Runs `command` and gives what it prints on standard output.
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

/// Runs `command` with `input` on its standard input and gives what it prints.
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
        // A program that fails early closes its input; its exit status tells more than the broken pipe.
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

/// The path of a log and its last lines, as an error quotes them.
pub(crate) fn tail(log: &Path) -> String {
    format!("the log is {}{}", log.display(), last_lines(log))
}

/// The last lines of a log, each on a line of its own; nothing if it cannot be read.
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

    /// What a shell script makes of it, and the lines that it showed.
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
    async fn what_a_program_says_is_shown_and_quoted_if_it_fails() {
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
    async fn what_a_program_leaves_running_is_not_waited_for_and_told() {
        for (code, told) in [(0, "still running"), (3, "exit status: 3")] {
            // The child is there for much longer than anybody waits for it, on the busiest machine.
            let (ended, lines) = watched(&format!("sleep 60 & echo $!; exit {code}")).await;
            let child = Pid::from_raw(lines[0].parse().unwrap()).unwrap();
            kill_process(child, Signal::KILL).unwrap();
            let error = ended.unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[tokio::test]
    async fn what_a_program_has_started_ends_with_the_waiting_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = None;
        // Nobody waits for a program any more as soon as it has said what its child is.
        let (told, said) = tokio::sync::oneshot::channel::<()>();
        let mut told = Some(told);
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & echo $!; wait"]);
        let log = directory.path().join("log");
        let running = run_watched(&mut command, &log, |line| {
            child = line.parse().ok().and_then(Pid::from_raw);
            drop(told.take());
        });
        tokio::select! {
            ended = running => panic!("it has ended: {ended:?}"),
            _ = said => {}
        }
        let gone = async {
            while alive(child.unwrap()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(30), gone).await.unwrap();
    }

    /// Whether a process is there and no zombie, which whoever takes orphans may leave for a while.
    fn alive(process: Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_pid()));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }
}
