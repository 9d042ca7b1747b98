//! Targets of a test's probes: all of it on loopback.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use dryrun_core::{
    agent_api::{
        protocol::{Task, TaskResult},
        tasks::ProbeTask,
    },
    api::TargetClass,
    isolation::target::{Greeting, Protocol, Tally, Target},
};
use tokio::net::TcpSocket;

use super::Agent;

/// A target at 127.0.0.1.
pub fn target(port: u16, protocol: Protocol, greeting: Greeting) -> Target {
    Target {
        class: TargetClass::OtherNamespace,
        address: "127.0.0.1".into(),
        port,
        protocol,
        greeting,
        on_own_node: false,
    }
}

/// One round with time enough.
pub fn once(targets: Vec<Target>) -> ProbeTask {
    ProbeTask {
        targets,
        rounds: 1,
        interval_ms: 1000,
        timeout_ms: 20_000,
        nonce: "Ax7-of-this-task".into(),
    }
}

/// One round for targets that are expected to be silent.
pub fn briefly(targets: Vec<Target>) -> ProbeTask {
    ProbeTask {
        timeout_ms: 1500,
        ..once(targets)
    }
}

/// One round for targets that answer something else, which takes its whole time: a busy machine
/// must be able to send a wrong answer within it.
pub fn patiently(targets: Vec<Target>) -> ProbeTask {
    ProbeTask {
        timeout_ms: 6000,
        ..once(targets)
    }
}

pub fn probe(agent: &Agent, id: &str, task: ProbeTask) -> Vec<Tally> {
    match agent.run(id, &Task::Probe(task)) {
        TaskResult::Probe { tallies } => tallies,
        other => panic!("{other:?}"),
    }
}

/// The one word for a tally of one attempt.
pub fn outcome(tally: &Tally) -> &'static str {
    assert_eq!(tally.attempts, 1, "{tally:?}");
    assert!(tally.first.is_some() && tally.first <= tally.last);
    match (
        tally.connected,
        tally.answered,
        tally.refused,
        tally.silent,
        tally.failed,
    ) {
        (1, 1, 0, 0, 0) => "answered",
        (1, 0, 0, 0, 0) => "connected",
        (0, 0, 1, 0, 0) => "refused",
        (0, 0, 0, 1, 0) => "silent",
        (0, 0, 0, 0, 1) => "failed",
        _ => panic!("{tally:?}"),
    }
}

pub fn outcomes(tallies: &[Tally]) -> Vec<&'static str> {
    tallies.iter().map(outcome).collect()
}

/// A TCP port that is taken, so that no other process gets it, and closed until a test listens
/// there.
pub fn closed() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

/// A listener whose backlog is full: the kernel lets further SYNs go unanswered. It is so until the
/// returned sockets are gone.
pub fn full() -> (tokio::net::TcpListener, Vec<TcpStream>, u16) {
    let (socket, port) = closed();
    let listener = socket.listen(0).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let waiting = std::iter::from_fn(|| {
        TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok()
    });
    (listener, waiting.collect(), port)
}

/// A UDP socket without a reader.
pub fn sink() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

/// A TCP server that waits for something to be said, and answers each connection once.
pub fn says(answer: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut heard = [0; 1500];
            let length = stream.read(&mut heard).unwrap();
            stream.write_all(&answer(&heard[..length])).unwrap();
            // Until the other side has enough of it.
            let _ = stream.read(&mut heard);
        }
    });
    port
}

/// A UDP server that answers each datagram with several.
pub fn sends(answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> u16 {
    let (socket, port) = sink();
    thread::spawn(move || {
        let mut heard = [0; 1500];
        loop {
            let (length, sender) = socket.recv_from(&mut heard).unwrap();
            for answer in answers(&heard[..length]) {
                socket.send_to(&answer, sender).unwrap();
            }
        }
    });
    port
}
