//! Greetings for targets, and their right answers.

use dryrun_core::isolation::target::{Greeting, Protocol};

/// Bytes of a DNS header (RFC 1035, 4.1.1).
const DNS_HEADER: usize = 12;
/// `.`, type NS, class IN.
const ROOT_SERVERS: [u8; 5] = [0, 0, 2, 0, 1];
/// Length and code of an SSLRequest.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// One attempt's part of the conversation.
pub(super) struct Speech<'a> {
    pub(super) greeting: Greeting,
    pub(super) protocol: Protocol,
    /// Nonce that an echo must send back.
    pub(super) nonce: &'a [u8],
    /// Id that a DNS answer must carry.
    pub(super) id: u16,
}

/// Verdict on the bytes so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    Wrong,
    /// The begin of a right answer.
    Incomplete,
}

impl Speech<'_> {
    /// The bytes to send.
    pub(super) fn words(&self) -> Vec<u8> {
        match (self.greeting, self.protocol) {
            (Greeting::Nothing, Protocol::Tcp) => Vec::new(),
            (Greeting::Nothing, Protocol::Udp) => vec![0],
            (Greeting::Echo, _) => self.nonce.to_vec(),
            (Greeting::Dns, Protocol::Udp) => self.question(),
            (Greeting::Dns, Protocol::Tcp) => {
                let question = self.question();
                [&(question.len() as u16).to_be_bytes(), &*question].concat()
            }
            (Greeting::Postgres, _) => SSL_REQUEST.to_vec(),
        }
    }

    /// Judges a datagram, or all bytes of a connection so far.
    pub(super) fn judge(&self, heard: &[u8]) -> Verdict {
        match (self.greeting, self.protocol) {
            (Greeting::Nothing, _) => Verdict::Right,
            (Greeting::Echo, _) if heard == self.nonce => Verdict::Right,
            (Greeting::Echo, _) if self.nonce.starts_with(heard) => Verdict::Incomplete,
            (Greeting::Echo, _) => Verdict::Wrong,
            (Greeting::Dns, Protocol::Udp) => self.judge_response(heard),
            (Greeting::Dns, Protocol::Tcp) => match heard {
                [high, low, response @ ..] => {
                    let length = usize::from(u16::from_be_bytes([*high, *low]));
                    match response.get(..length) {
                        _ if length < DNS_HEADER => Verdict::Wrong,
                        Some(response) => self.judge_response(response),
                        None => Verdict::Incomplete,
                    }
                }
                _ => Verdict::Incomplete,
            },
            (Greeting::Postgres, _) => match heard {
                [] => Verdict::Incomplete,
                // Not more than that byte: an SSH server's banner begins with an S too.
                [b'S' | b'N'] => Verdict::Right,
                _ => Verdict::Wrong,
            },
        }
    }

    /// Our question with its header: recursion desired, one question.
    fn question(&self) -> Vec<u8> {
        let [high, low] = self.id.to_be_bytes();
        let header = [high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        [&header[..], &ROOT_SERVERS].concat()
    }

    /// A response has our question's ID and the bit QR; what it says does not matter.
    fn judge_response(&self, message: &[u8]) -> Verdict {
        match message {
            [high, low, flags, ..]
                if message.len() >= DNS_HEADER
                    && u16::from_be_bytes([*high, *low]) == self.id
                    && flags & 0x80 != 0 =>
            {
                Verdict::Right
            }
            _ => Verdict::Wrong,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Incomplete, Right, Wrong};

    fn speech(greeting: Greeting, protocol: Protocol) -> Speech<'static> {
        Speech {
            greeting,
            protocol,
            nonce: b"nonce",
            id: 0xBEEF,
        }
    }

    #[test]
    fn an_echo_gives_exactly_the_nonce() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let speech = speech(Greeting::Echo, protocol);
            assert_eq!(speech.words(), b"nonce");
            for (heard, verdict) in [
                (&b""[..], Incomplete),
                (b"non", Incomplete),
                (b"nonce", Right),
                (b"nonce ", Wrong),
                (b"x", Wrong),
            ] {
                assert_eq!(speech.judge(heard), verdict, "{heard:?}");
            }
        }
    }

    #[test]
    fn a_dns_response_carries_the_id_and_says_that_it_is_one() {
        let udp = speech(Greeting::Dns, Protocol::Udp);
        let question = udp.words();
        assert_eq!(
            question,
            [0xBE, 0xEF, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1]
        );
        assert_eq!(udp.judge(&question), Wrong, "an echo is no name server");
        let mut response = question;
        response[2] |= 0x80;
        assert_eq!(udp.judge(&response), Right);
        assert_eq!(udp.judge(&response[..DNS_HEADER - 1]), Wrong);

        let tcp = speech(Greeting::Dns, Protocol::Tcp);
        let question = tcp.words();
        assert_eq!(question[..4], [0, 17, 0xBE, 0xEF]);
        let framed = [&[0, 17], &*response].concat();
        for length in 0..framed.len() {
            assert_eq!(tcp.judge(&framed[..length]), Incomplete, "{length}");
        }
        assert_eq!(tcp.judge(&framed), Right);
        assert_eq!(tcp.judge(&question), Wrong);
        assert_eq!(tcp.judge(&[0, 3]), Wrong, "too short to be a message");

        response[0] ^= 1;
        assert_eq!(udp.judge(&response), Wrong, "another question's answer");
    }

    #[test]
    fn postgres_answers_with_one_letter() {
        let speech = speech(Greeting::Postgres, Protocol::Tcp);
        assert_eq!(speech.words()[4..], 80_877_103_u32.to_be_bytes());
        for (heard, verdict) in [
            (&b""[..], Incomplete),
            (b"S", Right),
            (b"N", Right),
            (b"E", Wrong),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Wrong),
        ] {
            assert_eq!(speech.judge(heard), verdict, "{heard:?}");
        }
    }

    #[test]
    fn nothing_is_said_over_tcp_and_one_byte_over_udp() {
        assert_eq!(speech(Greeting::Nothing, Protocol::Tcp).words(), b"");
        assert_eq!(speech(Greeting::Nothing, Protocol::Udp).words(), [0]);
        assert_eq!(speech(Greeting::Nothing, Protocol::Udp).judge(b"?"), Right);
    }
}
