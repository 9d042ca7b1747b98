//! One attempt at one target.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use dryrun_core::isolation::target::{Protocol, Tally, Target};
use jiff::Timestamp;
use rustix::io::Errno;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::{Instant, timeout_at},
};

use super::greeting::{Speech, Verdict};

/// Bytes of a datagram that are looked at: no right answer is longer.
const DATAGRAM: usize = 1500;

/// Outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Connected { answered: bool },
    Refused,
    Silent,
    Failed,
}

/// Tries to reach the target, and gives the tally of this one attempt.
pub(super) async fn attempt(target: &Target, nonce: &str, limit: Duration) -> Tally {
    let first = Some(Timestamp::now());
    let outcome = reach(target, nonce, Instant::now() + limit).await;
    let is = |wanted: bool| u64::from(wanted);
    Tally {
        attempts: 1,
        connected: is(matches!(outcome, Outcome::Connected { .. })),
        answered: is(outcome == Outcome::Connected { answered: true }),
        refused: is(outcome == Outcome::Refused),
        silent: is(outcome == Outcome::Silent),
        failed: is(outcome == Outcome::Failed),
        first,
        last: Some(Timestamp::now()),
    }
}

async fn reach(target: &Target, nonce: &str, deadline: Instant) -> Outcome {
    // No names: a resolver would be a second thing that may fail.
    let Ok(address) = target.address.parse::<IpAddr>() else {
        return Outcome::Failed;
    };
    let address = SocketAddr::new(address, target.port);
    let speech = Speech {
        greeting: target.greeting,
        protocol: target.protocol,
        nonce: nonce.as_bytes(),
        id: fastrand::u16(..),
    };
    match target.protocol {
        Protocol::Tcp => tcp(address, &speech, deadline).await,
        Protocol::Udp => udp(address, &speech, deadline).await,
    }
}

/// An accepted connection counts as accepted, regardless of its end.
async fn tcp(address: SocketAddr, speech: &Speech<'_>, deadline: Instant) -> Outcome {
    let stream = match timeout_at(deadline, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return unreached(&error),
        Err(_) => return Outcome::Silent,
    };
    if is_own(stream.local_addr(), address) {
        return Outcome::Failed;
    }
    let answered = timeout_at(deadline, converse(stream, speech)).await;
    Outcome::Connected {
        answered: matches!(answered, Ok(Ok(Verdict::Right))),
    }
}

async fn converse(mut stream: TcpStream, speech: &Speech<'_>) -> io::Result<Verdict> {
    let words = speech.words();
    if words.is_empty() {
        return Ok(Verdict::Right);
    }
    stream.write_all(&words).await?;
    let mut heard = Vec::new();
    loop {
        if stream.read_buf(&mut heard).await? == 0 {
            return Ok(Verdict::Wrong);
        }
        match speech.judge(&heard) {
            Verdict::Incomplete => {}
            verdict => return Ok(verdict),
        }
    }
}

/// The first datagram counts as an answer, regardless of the next ones.
async fn udp(address: SocketAddr, speech: &Speech<'_>, deadline: Instant) -> Outcome {
    let mut heard = false;
    match timeout_at(deadline, exchange(address, speech, &mut heard)).await {
        Ok(Ok(())) => Outcome::Connected { answered: true },
        _ if heard => Outcome::Connected { answered: false },
        Ok(Err(error)) => unreached(&error),
        Err(_) => Outcome::Silent,
    }
}

/// Ends when the right answer has come.
async fn exchange(address: SocketAddr, speech: &Speech<'_>, heard: &mut bool) -> io::Result<()> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(address).await?;
    if is_own(socket.local_addr(), address) {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    }
    socket.send(&speech.words()).await?;
    let mut datagram = vec![0; DATAGRAM];
    loop {
        let length = socket.recv(&mut datagram).await?;
        *heard = true;
        if speech.judge(&datagram[..length]) == Verdict::Right {
            return Ok(());
        }
    }
}

/// The kernel may have given the probe the very port that it looks for at its own address: then it
/// has only met itself.
fn is_own(own: io::Result<SocketAddr>, target: SocketAddr) -> bool {
    own.is_ok_and(|own| own == target)
}

/// Returns the outcome that an error on the way to the target stands for. A local rule that rejects
/// gives the same errors as an ICMP message or a reset.
fn unreached(error: &io::Error) -> Outcome {
    match Errno::from_io_error(error) {
        Some(
            Errno::CONNREFUSED
            | Errno::CONNRESET
            | Errno::HOSTUNREACH
            | Errno::NETUNREACH
            | Errno::ACCESS
            | Errno::PERM
            // The kernel's words for rarer ICMP messages: protocol unreachable, host unknown, host
            // isolated.
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::NONET,
        ) => Outcome::Refused,
        Some(Errno::TIMEDOUT) => Outcome::Silent,
        _ => Outcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_about_the_way_are_refusals() {
        let of = |errno: Errno| unreached(&errno.into());
        for errno in [
            Errno::CONNREFUSED,
            Errno::CONNRESET,
            Errno::HOSTUNREACH,
            Errno::NETUNREACH,
            Errno::ACCESS,
            Errno::PERM,
            Errno::NOPROTOOPT,
        ] {
            assert_eq!(of(errno), Outcome::Refused, "{errno}");
        }
        assert_eq!(of(Errno::TIMEDOUT), Outcome::Silent);
        for errno in [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOBUFS,
            Errno::ADDRNOTAVAIL,
            Errno::AFNOSUPPORT,
            Errno::INVAL,
        ] {
            assert_eq!(of(errno), Outcome::Failed, "{errno}");
        }
        assert_eq!(unreached(&io::Error::other("no errno")), Outcome::Failed);
    }

    #[test]
    fn a_probe_that_meets_itself_has_reached_nobody() {
        let own = Ok("127.0.0.1:4242".parse().unwrap());
        assert!(is_own(own, "127.0.0.1:4242".parse().unwrap()));
        let other = Ok("127.0.0.1:4243".parse().unwrap());
        assert!(!is_own(other, "127.0.0.1:4242".parse().unwrap()));
    }
}
