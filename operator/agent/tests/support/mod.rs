//! Agents and Postgres servers of a test, all below one temporary directory and gone with it.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

pub mod production;
pub mod targets;

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use dryrun_core::agent_api::protocol::{Task, TaskResult};
use dryrun_core::problem::Problem;
use dryrun_postgres::testing::skip;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// Deadline of every wait.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// The control token of every agent.
pub const TOKEN: &str = "Q0fTk2vXz8LmR5bYc7NwJ1hG4sDpA6uE";

/// The password of every role.
pub const PASSWORD: &str = "Zk4mQ9xT2bV7nL8pR3wY6cJ1hG5sDfA0";

/// A directory for one test. As root, programs in it run as a user without rights, as they do in a
/// pod.
pub struct World {
    directory: TempDir,
    user: Option<(u32, u32)>,
}

impl World {
    pub fn new() -> Self {
        let world = Self {
            directory: tempfile::tempdir().unwrap(),
            user: geteuid().is_root().then(unprivileged),
        };
        world.own(world.directory.path());
        let agent = Command::new(env!("CARGO_BIN_EXE_dryrun-agent"))
            .arg("install")
            .arg(world.path("agent"))
            .status()
            .unwrap();
        assert!(agent.success());
        world.directory("secrets");
        world.secret("token", TOKEN);
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a directory that the programs may write to.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        self.own(&path);
        path
    }

    pub fn secret(&self, name: &str, value: &str) {
        let path = self.path("secrets").join(name);
        fs::write(&path, value).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        self.own(&path);
    }

    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(self.directory.path());
        if let Some((user, group)) = self.user {
            command.gid(group).uid(user);
        }
        command
    }

    fn own(&self, path: &Path) {
        if let Some((user, group)) = self.user {
            chown(path, Some(user), Some(group)).unwrap();
        }
    }
}

/// The user `postgres`, which Debian's packages make, or `nobody`: initdb wants one that has a
/// name.
fn unprivileged() -> (u32, u32) {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let fields: Vec<_> = passwd
            .lines()
            .find(|line| line.split(':').next() == Some(name))?
            .split(':')
            .collect();
        Some((fields[2].parse().unwrap(), fields[3].parse().unwrap()))
    };
    find("postgres").or_else(|| find("nobody")).unwrap()
}

/// A process that ends with the test.
pub struct Process(pub Child);

impl Process {
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// Waits for the end.
    pub fn code(&mut self) -> Option<i32> {
        eventually("the process ends", || self.0.try_wait().unwrap()).code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGQUIT ends a Postgres server with its children at once; SIGKILL would leave them.
        if let Ok(None) = self.0.try_wait() {
            let _ = kill_process(Pid::from_child(&self.0), Signal::QUIT);
            let _ = self.0.wait();
        }
    }
}

/// A serving agent.
pub struct Agent {
    pub process: Process,
    pub port: u16,
}

impl Agent {
    pub fn start(world: &World) -> Self {
        Self::start_by(world, world.command(world.path("agent")))
    }

    /// Starts the agent by a command whose last argument is its program.
    pub fn start_by(world: &World, command: Command) -> Self {
        Self::start_with(world, command, &[])
    }

    /// Starts an agent that sends back what it receives on a separate port, which is returned too.
    pub fn start_echo(world: &World) -> (Self, u16) {
        let echo = free_port();
        let arguments = ["--echo", &echo.to_string()];
        let command = world.command(world.path("agent"));
        (Self::start_with(world, command, &arguments), echo)
    }

    /// Starts an agent that makes probes and nothing else. Where others have their secrets, there
    /// is nothing.
    pub fn start_prober(world: &World) -> Self {
        fs::remove_dir_all(world.path("secrets")).unwrap();
        let command = world.command(world.path("agent"));
        Self::start_with(world, command, &["--probes-only"])
    }

    fn start_with(world: &World, mut command: Command, arguments: &[&str]) -> Self {
        world.directory("scratch");
        let mut child = command
            .args([
                "serve",
                "--port",
                "0",
                "--secrets",
                "secrets",
                "--logs",
                "logs",
                "--scratch",
            ])
            .arg(world.path("scratch"))
            .args(arguments)
            .env("OPERATOR_ONLY", "must not reach a command")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let port = lines
            .find_map(|line| {
                let line: Value = serde_json::from_str(&line.unwrap()).ok()?;
                line["fields"]["port"].as_u64()
            })
            .expect("the agent says where it serves");
        // The rest of its output is read, so that it never waits for a full pipe.
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .for_each(|line| eprintln!("agent: {line}"))
        });
        Self {
            process: Process(child),
            port: port.try_into().unwrap(),
        }
    }

    pub fn run(&self, id: &str, task: &Task) -> TaskResult {
        let (status, body) = self.request(
            "POST",
            &format!("/v1/tasks/{id}"),
            Some(TOKEN),
            &serde_json::to_string(task).unwrap(),
        );
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    pub fn failure(&self, id: &str, task: &Task) -> Problem {
        match self.run(id, task) {
            TaskResult::Failed(error) => error,
            other => panic!("{other:?}"),
        }
    }

    /// One request on a new connection.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &str,
    ) -> (u16, String) {
        let mut stream = self.send(method, path, token, body);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (
            head.split(' ').nth(1).unwrap().parse().unwrap(),
            body.to_owned(),
        )
    }

    /// A body that is no text, with its status and media type.
    pub fn download(&self, path: &str, token: Option<&str>) -> (u16, String, Vec<u8>) {
        let mut answer = Vec::new();
        self.send("GET", path, token, "")
            .read_to_end(&mut answer)
            .unwrap();
        let end = answer
            .windows(4)
            .position(|part| part == b"\r\n\r\n")
            .unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let media_type = head
            .lines()
            .find_map(|line| line.strip_prefix("content-type: "))
            .unwrap_or_default();
        (status, media_type.to_owned(), answer[end + 4..].to_vec())
    }

    pub fn send(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let authorization = token
            .map(|token| format!("Authorization: Bearer {token}\r\n"))
            .unwrap_or_default();
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n{authorization}Content-Length: {length}\r\n\r\n{body}").unwrap();
        stream
    }
}

/// Asks until there is an answer.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < DEADLINE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Directory of the programs of a local Postgres server; without one a test is skipped.
pub fn postgres() -> Option<PathBuf> {
    let on_path = env::split_paths(&env::var_os("PATH")?)
        .find(|directory| directory.join("initdb").is_file());
    let found = on_path.or_else(|| {
        let versions = Path::new("/usr/lib/postgresql");
        let programs = |major: u32| versions.join(major.to_string()).join("bin");
        fs::read_dir(versions)
            .ok()?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
            // A newer version may have programs of the client alone.
            .filter(|major| programs(*major).join("initdb").is_file())
            .max()
            .map(programs)
    });
    if found.is_none() {
        skip(
            "no initdb in PATH nor in /usr/lib/postgresql (on Debian: apt-get install postgresql postgresql-contrib)",
        );
    }
    found
}

/// A port without a listener.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Connects as soon as the server accepts connections.
pub async fn connect(port: u16, user: &str, password: &str, database: &str) -> Client {
    let mut config = tokio_postgres::Config::new();
    config
        .host("127.0.0.1")
        .port(port)
        .user(user)
        .password(password)
        .dbname(database);
    let start = Instant::now();
    loop {
        match config.connect(NoTls).await {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                return client;
            }
            Err(error) if start.elapsed() > DEADLINE => panic!("{error:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
