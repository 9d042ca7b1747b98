//! Protocol in which the CNI plugin asks the agent to admit a pod sandbox: one line each way over a
//! Unix socket.
//!
//! The request is "namespace name uid address", the reply "ok" once the rules for that address are
//! in the kernel, or the reason for a refusal.

use std::fmt::{self, Display, Formatter};
use std::io::{self, BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

/// The reply that admits a sandbox.
pub const ADMITTED: &str = "ok";

/// Deadline of the agent, after which it replies with the reason for the refusal. The kubelet then
/// retries with a new sandbox.
pub const ADMISSION_DEADLINE: Duration = Duration::from_secs(4);

/// Deadline of the plugin: long enough for the agent's reason to arrive on a busy machine.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);

/// A pod sandbox with an assigned address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's UID, which distinguishes it from another pod with its name.
    pub uid: String,
    /// The sandbox's address.
    pub address: Ipv4Addr,
}

impl Display for Sandbox {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} {}",
            self.namespace, self.name, self.uid, self.address
        )
    }
}

/// The line is not "namespace name uid address".
#[derive(Debug, thiserror::Error)]
#[error("not \"namespace name uid address\": {0:?}")]
pub struct Malformed(String);

impl FromStr for Sandbox {
    type Err = Malformed;

    fn from_str(line: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed(line.to_owned());
        let [namespace, name, uid, address] = line.split_ascii_whitespace().collect::<Vec<_>>()[..]
        else {
            return Err(malformed());
        };
        let address = address.parse().map_err(|_| malformed())?;
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            address,
        })
    }
}

/// Sends the request to the agent at `socket` and waits for its reply.
///
/// # Errors
/// If there is no agent, if it does not reply in time, or if it refuses; the last with
/// [`io::ErrorKind::Other`] and its reason.
pub fn admit(socket: &Path, sandbox: &Sandbox) -> io::Result<()> {
    let mut agent = UnixStream::connect(socket)?;
    agent.set_read_timeout(Some(ANSWER_DEADLINE))?;
    agent.set_write_timeout(Some(ANSWER_DEADLINE))?;
    agent.write_all(format!("{sandbox}\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(agent).read_line(&mut answer)?;
    match answer.trim_end() {
        ADMITTED => Ok(()),
        "" => Err(io::ErrorKind::UnexpectedEof.into()),
        reason => Err(io::Error::other(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_round_trips() {
        let sandbox = Sandbox {
            namespace: "a".into(),
            name: "b".into(),
            uid: "c".into(),
            address: Ipv4Addr::new(10, 244, 1, 8),
        };
        assert_eq!(sandbox.to_string().parse::<Sandbox>().unwrap(), sandbox);
    }

    #[test]
    fn other_lines_are_refused() {
        for line in ["", "a b c", "a b c d", "a b c 10.0.0.1 e", "a b c fe80::1"] {
            assert!(line.parse::<Sandbox>().is_err(), "{line:?}");
        }
    }
}
