//! Probes: each outcome with a server that causes it, all on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{Ipv6Addr, TcpListener, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use dryrun_core::{
    agent_api::{
        protocol::Task,
        tasks::{ProbeTask, VerifyInputsTask},
    },
    isolation::target::{Greeting, Protocol, Tally, Target},
};
use support::{
    Agent, DEADLINE, TOKEN, World, eventually, postgres,
    production::Production,
    targets::{briefly, closed, full, once, outcomes, patiently, probe, says, sends, sink, target},
};

const BOTH: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

#[test]
fn an_echo_is_reached_and_answers() {
    let world = World::new();
    let (agent, echo) = Agent::start_echo(&world);
    let mut targets = Vec::new();
    for protocol in BOTH {
        targets.extend(
            [Greeting::Nothing, Greeting::Echo].map(|greeting| target(echo, protocol, greeting)),
        );
    }
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        targets.extend(BOTH.map(|protocol| Target {
            address: "::1".into(),
            ..target(echo, protocol, Greeting::Echo)
        }));
    }
    let expected = vec!["answered"; targets.len()];
    assert_eq!(outcomes(&probe(&agent, "a", once(targets))), expected);
}

#[tokio::test]
async fn a_closed_port_refuses_and_a_full_one_is_silent() {
    let world = World::new();
    let agent = Agent::start(&world);
    let (_kept, shut) = closed();
    // It hears one peer alone; for all others its port is closed.
    let (elsewhere, deaf) = sink();
    elsewhere.connect(("127.0.0.1", shut)).unwrap();
    let refusing = [(shut, Protocol::Tcp), (deaf, Protocol::Udp)]
        .map(|(port, protocol)| target(port, protocol, Greeting::Echo));
    assert_eq!(
        outcomes(&probe(&agent, "refused", once(refusing.into()))),
        ["refused"; 2]
    );

    let (_listener, _waiting, full) = full();
    let (_unread, sink) = sink();
    let silent = [(full, Protocol::Tcp), (sink, Protocol::Udp)]
        .map(|(port, protocol)| target(port, protocol, Greeting::Nothing));
    assert_eq!(
        outcomes(&probe(&agent, "silent", briefly(silent.into()))),
        ["silent"; 2]
    );
}

#[test]
fn what_is_no_address_fails_and_says_nothing() {
    let world = World::new();
    let agent = Agent::start(&world);
    let targets =
        ["localhost", "", "127.0.0.1:80", "::1%lo", "127.0.0.256"].map(|address| Target {
            address: address.into(),
            ..target(80, Protocol::Tcp, Greeting::Nothing)
        });
    assert_eq!(
        outcomes(&probe(&agent, "a", once(targets.into()))),
        ["failed"; 5]
    );
}

#[test]
fn another_answer_is_a_connection_all_the_same() {
    let world = World::new();
    let agent = Agent::start(&world);
    let changed = |heard: &[u8]| heard.iter().map(|byte| byte ^ 1).collect::<Vec<_>>();
    let longer = |heard: &[u8]| [heard, b"!"].concat();
    let targets = vec![
        target(says(changed), Protocol::Tcp, Greeting::Echo),
        target(says(longer), Protocol::Tcp, Greeting::Echo),
        // Accepted, and then ended without a word.
        target(says(|_| Vec::new()), Protocol::Tcp, Greeting::Echo),
        target(says(|heard| heard.to_vec()), Protocol::Tcp, Greeting::Dns),
        target(
            says(|_| b"SSH-2.0-x\r\n".to_vec()),
            Protocol::Tcp,
            Greeting::Postgres,
        ),
        target(
            sends(move |heard| vec![changed(heard)]),
            Protocol::Udp,
            Greeting::Echo,
        ),
        target(
            sends(|heard| vec![heard.to_vec()]),
            Protocol::Udp,
            Greeting::Dns,
        ),
    ];
    let expected = vec!["connected"; targets.len()];
    assert_eq!(outcomes(&probe(&agent, "a", patiently(targets))), expected);

    // A stray datagram does not hide the right one.
    let stray = sends(move |heard| vec![changed(heard), heard.to_vec()]);
    let late = target(stray, Protocol::Udp, Greeting::Echo);
    assert_eq!(
        outcomes(&probe(&agent, "b", once(vec![late]))),
        ["answered"]
    );
}

