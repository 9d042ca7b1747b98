//! Reports the connections that a pod can make. A single static file, so that it can probe from its
//! first instruction on.

use std::fmt::{self, Display, Formatter};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;

/// Serves ports, or probes those of other pods.
#[derive(Parser)]
enum Command {
    /// Echo all data received on these ports.
    Serve {
        /// TCP ports.
        #[arg(long)]
        tcp: Vec<u16>,
        /// UDP ports.
        #[arg(long)]
        udp: Vec<u16>,
    },
    /// Try each target once; print a line "TARGET RESULT" for each.
    Connect {
        /// Targets, as in "tcp/10.244.1.8:8080".
        targets: Vec<Target>,
    },
    /// Try a target repeatedly; print a line "MICROSECONDS RESULT" for each change of the result,
    /// and "attempts N open N" at the end.
    Watch {
        /// The target.
        target: Target,
        #[command(flatten)]
        length: Length,
    },
    /// Send datagrams to a UDP target as fast as possible; print "sent N echoed N" at the end.
    Flood {
        /// The target.
        target: Target,
        #[command(flatten)]
        length: Length,
    },
    /// Keep one connection busy; print "open" when it is established, and "cut: REASON" when it
    /// breaks.
    Hold {
        /// The target.
        target: Target,
    },
}

/// Conditions for the end of a probe.
#[derive(clap::Args)]
struct Length {
    /// Minimum duration in milliseconds.
    #[arg(long)]
    for_ms: u64,
    /// Minimum number of attempts.
    #[arg(long, default_value_t = 0)]
    tries: u64,
    /// Minimum number of answers.
    #[arg(long, default_value_t = 0)]
    answers: u64,
}

impl Length {
    fn goes_on(&self, started: Instant, tries: u64, answers: u64) -> bool {
        let elapsed = started.elapsed();
        let few = tries < self.tries || answers < self.answers;
        elapsed < Duration::from_millis(self.for_ms) || few && elapsed < LONGEST
    }
}

/// Maximum duration of waiting for the required attempts or answers, which takes a while on a busy
/// machine.
const LONGEST: Duration = Duration::from_secs(30);

/// Read timeout of a held connection: longer than any delay of a busy machine.
const SILENCE: Duration = Duration::from_secs(30);

/// Timeout of an attempt. All targets are on one machine.
const PATIENCE: Duration = Duration::from_millis(500);

/// Delay between two attempts of a watch that were answered at once: it yields the processor and
/// keeps ephemeral ports available.
const PAUSE: Duration = Duration::from_micros(200);

/// Delay between two messages of a held connection.
const BEAT: Duration = Duration::from_millis(5);

/// A DNS query for the address of kubernetes.default.svc.cluster.local: name servers answer it,
/// echo servers return it.
const QUERY: &[u8] = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x0akubernetes\x07default\x03svc\x07cluster\x05local\0\0\x01\0\x01";

/// A port to reach.
#[derive(Clone, Copy)]
struct Target {
    protocol: Protocol,
    address: SocketAddr,
}

#[derive(Clone, Copy)]
enum Protocol {
    Tcp,
    Udp,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (protocol, address) = text.split_once('/').ok_or("no protocol")?;
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            other => return Err(format!("unknown protocol {other:?}")),
        };
        let address = address.parse().map_err(|error| format!("{error}"))?;
        Ok(Self { protocol, address })
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        write!(f, "{protocol}/{}", self.address)
    }
}

/// Result of an attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// The target answered.
    Open,
    /// A reset or an ICMP error was received.
    Refused,
    /// No answer was received.
    Timeout,
}

impl Display for Seen {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
        })
    }
}

fn main() -> io::Result<()> {
    match Command::parse() {
        Command::Serve { tcp, udp } => serve(&tcp, &udp),
        Command::Connect { targets } => {
            for target in targets {
                println!("{target} {}", attempt(target)?);
            }
            Ok(())
        }
        Command::Watch { target, length } => watch(target, &length),
        Command::Flood { target, length } => flood(target, &length),
        Command::Hold { target } => hold(target),
    }
}

fn serve(tcp: &[u16], udp: &[u16]) -> io::Result<()> {
    let tcp: Vec<_> = tcp
        .iter()
        .map(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)))
        .collect::<Result<_, _>>()?;
    let udp: Vec<_> = udp
        .iter()
        .map(|port| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, *port)))
        .collect::<Result<_, _>>()?;
    thread::scope(|scope| {
        for listener in tcp {
            scope.spawn(move || {
                for client in listener.incoming().flatten() {
                    // A disconnected client ends its thread, regardless of the error.
                    thread::spawn(move || io::copy(&mut &client, &mut &client));
                }
            });
        }
        for socket in udp {
            scope.spawn(move || {
                let mut datagram = [0; 1500];
                loop {
                    // An error belongs to an earlier answer, whose receiver has closed.
                    if let Ok((length, client)) = socket.recv_from(&mut datagram) {
                        let _ = socket.send_to(&datagram[..length], client);
                    }
                }
            });
        }
    });
    Ok(())
}

fn attempt(target: Target) -> io::Result<Seen> {
    let answer = match target.protocol {
        Protocol::Tcp => TcpStream::connect_timeout(&target.address, PATIENCE).map(drop),
        Protocol::Udp => exchange(target.address),
    };
    match answer {
        Ok(()) => Ok(Seen::Open),
        Err(error) => seen(error),
    }
}

fn exchange(address: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(address)?;
    socket.send(QUERY)?;
    socket.recv(&mut [0; 1500]).map(drop)
}

/// Classifies an error of the target; a local error stays an error, because it must not count as a
/// closed port.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "ErrorKind is not exhaustive"
)]
fn seen(error: io::Error) -> io::Result<Seen> {
    match error.kind() {
        ErrorKind::ConnectionRefused
        | ErrorKind::ConnectionReset
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable => Ok(Seen::Refused),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Ok(Seen::Timeout),
        _ => Err(error),
    }
}

fn watch(target: Target, length: &Length) -> io::Result<()> {
    let started = Instant::now();
    let (mut attempts, mut open, mut last) = (0, 0, None);
    while length.goes_on(started, attempts, open) {
        let seen = attempt(target)?;
        attempts += 1;
        open += u64::from(seen == Seen::Open);
        if last != Some(seen) {
            println!("{} {seen}", started.elapsed().as_micros());
            last = Some(seen);
        }
        thread::sleep(PAUSE);
    }
    println!("attempts {attempts} open {open}");
    Ok(())
}

fn flood(target: Target, length: &Length) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(target.address)?;
    socket.set_nonblocking(true)?;
    let started = Instant::now();
    let (mut sent, mut echoed) = (0u64, 0u64);
    while length.goes_on(started, sent, echoed) {
        // Errors are full buffers and ICMP answers to earlier datagrams.
        sent += u64::from(socket.send(b".").is_ok());
        echoed += u64::from(socket.recv(&mut [0]).is_ok());
    }
    println!("sent {sent} echoed {echoed}");
    Ok(())
}

fn hold(target: Target) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&target.address, SILENCE)?;
    stream.set_read_timeout(Some(SILENCE))?;
    println!("open");
    let mut beat = || -> io::Result<()> {
        loop {
            stream.write_all(b".")?;
            stream.read_exact(&mut [0])?;
            thread::sleep(BEAT);
        }
    };
    if let Err(error) = beat() {
        println!("cut: {error}");
    }
    Ok(())
}
