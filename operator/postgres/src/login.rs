//! Logins that do not give a password away: what a server may ask for, and what is repeated of its
//! words.
//!
//! Until a server has proven by SCRAM that it knows the password, any server may answer at that
//! address.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::error;

/// A server's request that is not met, or what it lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It has no TLS.
    #[error("it does not offer TLS")]
    NoTls,
    /// It would learn the password.
    #[error("it asks for the password in clear text")]
    ClearText,
    /// It would learn a hash that suffices to log in.
    #[error("it asks for the password's md5 hash")]
    Md5,
    /// It proves nothing.
    #[error("it lets the role in without a proof that it knows the password")]
    Unproven,
    /// It asks for something else.
    #[error("it asks for a login of another kind than SCRAM")]
    Other,
}

impl Refused {
    /// Finds the refusal among the causes of an error.
    pub(crate) fn among(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let mut causes = std::iter::successors(Some(error), |cause| cause.source());
        causes.find_map(|cause| {
            let io = cause.downcast_ref::<io::Error>()?;
            io.get_ref()?.downcast_ref::<Self>().copied()
        })
    }
}

/// State of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// Over TLS. Its own channel binding refuses everything but SCRAM.
    Tls,
    /// In clear text, by SCRAM.
    Scram,
    /// In clear text, as the server asks.
    Any,
}

/// A connection whose server is not asked for more than a login may be. It stops at the first
/// request that is refused, before an answer.
#[derive(Debug)]
pub struct Guarded<S> {
    stream: S,
    watch: Option<Watch>,
}

impl<S> Guarded<S> {
    /// Watches a new connection.
    pub fn new(stream: S, login: Login) -> Self {
        let watch = match login {
            Login::Tls => Some(Watch::Negotiation),
            Login::Scram => Some(Watch::Messages(Messages::default())),
            Login::Any => None,
        };
        Self { stream, watch }
    }
}

/// Message that is expected next from the server.
#[derive(Debug)]
enum Watch {
    /// The one byte that answers an SSLRequest.
    Negotiation,
    /// Messages of the authentication.
    Messages(Messages),
}

/// Reads messages (protocol 3.0: type, length, body) as they come, and of their bodies the first
/// four bytes.
#[derive(Debug, Default)]
struct Messages {
    head: Vec<u8>,
    /// Bytes left of a body.
    rest: usize,
    /// The server has sent the last message of SCRAM, in which it proves that it knows the
    /// password.
    proven: bool,
}

/// Type, length and the request of an authentication message.
const HEAD: usize = 9;

