//! A single DNS query, to check that the cluster's DNS answers.

use std::{net::Ipv4Addr, time::Duration};

use tokio::{net::UdpSocket, time::timeout};

/// Returns whether the server answers with at least one address for `name`.
pub(crate) async fn answers(server: Ipv4Addr, name: &str) -> bool {
    matches!(
        timeout(Duration::from_millis(500), ask(server, name)).await,
        Ok(Ok(true))
    )
}

async fn ask(server: Ipv4Addr, name: &str) -> std::io::Result<bool> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect((server, 53)).await?;
    socket.send(&query(name)).await?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).await?;
    // RFC 1035, 4.1.1: the low four bits of byte 3 are the response code, bytes 6 and 7 the number
    // of answers.
    Ok(length >= 12 && answer[3] & 15 == 0 && u16::from_be_bytes([answer[6], answer[7]]) > 0)
}

/// A recursive query for an A record (RFC 1035, 4.1.2).
fn query(name: &str) -> Vec<u8> {
    let mut message: Vec<u8> = [7_u16, 0x0100, 1, 0, 0, 0]
        .iter()
        .flat_map(|field| field.to_be_bytes())
        .collect();
    for label in name.split('.') {
        message.extend(u8::try_from(label.len()));
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_query_has_the_layout_of_rfc_1035() {
        assert_eq!(
            super::query("a.bc"),
            [
                0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 2, b'b', b'c', 0, 0, 1, 0, 1
            ]
        );
    }
}
