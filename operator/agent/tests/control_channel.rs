//! The control channel, and commands that are run through it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    os::unix::fs::MetadataExt,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use dryrun_core::{
    agent_api::{
        protocol::{Task, TaskResult},
        tasks::{CommandTask, Login},
    },
    run::facts::ScenarioClaim,
};
use dryrun_postgres::testing::skip;
use rustix::process::Signal;
use support::{Agent, TOKEN, World, eventually};

fn command(name: &str, script: &str, timeout: Duration) -> CommandTask {
    CommandTask {
        name: name.into(),
        command: vec!["sh".into(), "-c".into(), script.into()],
        env: BTreeMap::from([("PLAN".to_owned(), "declared".to_owned())]),
        login: None,
        fresh: false,
        timeout_ms: timeout.as_millis().try_into().unwrap(),
    }
}

fn claim(result: TaskResult) -> ScenarioClaim {
    match result {
        TaskResult::Scenario(claim) => claim,
        other => panic!("{other:?}"),
    }
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn only_the_token_opens_it() {
    let world = World::new();
    let agent = Agent::start(&world);
    let task = serde_json::to_string(&Task::RunCommand(command("S1", "touch ran", LONG))).unwrap();
    for token in [
        None,
        Some(""),
        Some("wrong"),
        Some(&TOKEN[1..]),
        Some(&*format!("{TOKEN}x")),
    ] {
        assert_eq!(
            agent.request("POST", "/v1/tasks/a", token, &task).0,
            401,
            "{token:?}"
        );
        assert_eq!(
            agent.request("POST", "/v1/exit", token, "").0,
            401,
            "{token:?}"
        );
    }
    assert!(!world.path("scratch/ran").exists());
    assert_eq!(agent.request("GET", "/v1/healthz", None, "").0, 200);
    assert_eq!(agent.request("GET", "/v1/tasks/a", Some(TOKEN), "").0, 404);
    let (status, body) = agent.request(
        "POST",
        "/v1/tasks/a",
        Some(TOKEN),
        r#"{"task":"runCommand","password":"hunter2"}"#,
    );
    assert_eq!(status, 400);
    assert!(!body.contains("hunter2"), "{body}");
}

/// Connections that say nothing, for as long as they are held.
fn silent(agent: &Agent, number: usize) -> Vec<TcpStream> {
    let connect = || TcpStream::connect(("127.0.0.1", agent.port)).unwrap();
    (0..number).map(|_| connect()).collect()
}

/// Returns true if the agent ends the connection.
fn is_ended(mut stream: TcpStream) -> bool {
    stream.set_read_timeout(Some(LONG)).unwrap();
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn strangers_hold_up_nobody_for_long() {
    let world = World::new();
    let agent = Agent::start(&world);
    let waiting = "until [ -e go ]; do sleep 0.05; done";
    let task = Task::RunCommand(command("S1", waiting, LONG));
    thread::scope(|scope| {
        let running = scope.spawn(|| agent.run("a", &task));
        let mut strangers = silent(&agent, 80);
        // A request that needs no token authenticates no connection.
        let mut greeting = TcpStream::connect(("127.0.0.1", agent.port)).unwrap();
        greeting
            .write_all(b"GET /v1/healthz HTTP/1.1\r\nHost: agent\r\n\r\n")
            .unwrap();
        strangers.push(greeting);
        // They were there first: this waits until some of them have been sent away.
        assert_eq!(agent.request("GET", "/v1/archive", Some(TOKEN), "").0, 404);
        assert!(strangers.into_iter().all(is_ended));
        // Who has shown the token stays for as long as its task takes.
        assert!(!running.is_finished());
        fs::write(world.path("scratch/go"), "").unwrap();
        assert_eq!(claim(running.join().unwrap()).exit_code, Some(0));
    });
}

#[test]
fn it_outlives_a_want_of_files() {
    let world = World::new();
    let mut start = world.command("sh");
    start
        .args(["-c", "ulimit -n 40; exec \"$@\"", "sh"])
        .arg(world.path("agent"));
    let agent = Agent::start_by(&world, start);
    let strangers = silent(&agent, 60);
    let files = format!("/proc/{}/fd", agent.process.0.id());
    eventually("it has no file left", || {
        (fs::read_dir(&files).unwrap().count() >= 40).then_some(())
    });
    drop(strangers);
    assert_eq!(agent.request("GET", "/v1/healthz", None, "").0, 200);
}

#[test]
fn a_task_is_joined_repeated_and_never_run_twice() {
    let world = World::new();
    let agent = Agent::start(&world);
    let task = Task::RunCommand(command(
        "S1",
        "echo ran >> count; until [ -e go ]; do :; done",
        LONG,
    ));
    let body = serde_json::to_string(&task).unwrap();
    let connection = agent.send("POST", "/v1/tasks/a", Some(TOKEN), &body);
    eventually("the command runs", || {
        world.path("scratch/count").exists().then_some(())
    });
    // The requester is gone.
    drop(connection);
    assert_eq!(
        agent.request("POST", "/v1/tasks/b", Some(TOKEN), &body).0,
        409
    );
    let results = std::thread::scope(|scope| {
        let joined = scope.spawn(|| agent.run("a", &task));
        let released = scope.spawn(|| fs::write(world.path("scratch/go"), "").unwrap());
        released.join().unwrap();
        [joined.join().unwrap(), agent.run("a", &task)]
    });
    assert_eq!(results[0], results[1]);
    assert_eq!(claim(results[0].clone()).exit_code, Some(0));
    assert_eq!(
        fs::read_to_string(world.path("scratch/count")).unwrap(),
        "ran\n"
    );
}

#[test]
fn an_id_does_not_answer_for_another_task() {
    let world = World::new();
    let agent = Agent::start(&world);
    let task = |script: &str| {
        serde_json::to_string(&Task::RunCommand(command("S1", script, LONG))).unwrap()
    };
    let ask = |task: &str| agent.request("POST", "/v1/tasks/a", Some(TOKEN), task).0;
    assert_eq!(ask(&task("true")), 200);
    assert_eq!(ask(&task("touch other")), 422);
    assert_eq!(ask(&task("true")), 200);
    assert!(!world.path("scratch/other").exists());
}

/// The answer to the first may come when who sent both is long gone.
#[test]
fn a_request_behind_another_one_is_never_read() {
    let world = World::new();
    let agent = Agent::start(&world);
    let request = |id: &str, script: &str| {
        let task = Task::RunCommand(command("S1", script, LONG));
        let body = serde_json::to_string(&task).unwrap();
        let length = body.len();
        format!(
            "POST /v1/tasks/{id} HTTP/1.1\r\nHost: agent\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    let mut stream = TcpStream::connect(("127.0.0.1", agent.port)).unwrap();
    let both = request("a", "touch first") + &request("b", "touch second");
    stream.write_all(both.as_bytes()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let mut answers = Vec::new();
    // With what is unread the connection ends by a reset.
    let _ = stream.read_to_end(&mut answers);
    let answers = String::from_utf8_lossy(&answers);
    assert!(answers.matches("HTTP/1.1").count() <= 1, "{answers}");
    let first = Task::RunCommand(command("S1", "touch first", LONG));
    agent.run("a", &first);
    assert!(world.path("scratch/first").exists());
    assert!(!world.path("scratch/second").exists());
}

/// Of a process that may not be dumped nothing below /proc belongs to its user.
#[test]
fn its_memory_is_its_own() {
    let world = World::new();
    let agent = Agent::start(&world);
    let memory = format!("/proc/{}/mem", agent.process.0.id());
    assert_eq!(fs::metadata(&memory).unwrap().uid(), 0);
    let script = format!("cat {memory} > /dev/null");
    let task = Task::RunCommand(command("S1", &script, LONG));
    assert_ne!(claim(agent.run("a", &task)).exit_code, Some(0));
    // What it starts is like any other process.
    let task = Task::RunCommand(command("S2", "stat -c %u /proc/$$/mem; id -u", LONG));
    assert_eq!(claim(agent.run("b", &task)).exit_code, Some(0));
    let log = fs::read_to_string(world.path("logs/S2.log")).unwrap();
    let (owner, user) = log.trim().split_once('\n').unwrap();
    assert_eq!(owner, user);
}

#[test]
fn a_fresh_command_finds_what_setup_left_and_no_more() {
    let world = World::new();
    let agent = Agent::start(&world);
    let mut number = 0;
    let mut run = |script: &str, fresh: bool| {
        number += 1;
        let task = CommandTask {
            fresh,
            ..command("S", script, LONG)
        };
        claim(agent.run(&number.to_string(), &Task::RunCommand(task))).exit_code
    };
    assert_eq!(run("mkdir venv && echo 1 > venv/bin", false), Some(0));
    let caches = r#"cp venv/bin copy && echo login > "$HOME/.cache""#;
    assert_eq!(run(caches, true), Some(0));
    assert_eq!(run(r#"test -e "$HOME/.cache""#, false), Some(0));
    assert_eq!(run("ls -A > ../seen; cat venv/bin", true), Some(0));
    let seen = fs::read_to_string(world.path("seen")).unwrap();
    assert_eq!(seen, "venv\n");
}

#[test]
fn a_command_gets_the_declared_environment_and_its_login_and_nothing_else() {
    let world = World::new();
    let agent = Agent::start(&world);
    let script = r#"env | sort; echo "passfile: $(stat -c %a "$PGPASSFILE") $(cat "$PGPASSFILE")"; echo err >&2; pwd; exit 3"#;
    let login = Login {
        address: "192.0.2.1".into(),
        port: 5432,
        database: "directus".into(),
        user: "cutter:exec".into(),
        password: "s3cret".into(),
    };
    let task = CommandTask {
        login: Some(login),
        ..command("S2", script, LONG)
    };
    let claim = claim(agent.run("a", &Task::RunCommand(task)));
    assert_eq!(
        (claim.exit_code, claim.timed_out, &claim.problem),
        (Some(3), false, &None)
    );
    let log = fs::read_to_string(world.path("logs/S2.log")).unwrap();
    let names: Vec<_> = log
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0))
        .collect();
    // PWD, SHLVL, OLDPWD and _ are the shell's own.
    let expected = [
        "HOME",
        "PATH",
        "PGDATABASE",
        "PGHOST",
        "PGPASSFILE",
        "PGPORT",
        "PGUSER",
        "PLAN",
        "TMPDIR",
    ];
    let given: Vec<_> = names
        .into_iter()
        .filter(|name| !["PWD", "SHLVL", "OLDPWD", "_"].contains(name))
        .collect();
    assert_eq!(given, expected, "{log}");
    let scratch = world.path("scratch").display().to_string();
    for line in [
        r"passfile: 600 *:*:*:cutter\:exec:s3cret",
        "err",
        "PLAN=declared",
        &format!("HOME={scratch}"),
        &scratch,
    ] {
        assert!(log.lines().any(|found| found == line), "{line} in {log}");
    }
    let passfile = log
        .lines()
        .find_map(|line| line.strip_prefix("PGPASSFILE="))
        .unwrap();
    assert!(
        !fs::exists(passfile).unwrap(),
        "the password outlives the command"
    );
}

#[test]
fn a_timeout_ends_the_command_and_what_it_started() {
    let world = World::new();
    let agent = Agent::start(&world);
    let script = "echo $$ > leader; sleep 1000 & echo $! > child; echo begun; touch ready; wait";
    let limit = Duration::from_secs(3);
    let started = Instant::now();
    let claim = claim(agent.run("a", &Task::RunCommand(command("S8", script, limit))));
    let took = started.elapsed();
    assert!(took >= limit && took < LONG, "{took:?}");
    assert!(
        world.path("scratch/ready").exists(),
        "it did not get as far as that in time"
    );
    assert_eq!(
        (claim.exit_code, claim.timed_out, claim.log_bytes),
        (None, true, 6)
    );
    for name in ["leader", "child"] {
        let pid = fs::read_to_string(world.path("scratch").join(name)).unwrap();
        eventually("the process is gone", || (!alive(pid.trim())).then_some(()));
    }
}

/// A zombie is not alive: who reaps it depends on whether the agent is PID 1.
fn alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_program_that_is_missing_is_told_without_its_path() {
    let world = World::new();
    let agent = Agent::start(&world);
    let task = CommandTask {
        command: vec!["/no/such/program".into()],
        ..command("S1", "", LONG)
    };
    let claim = claim(agent.run("a", &Task::RunCommand(task)));
    assert_eq!(claim.exit_code, None);
    assert_eq!(
        claim.problem.as_deref(),
        Some("cannot start the command: entity not found")
    );
    let outside = command("../S1", "", LONG);
    assert_eq!(
        agent.failure("b", &Task::RunCommand(outside)).reason,
        "InvalidTask"
    );
}

#[test]
fn it_exits_when_told_and_at_once_on_sigterm() {
    let world = World::new();
    let mut agent = Agent::start(&world);
    assert_eq!(agent.request("POST", "/v1/exit", Some(TOKEN), "").0, 200);
    assert_eq!(agent.process.code(), Some(0));

    let mut agent = Agent::start(&world);
    let task = serde_json::to_string(&Task::RunCommand(command(
        "S1",
        "echo $$ > begun.new; mv begun.new begun; exec sleep 1000",
        LONG,
    )))
    .unwrap();
    let _waiting = agent.send("POST", "/v1/tasks/a", Some(TOKEN), &task);
    eventually("the command runs", || {
        world.path("scratch/begun").exists().then_some(())
    });
    let started = Instant::now();
    agent.process.signal(Signal::TERM);
    assert_eq!(agent.process.code(), Some(143));
    assert!(started.elapsed() < LONG / 2, "it waits for the command");
    // In a pod the command ends with its PID 1; here it would keep running.
    let pid = fs::read_to_string(world.path("scratch/begun")).unwrap();
    assert!(
        Command::new("kill")
            .arg(pid.trim())
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn as_pid_1_it_reaps_orphans_and_leaves_nothing_of_a_command() {
    let unshare = [
        "--user",
        "--map-root-user",
        "--pid",
        "--mount-proc",
        "--fork",
        "--kill-child",
    ];
    if !Command::new("unshare")
        .args(unshare)
        .arg("true")
        .status()
        .is_ok_and(|status| status.success())
    {
        return skip(
            "unshare cannot make a PID namespace (on Debian: apt-get install util-linux, and user namespaces must be allowed)",
        );
    }
    let world = World::new();
    let mut start = world.command("unshare");
    start.args(unshare).arg(world.path("agent"));
    let agent = Agent::start_by(&world, start);
    // Two daemons in sessions of their own: one ends and is an orphan to be reaped, one stays and
    // holds the output.
    let script = "setsid sh -c 'exit 0' & setsid sleep 1000 & echo begun";
    let escaped = claim(agent.run("a", &Task::RunCommand(command("S12", script, LONG))));
    assert_eq!((escaped.exit_code, escaped.log_bytes), (Some(0), 6));
    let look = claim(agent.run(
        "b",
        &Task::RunCommand(command(
            "look",
            "for p in /proc/[0-9]*; do cat $p/comm; done",
            LONG,
        )),
    ));
    assert_eq!(look.exit_code, Some(0));
    let mut processes: Vec<_> = fs::read_to_string(world.path("logs/look.log"))
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    processes.retain(|name| !["sh", "cat"].contains(&name.as_str()));
    assert_eq!(
        processes,
        ["agent"],
        "neither a daemon nor a zombie is left"
    );
}
