//! Throw-away Postgres servers for tests.
//!
//! A server listens on a Unix socket in its own temporary directory, admits every user of the
//! machine as every role, and ends with its value.

use std::io::{self, Read, Seek};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Directories with Postgres' programs, separated by colons, that are searched before those of the
/// system's packages.
pub const BINARIES: &str = "DRYRUN_TEST_POSTGRES";

/// Set where no test may be skipped, so that one whose programs are missing is not counted as
/// passed.
pub const MUST_RUN: &str = "DRYRUN_TESTS_MUST_RUN";

/// The superuser of every server.
pub const SUPERUSER: &str = "bootstrap";

/// Directory of Debian's packages, with one directory for each major version.
const PACKAGES: &str = "/usr/lib/postgresql";

/// The user that a test run by root lowers itself to, since Postgres refuses to run as root:
/// nobody.
const NOBODY: u32 = 65534;

/// The directories with Postgres' programs on this machine, one for each server that tests can run
/// against.
pub fn installations() -> Vec<PathBuf> {
    let named = std::env::var_os(BINARIES).unwrap_or_default();
    let packages = std::fs::read_dir(PACKAGES)
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"));
    let mut found: Vec<PathBuf> = std::env::split_paths(&named)
        .chain(packages)
        .filter(|programs| programs.join("initdb").exists())
        .collect();
    found.sort();
    found
}

/// Says that a test is skipped, and `why`, with what to install.
///
/// # Panics
/// [`MUST_RUN`] is set.
pub fn skip(why: &str) {
    assert!(
        std::env::var_os(MUST_RUN).is_none(),
        "{MUST_RUN} is set, and this test cannot run: {why}"
    );
    eprintln!("skipped: {why}");
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    programs: PathBuf,
    directory: tempfile::TempDir,
}

impl Server {
    /// Makes a cluster and starts its server with these parameters, each written `name=value`.
    ///
    /// # Errors
    /// The error of the program that failed.
    pub fn start(programs: &Path, parameters: &[&str]) -> io::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("dryrun-postgres-")
            .tempdir()?;
        let server = Self {
            programs: programs.to_owned(),
            directory,
        };
        if is_root()? {
            chown(server.socket(), Some(NOBODY), Some(NOBODY))?;
        }
        run(server.program("initdb")?.args([
            "--username",
            SUPERUSER,
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]))?;
        let socket = format!("unix_socket_directories={}", server.socket().display());
        let parameters = ["listen_addresses=", "fsync=off", &socket]
            .into_iter()
            .chain(parameters.iter().copied());
        let options: Vec<String> = parameters
            .map(|parameter| format!("-c '{parameter}'"))
            .collect();
        run(server
            .program("pg_ctl")?
            .args(["--wait", "start", "--options", &options.join(" "), "--log"])
            .arg(server.log()))?;
        Ok(server)
    }

    /// The directory of its socket: the host to connect to.
    pub fn socket(&self) -> &Path {
        self.directory.path()
    }

    /// Parameters of a session as [`SUPERUSER`].
    pub fn config(&self, database: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host_path(self.socket())
            .user(SUPERUSER)
            .dbname(database);
        config
    }

    /// The server's log.
    pub fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A program that works on the cluster, as a user whom Postgres accepts.
    fn program(&self, name: &str) -> io::Result<Command> {
        let mut command = Command::new(self.programs.join(name));
        command
            .current_dir(self.socket())
            .arg("--pgdata")
            .arg(self.data());
        if is_root()? {
            command.uid(NOBODY).gid(NOBODY);
        }
        Ok(command)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.data().join("postmaster.pid").exists() {
            return;
        }
        let stopped = self
            .program("pg_ctl")
            .and_then(|mut command| run(command.args(["--wait", "stop", "--mode=immediate"])));
        if let Err(error) = stopped {
            eprintln!(
                "the server in {} was not stopped: {error}",
                self.socket().display()
            );
        }
    }
}

fn is_root() -> io::Result<bool> {
    Ok(std::fs::metadata("/proc/self")?.uid() == 0)
}

/// Runs a program to its end.
fn run(command: &mut Command) -> io::Result<()> {
    // Not its pipes: the server would inherit them, and they would never end.
    let errors = tempfile::tempfile()?;
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors.try_clone()?)
        .status()?;
    if status.success() {
        return Ok(());
    }
    let mut text = String::new();
    let mut errors = errors;
    errors.rewind()?;
    errors.read_to_string(&mut text)?;
    Err(io::Error::other(format!(
        "{} ended with {status}: {}",
        command.get_program().display(),
        text.trim()
    )))
}
