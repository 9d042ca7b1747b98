//! `--echo`: sends back what it is sent, over TCP and UDP. It is what probes look for, so it knows
//! no token and only returns what it receives.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, copy},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    time::timeout,
};

use crate::door::{Door, pause};

/// Connections at a time; others wait in the backlog.
const CONNECTIONS: usize = 64;
/// Maximum duration of a connection.
const STAY: Duration = Duration::from_secs(10);
/// Bytes that a connection may send.
const BYTES: u64 = 64 << 10;
/// Bytes of a datagram; longer ones are not answered.
const DATAGRAM: usize = 1500;

/// Answers on that port of every address, from now on.
pub(crate) async fn start(port: u16) -> Result<()> {
    let says = || format!("cannot echo on port {port}");
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    for listener in everywhere(port, TcpListener::bind)
        .await
        .with_context(says)?
    {
        let room = Arc::clone(&room);
        tokio::spawn(tcp(Door { listener, room }));
    }
    for socket in everywhere(port, UdpSocket::bind).await.with_context(says)? {
        tokio::spawn(udp(socket, port));
    }
    tracing::info!(echo = port, "echoing");
    Ok(())
}

/// Sockets for every address. `[::]` takes IPv4 as well, unless `net.ipv6.bindv6only` says
/// otherwise; some machines have no IPv6.
async fn everywhere<S>(
    port: u16,
    bind: impl AsyncFn(SocketAddr) -> io::Result<S>,
) -> io::Result<Vec<S>> {
    let at = |address: IpAddr| bind(SocketAddr::new(address, port));
    let both = at(Ipv6Addr::UNSPECIFIED.into()).await;
    let v4 = at(Ipv4Addr::UNSPECIFIED.into()).await;
    match (both, v4) {
        (Ok(v6), Ok(v4)) => Ok(vec![v6, v4]),
        (Ok(both), Err(error)) if error.kind() == io::ErrorKind::AddrInUse => Ok(vec![both]),
        (Err(error), _) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        (Err(_), Ok(v4)) => Ok(vec![v4]),
        (_, Err(error)) => Err(error),
    }
}

async fn tcp(door: Door) {
    while let Ok((stream, place)) = door.next().await {
        tokio::spawn(async move {
            // It has been sent back, or the other side is gone: either way it is over.
            let _ = timeout(STAY, reflect(stream)).await;
            drop(place);
        });
    }
}

async fn reflect(mut stream: TcpStream) -> io::Result<u64> {
    let (reader, mut writer) = stream.split();
    copy(&mut reader.take(BYTES), &mut writer).await
}

async fn udp(socket: UdpSocket, port: u16) {
    // One byte more, so that a longer datagram is seen to be one.
    let mut datagram = [0; DATAGRAM + 1];
    loop {
        match socket.recv_from(&mut datagram).await {
            // Two echoes would answer each other for ever.
            Ok((length, sender)) if length <= DATAGRAM && sender.port() != port => {
                // Who cannot be answered is left alone.
                let _ = socket.send_to(&datagram[..length], sender).await;
            }
            Ok(_) => {}
            Err(error) => pause(&error).await,
        }
    }
}