impl Messages {
    /// Takes bytes from the server. Returns true when the role is in.
    fn take(&mut self, bytes: &[u8]) -> Result<bool, Refused> {
        for byte in bytes {
            if self.rest > 0 {
                self.rest -= 1;
                continue;
            }
            self.head.push(*byte);
            let [kind, a, b, c, d, request @ ..] = self.head.as_slice() else {
                continue;
            };
            let body = u32::from_be_bytes([*a, *b, *c, *d]).saturating_sub(4) as usize;
            if *kind != b'R' {
                self.rest = body;
                self.head.clear();
                continue;
            }
            if let [a, b, c, d] = request {
                let request = u32::from_be_bytes([*a, *b, *c, *d]);
                self.rest = (body + 5).saturating_sub(HEAD);
                self.head.clear();
                if self.judge(request)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn judge(&mut self, request: u32) -> Result<bool, Refused> {
        match request {
            0 if self.proven => Ok(true),
            0 => Err(Refused::Unproven),
            3 => Err(Refused::ClearText),
            5 => Err(Refused::Md5),
            // SASL: its mechanisms, a challenge, the server's proof. The client checks them.
            10 | 11 => Ok(false),
            12 => {
                self.proven = true;
                Ok(false)
            }
            _ => Err(Refused::Other),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let new = buffer.filled().get(before..).unwrap_or_default();
        let judged = match &mut self.watch {
            Some(Watch::Negotiation) => match new {
                [] => Ok(false),
                [b'S', ..] => Ok(true),
                [..] => Err(Refused::NoTls),
            },
            Some(Watch::Messages(messages)) => messages.take(new),
            None => Ok(false),
        };
        match judged {
            Ok(over) => {
                if over {
                    self.watch = None;
                }
                Poll::Ready(Ok(()))
            }
            Err(refused) => {
                buffer.set_filled(before);
                Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, refused)))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Says what an error of a login means, in words of our own: a server that has not proven who it is
/// may say anything, also what it received.
pub(crate) fn explain(error: &tokio_postgres::Error) -> String {
    if let Some(refused) = Refused::among(error) {
        return refused.to_string();
    }
    let Some(state) = error.code() else {
        return without_server(error);
    };
    let meaning = match state.code() {
        "28P01" | "28000" => {
            "it does not let the role in: look at the password, and at pg_hba.conf"
        }
        "3D000" => "it has no such database",
        "42501" => "the role may not connect to the database",
        "53300" => "it has no free connection",
        "57P03" => "it does not accept connections yet",
        "57P01" | "57P02" => "it shuts down",
        "0A000" | "08P01" => "it does not understand the login",
        _ => "the login failed",
    };
    match error::known(state) {
        Some(code) => format!("{meaning} (SQLSTATE {code})"),
        None => meaning.to_owned(),
    }
}

/// Causes that quote a server: the text of a proof that failed, a message that cannot be parsed.
const QUOTING: [&str; 2] = ["authentication error", "error parsing response from server"];
/// The client's own errors of an authentication.
const OWN: [&str; 4] = [
    "server did not use channel binding",
    "unsupported SASL mechanism",
    "unsupported authentication method",
    "password missing",
];

/// The text of an error that no server reported, and its causes unless they quote the server.
fn without_server(error: &tokio_postgres::Error) -> String {
    let kind = error.to_string();
    let quotes = QUOTING.contains(&kind.as_str());
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let causes = causes
        .map(ToString::to_string)
        .filter(|cause| !quotes || OWN.contains(&cause.as_str()));
    std::iter::once(kind.clone())
        .chain(causes)
        .collect::<Vec<_>>()
        .join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    /// An authentication message.
    fn asks(request: u32, more: &[u8]) -> Vec<u8> {
        let length = 8 + more.len() as u32;
        [
            b"R",
            &length.to_be_bytes()[..],
            &request.to_be_bytes(),
            more,
        ]
        .concat()
    }

    /// A connection on which bytes come in pieces.
    struct Pieces(std::collections::VecDeque<Vec<u8>>);

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if let Some(mut piece) = self.0.pop_front() {
                let rest = piece.split_off(piece.len().min(buffer.remaining()));
                buffer.put_slice(&piece);
                if !rest.is_empty() {
                    self.0.push_front(rest);
                }
            }
            Poll::Ready(Ok(()))
        }
    }

    /// Returns the bytes that are read of these pieces, and the reason why no more.
    async fn read(login: Login, pieces: &[&[u8]]) -> (Vec<u8>, Option<Refused>) {
        let pieces = Pieces(pieces.iter().map(|piece| piece.to_vec()).collect());
        let mut guarded = Guarded::new(pieces, login);
        let mut heard = Vec::new();
        let ended = guarded.read_to_end(&mut heard).await;
        let refused = ended.err().and_then(|error| Refused::among(&error));
        (heard, refused)
    }

    #[tokio::test]
    async fn only_scram_is_heard_in_clear_text() {
        for (request, refused) in [
            (0, Refused::Unproven),
            (3, Refused::ClearText),
            (5, Refused::Md5),
            (7, Refused::Other),
        ] {
            let message = asks(request, b"salt");
            assert_eq!(
                read(Login::Scram, &[&message]).await,
                (vec![], Some(refused))
            );
            // Byte by byte, and after a notice.
            let notice = [b"N", &12_u32.to_be_bytes()[..], b"R\0\0\0\x08\0\0\0"].concat();
            let all = [notice, message.clone()].concat();
            let bytes: Vec<&[u8]> = all.chunks(1).collect();
            let (heard, found) = read(Login::Scram, &bytes).await;
            assert_eq!(found, Some(refused));
            assert!(
                heard.len() < all.len(),
                "the request never comes through whole"
            );
            assert_eq!(read(Login::Any, &[&message]).await, (message, None));
        }
    }

    #[tokio::test]
    async fn scram_comes_through() {
        let login = [
            asks(10, b"SCRAM-SHA-256\0\0"),
            asks(11, b"r=nonce"),
            asks(12, b"v=proof"),
            asks(0, b""),
            // A row of the session: no longer looked at.
            b"R\0\0\0\x08\0\0\0\x03".to_vec(),
        ]
        .concat();
        for size in [1, 3, 1000] {
            let pieces: Vec<&[u8]> = login.chunks(size).collect();
            assert_eq!(read(Login::Scram, &pieces).await, (login.clone(), None));
        }
        let early = [asks(10, b"SCRAM-SHA-256\0\0"), asks(0, b"")].concat();
        let (_, refused) = read(Login::Scram, &[&early]).await;
        assert_eq!(
            refused,
            Some(Refused::Unproven),
            "without the server's proof"
        );
    }

    #[tokio::test]
    async fn a_server_without_tls_is_known_by_its_answer() {
        assert_eq!(
            read(Login::Tls, &[b"S", b"R\0\0\0\x08\0\0\0\x03"]).await.1,
            None
        );
        for answer in [b"N", b"E"] {
            assert_eq!(
                read(Login::Tls, &[answer]).await,
                (vec![], Some(Refused::NoTls))
            );
        }
    }
}
