//! Programs of the image that the agent works with: `pg_dump` and the like.

use dryrun_core::problem::Problem;
use std::{
    env,
    ffi::OsStr,
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::unix::pipe,
};

use crate::{
    children::Children,
    directory::TEMPORARY,
    failure::{self, Result},
};

/// Search path where the container has none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The program that only a directory with a whole server has.
const INITDB: &str = "initdb";
/// Directory of Debian's programs, by major version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Exit of a program, and its standard output.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
}

/// Runs `command` to its end and shows each line of its standard error to `line`.
pub(crate) async fn run(
    children: &Children,
    command: &mut Command,
    line: impl FnMut(&str),
) -> Result<Finished> {
    run_until(children, command, std::future::pending(), line).await
}

/// Runs `command` to its end, or kills it and its process group as soon as `stop` is ready.
pub(crate) async fn run_until(
    children: &Children,
    command: &mut Command,
    stop: impl Future<Output = ()>,
    mut line: impl FnMut(&str),
) -> Result<Finished> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |error: io::Error| Problem::permanent("ProgramFailed", format!("{name}: {error}"));
    let mut spawned = children
        .spawn(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        )
        .map_err(failed)?;
    let stdout = receiver(spawned.process.stdout.take().map(OwnedFd::from)).map_err(failed)?;
    let stderr = receiver(spawned.process.stderr.take().map(OwnedFd::from)).map_err(failed)?;
    let read_stdout = async {
        let mut text = Vec::new();
        BufReader::new(stdout).read_to_end(&mut text).await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    let read_stderr = async {
        let mut reader = BufReader::new(stderr);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes).await? > 0 {
            line(String::from_utf8_lossy(&bytes).trim_end());
            bytes.clear();
        }
        Ok(())
    };
    let read = async { tokio::try_join!(read_stdout, read_stderr) };
    tokio::pin!(read);
    let read = tokio::select! {
        read = &mut read => read,
        () = stop => {
            children.kill(&spawned.child);
            read.await
        }
    };
    let (stdout, ()) = read.map_err(failed)?;
    let status = spawned
        .child
        .exit
        .await
        .map_err(|_| Problem::permanent("ProgramFailed", format!("{name} was lost")))?;
    Ok(Finished { status, stdout })
}

/// Runs `command`, which must succeed; its first line of error is the message otherwise.
pub(crate) async fn succeed(children: &Children, command: &mut Command) -> Result<String> {
    let mut first = None;
    let finished = run(children, command, |line| {
        first.get_or_insert_with(|| line.to_owned());
    })
    .await?;
    if finished.status.success() {
        return Ok(finished.stdout);
    }
    let name = Path::new(command.get_program())
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let said = first
        .map(|line| format!(": {}", failure::without_rows(&line)))
        .unwrap_or_default();
    Err(Problem::permanent(
        "ProgramFailed",
        format!("{name} ended with {}{said}", finished.status),
    ))
}

/// A pipe of a child for reading.
pub(crate) fn receiver(pipe: Option<OwnedFd>) -> io::Result<pipe::Receiver> {
    pipe::Receiver::from_owned_fd(pipe.ok_or_else(|| io::Error::other("it has no pipe"))?)
}

/// The image's Postgres programs.
#[derive(Debug)]
pub(crate) struct Programs {
    directory: PathBuf,
}

impl Programs {
    /// Finds the programs: the search path first, so that an image decides, then Debian's directory
    /// with the highest version. `initdb` is looked for, since Debian puts wrappers of the client
    /// programs into the search path that choose a version of their own.
    pub(crate) fn find() -> Result<Self> {
        let on_path = env::split_paths(&search_path())
            .map(|directory| directory.join(INITDB))
            .find(|path| path.is_file());
        let directory = match on_path {
            Some(initdb) => fs::canonicalize(&initdb)
                .map_err(|error| failure::file(&initdb, &error))?
                .parent()
                .map(Path::to_owned),
            None => debian(Path::new(DEBIAN)),
        };
        match directory {
            Some(directory) => Ok(Self { directory }),
            None => Err(Problem::permanent(
                "PostgresMissing",
                format!("the image has no {INITDB} in its PATH nor in {DEBIAN}"),
            )),
        }
    }

    /// One of the programs, in a clean environment.
    pub(crate) fn command(&self, name: &str) -> Command {
        clean(self.path(name))
    }

    /// Returns the path of a program.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The directory with the control files of the image's extensions.
    pub(crate) async fn extensions(&self, children: &Children) -> Result<PathBuf> {
        let share = match succeed(children, self.command("pg_config").arg("--sharedir")).await {
            Ok(share) => PathBuf::from(share.trim_end()),
            // Debian: /usr/lib/postgresql/17/bin and /usr/share/postgresql/17.
            Err(_) => match self.directory.parent().and_then(Path::file_name) {
                Some(major) => Path::new("/usr/share/postgresql").join(major),
                None => {
                    return Err(Problem::permanent(
                        "PostgresMissing",
                        "the image has no directory of extensions",
                    ));
                }
            },
        };
        Ok(share.join("extension"))
    }

    /// The directory with the modules that the image's server loads.
    pub(crate) async fn modules(&self, children: &Children) -> PathBuf {
        match succeed(children, self.command("pg_config").arg("--pkglibdir")).await {
            Ok(directory) => PathBuf::from(directory.trim_end()),
            // Debian: /usr/lib/postgresql/17/bin and /usr/lib/postgresql/17/lib.
            Err(_) => self.directory.join("../lib"),
        }
    }
}

/// A command with an environment of nothing but the search path, a home and untranslated messages.
pub(crate) fn clean(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", search_path())
        .env("LC_ALL", "C")
        .env("HOME", TEMPORARY)
        .current_dir("/");
    command
}

/// PATH of the container.
pub(crate) fn search_path() -> String {
    env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.to_owned())
}

/// The programs of the highest version that is there as a whole; of a higher one the image may have
/// those of the client alone.
fn debian(versions: &Path) -> Option<PathBuf> {
    let programs = |major: u32| versions.join(major.to_string()).join("bin");
    fs::read_dir(versions)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|major| programs(*major).join(INITDB).is_file())
        .max()
        .map(programs)
}

/// The major version in `pg_dump (PostgreSQL) 17.5 (Debian 17.5-1.pgdg120+1)`.
pub(crate) fn major(version: &str) -> Option<u32> {
    version
        .split_once(") ")?
        .1
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_without_a_server_is_passed_over() {
        let versions = tempfile::tempdir().unwrap();
        let install = |major: &str, program: &str| {
            let programs = versions.path().join(major).join("bin");
            fs::create_dir_all(&programs).unwrap();
            fs::write(programs.join(program), "").unwrap();
        };
        install("18", "pg_dump");
        install("not-a-version", INITDB);
        assert_eq!(debian(versions.path()), None);
        install("9", INITDB);
        install("17", INITDB);
        assert_eq!(
            debian(versions.path()),
            Some(versions.path().join("17/bin"))
        );
    }

    #[test]
    fn versions_are_read() {
        assert_eq!(
            major("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"),
            Some(15)
        );
        assert_eq!(major("pg_dump (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(major("something else"), None);
    }
}
