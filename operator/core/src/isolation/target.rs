//! Targets that agents try to reach, and results of the attempts.
//!
//! A probe has three outcomes: Connected, blocked (silent or refused), or failed by itself. A
//! failed probe says nothing, so it never counts as blocked.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api::TargetClass;

/// A transport protocol. Others than these two are undefined for NetworkPolicy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    #[serde(rename = "TCP")]
    Tcp,
    /// UDP.
    #[serde(rename = "UDP")]
    Udp,
}

impl Protocol {
    /// The word in facts and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// Bytes sent to a target, so that it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Greeting {
    /// Nothing: a TCP connection that is accepted is the answer. Over UDP one byte is sent, and any
    /// datagram is the answer.
    Nothing,
    /// The probe's nonce, which an echo sends back.
    Echo,
    /// A question for the root's name servers (RFC 1035).
    Dns,
    /// An SSLRequest (postgres manual, Message Formats): a server answers `S` or `N` before any
    /// authentication.
    Postgres,
}

/// A target that a pod tries to reach.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The target's class.
    pub class: TargetClass,
    /// IP address.
    pub address: String,
    /// Port.
    pub port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Bytes that are sent to it.
    pub greeting: Greeting,
    /// It lives at an address of the prober's own node.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_own_node: bool,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if takes a reference"
)]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Attempts at one target, by what came of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tally {
    /// Attempts that have ended.
    pub attempts: u64,
    /// TCP: the connection was accepted. UDP: something was answered. One is enough to break
    /// isolation.
    pub connected: u64,
    /// Of the connected: the answer was that which the greeting asks for.
    #[serde(skip_serializing_if = "is_zero")]
    pub answered: u64,
    /// A reset, or an ICMP or local error that says unreachable or prohibited.
    #[serde(skip_serializing_if = "is_zero")]
    pub refused: u64,
    /// Nothing came within the time limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub silent: u64,
    /// The probe itself failed, for example because no socket was free: it says nothing.
    #[serde(skip_serializing_if = "is_zero")]
    pub failed: u64,
    /// Time at which the first attempt began.
    pub first: Option<Timestamp>,
    /// Time at which the last attempt ended.
    pub last: Option<Timestamp>,
}

impl Tally {
    /// Adds another one's attempts.
    pub fn add(&mut self, other: &Self) {
        self.attempts += other.attempts;
        self.connected += other.connected;
        self.answered += other.answered;
        self.refused += other.refused;
        self.silent += other.silent;
        self.failed += other.failed;
        self.first = [self.first, other.first].into_iter().flatten().min();
        self.last = self.last.max(other.last);
    }
}
