//! The CNI plugin as called by a runtime, with a fake agent and with the real one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of a test may panic"
)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Calls the plugin; returns its success and its output.
fn call(command: &str, arguments: &str, configuration: &Value) -> (bool, Value) {
    let mut plugin = Command::new(env!("CARGO_BIN_EXE_netpol-cni"))
        .env_clear()
        .envs([("CNI_COMMAND", command), ("CNI_ARGS", arguments)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The plugin may exit without reading its input.
    let _ = write!(plugin.stdin.take().unwrap(), "{configuration}");
    let output = plugin.wait_with_output().unwrap();
    let printed = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.success(), printed)
}

const POD: &str =
    "IgnoreUnknown=1;K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;K8S_POD_INFRA_CONTAINER_ID=d;K8S_POD_UID=c";

fn result() -> Value {
    json!({"cniVersion": "1.0.0", "ips": [{"address": "fd00::8/64"}, {"address": "10.244.1.8/24", "gateway": "10.244.1.1"}], "dns": {}})
}

fn configuration(socket: &Path) -> Value {
    json!({"cniVersion": "1.0.0", "name": "pods", "type": "netpol-cni", "socket": socket, "prevResult": result()})
}

/// A fake agent that replies to one request; returns the request.
fn agent(socket: &Path, answer: &'static str) -> thread::JoinHandle<String> {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        let (mut plugin, _) = listener.accept().unwrap();
        let mut request = String::new();
        BufReader::new(&plugin).read_line(&mut request).unwrap();
        plugin.write_all(answer.as_bytes()).unwrap();
        request
    })
}

#[test]
fn add_returns_the_previous_result_once_admitted() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    let agent = agent(&socket, "ok\n");
    assert_eq!(call("ADD", POD, &configuration(&socket)), (true, result()));
    assert_eq!(agent.join().unwrap(), "a b c 10.244.1.8\n");
}

#[test]
fn check_repeats_the_request_and_prints_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    let agent = agent(&socket, "ok\n");
    assert_eq!(
        call("CHECK", POD, &configuration(&socket)),
        (true, Value::Null)
    );
    assert_eq!(agent.join().unwrap(), "a b c 10.244.1.8\n");
}

#[test]
fn no_sandbox_starts_without_a_reply_of_the_agent() {
    let directory = tempfile::tempdir().unwrap();
    let nobody = directory.path().join("nobody");
    let (succeeded, error) = call("ADD", POD, &configuration(&nobody));
    assert_eq!((succeeded, &error["code"]), (false, &json!(11)), "{error}");
    for (answer, details) in [
        ("no rules in time\n", "no rules in time"),
        ("", "unexpected end of file"),
    ] {
        let socket = directory.path().join(format!("s{}", answer.len()));
        let agent = agent(&socket, answer);
        let (succeeded, error) = call("ADD", POD, &configuration(&socket));
        assert_eq!(
            (succeeded, &error["code"], &error["details"]),
            (false, &json!(11), &json!(details))
        );
        agent.join().unwrap();
    }
}

#[test]
fn deletion_needs_no_agent() {
    let gone = json!({"cniVersion": "1.0.0", "name": "pods", "type": "netpol-cni", "socket": "/nonexistent"});
    assert_eq!(call("DEL", POD, &gone), (true, Value::Null));
}

#[test]
fn version_lists_the_supported_versions() {
    let (succeeded, printed) = call("VERSION", "", &json!({"cniVersion": "1.0.0"}));
    assert!(succeeded);
    assert_eq!(
        printed,
        json!({"cniVersion": "1.0.0", "supportedVersions": ["0.3.1", "0.4.0", "1.0.0"]})
    );
}

#[test]
fn errors_have_the_codes_of_the_specification() {
    let good = configuration(Path::new("/nonexistent"));
    let with = |key: &str, value: Value| {
        let mut changed = good.clone();
        changed[key] = value;
        changed
    };
    let cases = [
        (1, "ADD", POD, with("cniVersion", json!("9.0.0"))),
        (4, "PLAY", POD, good.clone()),
        (4, "ADD", "K8S_POD_NAME=b", good.clone()),
        (6, "ADD", POD, json!("nothing")),
        (7, "ADD", POD, with("prevResult", Value::Null)),
        (
            7,
            "ADD",
            POD,
            with("prevResult", json!({"ips": [{"address": "fd00::8/64"}]})),
        ),
    ];
    for (code, command, arguments, configuration) in cases {
        let (succeeded, error) = call(command, arguments, &configuration);
        assert_eq!(
            (succeeded, &error["code"], &error["cniVersion"]),
            (false, &json!(code), &json!("1.0.0")),
            "{error}"
        );
        assert!(
            error["msg"].is_string() && error["details"].is_string(),
            "{error}"
        );
    }
}

/// Deadline for the agent to listen.
const SOCKET: Duration = Duration::from_secs(60);

/// The real agent in its own network namespace, which has no route to an API server.
struct Agent {
    process: Child,
    directory: tempfile::TempDir,
}

impl Agent {
    fn start(more: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let kubeconfig = directory.path().join("kubeconfig");
        fs::write(&kubeconfig, include_str!("support/kubeconfig.yaml")).unwrap();
        let process = support::unshare(&[
            env!("CARGO_BIN_EXE_netpol"),
            "--node=n1",
            "--pod-cidr=10.244.1.0/24",
        ])
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .arg("--cni-socket")
        .arg(directory.path().join("s"))
        .args(more)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
        let mut agent = Self { process, directory };
        let started = Instant::now();
        while !agent.socket().exists() {
            assert!(started.elapsed() < SOCKET, "the agent does not listen");
            let ended = agent.process.try_wait().unwrap();
            assert!(ended.is_none(), "the agent has ended: {ended:?}");
            thread::sleep(Duration::from_millis(5));
        }
        agent
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("s")
    }

    /// Sends SIGTERM; returns whether the agent ended cleanly and left no socket.
    fn stop(mut self) -> bool {
        let terminate = Command::new("kill")
            .arg(self.process.id().to_string())
            .status();
        assert!(terminate.unwrap().success());
        self.process.wait().unwrap().success() && !self.socket().exists()
    }
}

impl Drop for Agent {
    /// Ends the agent of a failed test.
    fn drop(&mut self) {
        // It has ended already if the test passed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn an_agent_without_policies_admits_no_sandbox() {
    if !*support::ABLE {
        return;
    }
    let agent = Agent::start(&[]);
    let (succeeded, error) = call("ADD", POD, &configuration(&agent.socket()));
    assert!(!succeeded);
    assert_eq!(
        (&error["code"], &error["details"]),
        (&json!(11), &json!("no rules in time for a b c 10.244.1.8"))
    );
    assert!(agent.stop());
}

#[test]
fn a_permissive_agent_admits_every_sandbox() {
    if !*support::ABLE {
        return;
    }
    let agent = Agent::start(&["--permissive"]);
    assert_eq!(
        call("ADD", POD, &configuration(&agent.socket())),
        (true, result())
    );
    assert!(agent.stop());
}