#[test]
fn name_servers_and_postgres_are_known_by_their_answers() {
    let world = World::new();
    let agent = Agent::start(&world);
    // QR is the first bit of the third byte, after the two of the length over TCP.
    let respond = |place: usize| {
        move |heard: &[u8]| {
            let mut answer = heard.to_vec();
            answer[place] |= 0x80;
            answer
        }
    };
    let responds = respond(2);
    let ssl_request = [0, 0, 0, 8, 0x04, 0xD2, 0x16, 0x2F];
    let letter = move |letter: u8| {
        move |heard: &[u8]| {
            if heard == ssl_request {
                vec![letter]
            } else {
                b"E".to_vec()
            }
        }
    };
    let targets = vec![
        target(says(respond(4)), Protocol::Tcp, Greeting::Dns),
        target(
            sends(move |heard| vec![responds(heard)]),
            Protocol::Udp,
            Greeting::Dns,
        ),
        target(says(letter(b'N')), Protocol::Tcp, Greeting::Postgres),
        target(says(letter(b'S')), Protocol::Tcp, Greeting::Postgres),
    ];
    assert_eq!(
        outcomes(&probe(&agent, "a", once(targets))),
        ["answered"; 4]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_postgres_answers_and_writes_nothing_of_it() {
    let Some(programs) = postgres() else { return };
    let world = World::new();
    let source = Production::start(&world, &programs, &[]).await;
    let agent = Agent::start(&world);
    let log = || fs::read_to_string(world.path("production.log")).unwrap();
    let before = log().len();
    let at = |greeting| target(source.port, Protocol::Tcp, greeting);
    let polite = vec![at(Greeting::Postgres), at(Greeting::Nothing)];
    assert_eq!(outcomes(&probe(&agent, "a", once(polite))), ["answered"; 2]);
    // An invalid startup packet is logged: by then the log has every earlier entry.
    assert_eq!(
        outcomes(&probe(&agent, "b", patiently(vec![at(Greeting::Echo)]))),
        ["connected"]
    );
    let written = eventually("the server complains", || {
        let written = log()[before..].to_owned();
        written.contains("startup packet").then_some(written)
    });
    let lines = written.lines().filter(|line| !line.contains("checkpoint"));
    assert_eq!(lines.count(), 1, "{written}");
}

#[tokio::test]
async fn rounds_begin_at_intervals_whether_or_not_the_last_has_ended() {
    let world = World::new();
    let agent = Agent::start(&world);
    let (_unread, sink) = sink();
    let (_kept, shut) = closed();
    let task = ProbeTask {
        rounds: 6,
        interval_ms: 200,
        timeout_ms: 1500,
        ..once(vec![
            target(sink, Protocol::Udp, Greeting::Nothing),
            target(shut, Protocol::Tcp, Greeting::Nothing),
        ])
    };
    let started = Instant::now();
    let [silent, refused] = &probe(&agent, "a", task)[..] else {
        panic!("two targets")
    };
    let took = started.elapsed();
    assert_eq!((silent.attempts, silent.silent), (6, 6));
    assert_eq!((refused.attempts, refused.refused), (6, 6));
    // Five intervals, and the last round's timeout: one after the other they would take nine
    // seconds.
    assert!(took >= Duration::from_millis(2500), "{took:?}");
    assert!(took < Duration::from_millis(9000), "{took:?}");
    let between = |tally: &Tally| tally.last.unwrap().duration_since(tally.first.unwrap());
    // A busy machine may begin the first of them late.
    assert!(between(refused).as_millis() >= 500, "{refused:?}");
    assert!(between(silent).as_millis() >= 2000, "{silent:?}");
}

#[test]
fn a_task_that_cannot_be_meant_is_refused() {
    let world = World::new();
    let agent = Agent::start(&world);
    let nothing = agent.failure("a", &Task::Probe(once(Vec::new())));
    let never = ProbeTask {
        rounds: 0,
        ..once(vec![target(80, Protocol::Tcp, Greeting::Nothing)])
    };
    for error in [nothing, agent.failure("b", &Task::Probe(never))] {
        assert_eq!((error.reason.as_str(), error.retry), ("InvalidTask", false));
    }
}

#[test]
fn an_echo_has_bounds_and_outlives_those_who_break_off() {
    let world = World::new();
    let (agent, echo) = Agent::start_echo(&world);
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", echo)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    };

    // 64 KiB come back, and then the connection is over, even if more is sent.
    for (sent, expected) in [(64 << 10, 64 << 10..=64 << 10), (1 << 20, 0..=64 << 10)] {
        let mut talker = connect();
        let mut speaker = talker.try_clone().unwrap();
        let speaking = std::thread::spawn(move || speaker.write_all(&vec![7; sent]));
        let mut heard = Vec::new();
        let _ = talker.read_to_end(&mut heard);
        assert!(expected.contains(&heard.len()), "{} of {sent}", heard.len());
        let _ = speaking.join().unwrap();
    }

    // As many as may stay at a time; the next one waits until one is closed.
    let mut staying: Vec<_> = (0..64).map(|_| connect()).collect();
    for stream in &mut staying {
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
    }
    let mut next = connect();
    next.write_all(b"x").unwrap();
    next.set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    assert_eq!(
        next.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    staying.pop();
    next.set_read_timeout(Some(DEADLINE)).unwrap();
    next.read_exact(&mut [0]).unwrap();

    // A silent connection is closed after a while.
    let started = Instant::now();
    assert_eq!(staying[0].read(&mut [0]).unwrap(), 0);
    assert!(started.elapsed() < Duration::from_secs(15));
    drop(staying);

    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", echo)).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.send(&[1; 1501]).unwrap();
    socket.send(&[2; 1500]).unwrap();
    let mut datagram = [0; 2000];
    assert_eq!(socket.recv(&mut datagram).unwrap(), 1500);
    assert_eq!(datagram[0], 2, "the longer one is not answered");

    let again = target(echo, Protocol::Tcp, Greeting::Echo);
    assert_eq!(
        outcomes(&probe(&agent, "a", once(vec![again]))),
        ["answered"]
    );
}

#[test]
fn an_echo_whose_port_is_taken_is_an_error_at_once() {
    let world = World::new();
    world.directory("scratch");
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let output = world
        .command(world.path("agent"))
        .args(["serve", "--port", "0", "--secrets", "secrets", "--echo"])
        .arg(taken.local_addr().unwrap().port().to_string())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let says = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(says.contains("cannot echo on port"), "{says}");
}

/// It asks for no token, since there is none, and does nothing that would need one.
#[test]
fn a_prober_without_secrets_probes_and_does_nothing_else() {
    let world = World::new();
    let agent = Agent::start_prober(&world);
    let (_kept, shut) = closed();
    let task = Task::Probe(once(vec![target(shut, Protocol::Tcp, Greeting::Nothing)]));
    let (status, body) = agent.request(
        "POST",
        "/v1/tasks/a",
        None,
        &serde_json::to_string(&task).unwrap(),
    );
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("\"refused\":1"), "{body}");
    let other = Task::DigestInputs(VerifyInputsTask { inputs: Vec::new() });
    let other = serde_json::to_string(&other).unwrap();
    for token in [None, Some(TOKEN)] {
        let (status, body) = agent.request("POST", "/v1/tasks/b", token, &other);
        assert_eq!(status, 403, "{body}");
        assert!(body.contains("ProbesOnly"), "{body}");
    }
}
