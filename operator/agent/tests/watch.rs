//! The watch: probes beside other tasks, and the answer that waits for a breach.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::{ErrorKind, Read},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use dryrun_core::{
    agent_api::{
        protocol::{Task, TaskResult},
        tasks::{CommandTask, WatchTask},
    },
    isolation::target::{Greeting, Protocol, Tally, Target},
    problem::Problem,
};
use support::{
    Agent, DEADLINE, TOKEN, World, eventually,
    targets::{closed, once, says, sink, target},
};

const INTERVAL: u64 = 100;

fn watch(targets: Vec<Target>, excused: &[bool]) -> WatchTask {
    let mut probe = once(targets);
    probe.rounds = 0;
    probe.interval_ms = INTERVAL;
    probe.timeout_ms = 1000;
    WatchTask {
        probe,
        excused: excused.to_vec(),
        jitter_ms: 20,
    }
}

fn begin(agent: &Agent, task: &WatchTask) -> (u16, String) {
    agent.request(
        "PUT",
        "/v1/watch",
        Some(TOKEN),
        &serde_json::to_string(task).unwrap(),
    )
}

fn totals(agent: &Agent) -> Vec<Tally> {
    let (status, body) = agent.request("GET", "/v1/watch", Some(TOKEN), "");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// Asks for a breach, and waits for so many rounds to see that the answer is held.
fn held(agent: &Agent, rounds: u64) -> TcpStream {
    let mut waiting = agent.send("GET", "/v1/watch/breach", Some(TOKEN), "");
    waiting
        .set_read_timeout(Some(Duration::from_millis(rounds * INTERVAL)))
        .unwrap();
    assert_eq!(
        waiting.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::WouldBlock,
        "nothing was breached yet"
    );
    waiting.set_read_timeout(Some(DEADLINE)).unwrap();
    waiting
}

fn answer(mut waiting: TcpStream) -> Vec<Tally> {
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    serde_json::from_str(body).unwrap()
}

fn reason(body: &str) -> String {
    serde_json::from_str::<Problem>(body).unwrap().reason
}

#[tokio::test]
async fn totals_grow_while_a_task_runs() {
    let world = World::new();
    let agent = Agent::start(&world);
    let (_kept, shut) = closed();
    let (_unread, sink) = sink();
    let targets = vec![
        target(shut, Protocol::Tcp, Greeting::Nothing),
        target(sink, Protocol::Udp, Greeting::Nothing),
    ];
    let task = Task::RunCommand(CommandTask {
        name: "S1".into(),
        command: ["sh", "-c", "until [ -e go ]; do sleep 0.05; done"]
            .map(str::to_owned)
            .into(),
        env: BTreeMap::new(),
        login: None,
        fresh: false,
        timeout_ms: 60_000,
    });
    thread::scope(|scope| {
        let running = scope.spawn(|| agent.run("a", &task));
        assert_eq!(begin(&agent, &watch(targets, &[false; 2])).0, 200);
        let before = eventually("both targets were tried", || {
            let totals = totals(&agent);
            (totals.iter().all(|tally| tally.attempts > 0)).then_some(totals)
        });
        let after = eventually("they are tried again", || {
            let now = totals(&agent);
            let grown = before
                .iter()
                .zip(&now)
                .all(|(before, now)| now.attempts > before.attempts + 2);
            grown.then_some(now)
        });
        assert!(!running.is_finished());
        assert_eq!(after[0].refused, after[0].attempts);
        assert_eq!(after[1].silent, after[1].attempts);
        assert_eq!(after[0].first, before[0].first);
        assert!(after[0].last > before[0].last);
        fs::write(world.path("scratch/go"), "").unwrap();
        assert!(matches!(running.join().unwrap(), TaskResult::Scenario(_)));
    });
}

#[tokio::test]
async fn a_breach_is_told_when_it_comes_and_not_before() {
    let world = World::new();
    let agent = Agent::start(&world);
    let (socket, port) = closed();
    let targets = vec![
        target(says(|_| Vec::new()), Protocol::Tcp, Greeting::Nothing),
        target(port, Protocol::Tcp, Greeting::Nothing),
    ];
    assert_eq!(begin(&agent, &watch(targets, &[true, false])).0, 200);
    let waiting = held(&agent, 10);
    let quiet = eventually("the excused target is reached", || {
        let totals = totals(&agent);
        (totals[0].connected > 1).then_some(totals)
    });
    assert_eq!(quiet[1].connected, 0, "{quiet:?}");

    let _listener = socket.listen(64).unwrap();
    let told = answer(waiting);
    assert!(told[1].connected >= 1, "{told:?}");
    assert!(told[1].refused > 0, "{told:?}");

    // A later request is answered at once.
    let again = answer(agent.send("GET", "/v1/watch/breach", Some(TOKEN), ""));
    assert!(again[1].connected >= 1);
}

#[tokio::test]
async fn a_second_watch_changes_nothing() {
    let world = World::new();
    let agent = Agent::start(&world);
    let (_kept, shut) = closed();
    let task = watch(
        vec![target(shut, Protocol::Tcp, Greeting::Nothing)],
        &[false],
    );
    let started = Instant::now();
    for _ in 0..5 {
        assert_eq!(begin(&agent, &task).0, 200);
    }
    let other = watch(vec![task.probe.targets[0].clone(); 3], &[true; 3]);
    assert_eq!(begin(&agent, &other).0, 200);
    let totals = eventually("several rounds have ended", || {
        let totals = totals(&agent);
        (totals[0].attempts > 5).then_some(totals)
    });
    let most = started.elapsed().as_millis() as u64 / INTERVAL + 1;
    assert_eq!(totals.len(), 1);
    assert!(
        totals[0].attempts <= most,
        "at most {most} rounds fit: {totals:?}"
    );
}

#[tokio::test]
async fn who_no_longer_waits_for_a_breach_is_forgotten() {
    let world = World::new();
    let agent = Agent::start(&world);
    let (_kept, shut) = closed();
    let targets = vec![target(shut, Protocol::Tcp, Greeting::Nothing)];
    assert_eq!(begin(&agent, &watch(targets, &[false])).0, 200);
    let files = format!("/proc/{}/fd", agent.process.0.id());
    let open = || fs::read_dir(&files).unwrap().count();
    let before = open();
    let waiting: Vec<_> = (0..20).map(|_| held(&agent, 1)).collect();
    assert!(open() >= before + 15);
    drop(waiting);
    eventually("their sockets are closed", || {
        (open() < before + 5).then_some(())
    });
}

#[test]
fn a_watch_needs_the_token_a_beginning_and_a_sound_task() {
    let world = World::new();
    let agent = Agent::start(&world);
    let sound = watch(vec![target(1, Protocol::Tcp, Greeting::Nothing)], &[false]);
    let body = serde_json::to_string(&sound).unwrap();
    for (method, path) in [
        ("PUT", "/v1/watch"),
        ("GET", "/v1/watch"),
        ("GET", "/v1/watch/breach"),
    ] {
        for token in [None, Some("wrong")] {
            assert_eq!(agent.request(method, path, token, &body).0, 401, "{path}");
        }
    }
    for path in ["/v1/watch", "/v1/watch/breach"] {
        let (status, body) = agent.request("GET", path, Some(TOKEN), "");
        assert_eq!((status, &*reason(&body)), (404, "NotWatching"), "{path}");
    }
    let change = |change: &dyn Fn(&mut WatchTask)| {
        let mut task = sound.clone();
        change(&mut task);
        task
    };
    for unsound in [
        change(&|task| task.excused.clear()),
        change(&|task| task.excused.push(true)),
        change(&|task| task.probe.targets.clear()),
        change(&|task| task.probe.interval_ms = 0),
        change(&|task| task.jitter_ms = u64::MAX),
    ] {
        let (status, body) = begin(&agent, &unsound);
        assert_eq!(
            (status, &*reason(&body)),
            (400, "InvalidTask"),
            "{unsound:?}"
        );
    }
    let (status, body) = agent.request("PUT", "/v1/watch", Some(TOKEN), "{}");
    assert_eq!((status, &*reason(&body)), (400, "InvalidRequest"));
    assert_eq!(
        agent.request("GET", "/v1/watch", Some(TOKEN), "").0,
        404,
        "none of these has begun one"
    );
}
