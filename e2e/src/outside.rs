//! The cluster's outside: addresses that echo all data they receive. It runs in its own network
//! namespace as a hidden command of this program.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use tokio::{
    net::{TcpListener, UdpSocket},
    task::JoinSet,
};

use crate::cluster::{ECHO_PORTS, METADATA, OUTSIDE};

/// Echoes on every address and port of the outside, over TCP and UDP, until it is killed.
///
/// # Errors
/// An address cannot be bound.
pub async fn serve() -> Result<()> {
    let mut tasks = JoinSet::new();
    for address in [OUTSIDE, METADATA] {
        for port in ECHO_PORTS {
            let (listener, socket) = bind(address, port).await?;
            tasks.spawn(echo_tcp(listener));
            tasks.spawn(echo_udp(socket));
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

async fn bind(address: Ipv4Addr, port: u16) -> Result<(TcpListener, UdpSocket)> {
    let place = || format!("listening on {address}:{port}");
    Ok((
        TcpListener::bind((address, port))
            .await
            .with_context(place)?,
        UdpSocket::bind((address, port)).await.with_context(place)?,
    ))
}

async fn echo_tcp(listener: TcpListener) -> Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let (mut reader, mut writer) = stream.split();
            // A disconnected peer ends only its own echo.
            drop(tokio::io::copy(&mut reader, &mut writer).await);
        });
    }
}

async fn echo_udp(socket: UdpSocket) -> Result<()> {
    let mut datagram = vec![0; 65_535];
    loop {
        let (length, peer) = socket.recv_from(&mut datagram).await?;
        // As above: an unreachable peer is not an error.
        drop(socket.send_to(&datagram[..length], peer).await);
    }
}
