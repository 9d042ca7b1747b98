//! From a node's rules to nftables text.

use std::fmt::{self, Display, Formatter};
use std::net::Ipv4Addr;

use ipnet::Ipv4Subnets;

use crate::model::Protocol;
use crate::ranges::Ranges;
use crate::table::{Allowance, Match, Peers, Table};

/// The two alternating nftables tables: the next one is loaded beside the one in force, which is
/// then removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// `netpol_a`.
    A,
    /// `netpol_b`.
    B,
}

impl Turn {
    /// Both.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// The next one.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Removes the table. It is declared first, because deleting one that does not exist is an
    /// error.
    pub fn removal(self) -> String {
        format!("table ip {self}\ndelete table ip {self}\n")
    }
}

impl Display for Turn {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "netpol_a",
            Self::B => "netpol_b",
        })
    }
}

/// Maximum length of a comment in nftables, in bytes.
const COMMENT_LIMIT: usize = 128;

/// The text that creates the table of `turn` from any earlier state.
///
/// - A match in a pod's chain returns, so that the other end's chain is evaluated too; only the end
///   of a chain refuses.
/// - The hooks come after the translation of Service addresses. `forward` sees traffic between a
///   pod and anything except its node; `input` sees traffic from a pod to its node. Traffic from
///   the node (`output`) is not filtered.
/// - A packet without connection tracking state is dropped, and its sender retransmits: it would
///   not be translated, so that a connection through a Service would be refused and thereby reset
///   (kubernetes/kubernetes issue 74839).
/// - Refused TCP is answered with a reset: the kernel limits the rate of ICMP errors, and a client
///   would then wait for its timeout.
/// - Traffic of pod network addresses without a known pod is dropped, because their policies are
///   unknown.
pub fn render(table: &Table, turn: Turn) -> String {
    let mut sets = Sets::default();
    let mut chains = String::new();
    let (mut ingress, mut egress) = (Vec::new(), Vec::new());
    for (&address, rules) in &table.pods {
        let directions = [
            (Direction::Ingress, &rules.ingress, &mut ingress),
            (Direction::Egress, &rules.egress, &mut egress),
        ];
        for (direction, allowances, isolated) in directions {
            if let Some(allowances) = allowances {
                let name = format!("{direction}_{address}");
                isolated.push(format!("{address} : jump {name}"));
                chains.push_str(&chain(
                    &name, &rules.pod, address, direction, allowances, &mut sets,
                ));
            }
        }
    }
    let known: Vec<_> = table.pods.keys().map(ToString::to_string).collect();
    let (known, ingress, egress) = (elements(&known), elements(&ingress), elements(&egress));
    let (cidr, removal) = (table.pod_cidr, turn.removal());
    format!(
        "\
{removal}table ip {turn} {{
	set known_pods {{
		type ipv4_addr{known}
	}}
	map ingress_pods {{
		type ipv4_addr : verdict{ingress}
	}}
	map egress_pods {{
		type ipv4_addr : verdict{egress}
	}}
{sets}	chain refuse {{
		meta l4proto tcp counter reject with tcp reset
		counter reject
	}}
{chains}	chain forward {{
		type filter hook forward priority filter; policy accept;
		ct state invalid drop
		ct direction reply accept
		ct state related accept
		ip saddr {cidr} ip saddr != @known_pods counter drop
		ip daddr {cidr} ip daddr != @known_pods counter drop
		ip saddr vmap @egress_pods
		ip daddr vmap @ingress_pods
	}}
	chain input {{
		type filter hook input priority filter; policy accept;
		ct state invalid drop
		ct direction reply accept
		ct state related accept
		ip saddr {cidr} ip saddr != @known_pods counter drop
		ip saddr vmap @egress_pods
	}}
}}
"
    )
}

/// Direction of a packet, relative to the pod that owns the chain.
#[derive(Clone, Copy)]
enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    /// The header field with the other end's address.
    fn peer(self) -> &'static str {
        match self {
            Self::Ingress => "ip saddr",
            Self::Egress => "ip daddr",
        }
    }
}

impl Display for Direction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

impl Display for Protocol {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

fn chain(
    name: &str,
    pod: &str,
    address: Ipv4Addr,
    direction: Direction,
    allowances: &[Allowance],
    sets: &mut Sets,
) -> String {
    let mut text = format!(
        "\tchain {name} {{\n\t\tcomment \"{}\"\n\t\t{} {address} return comment \"self\"\n",
        comment(pod),
        direction.peer()
    );
    for allowance in allowances {
        if let Some(packets) = packets(&allowance.packets, direction, sets) {
            text.push_str(&format!(
                "\t\t{packets}return comment \"{}\"\n",
                comment(&allowance.policy)
            ));
        }
    }
    text.push_str("\t\tgoto refuse\n\t}\n");
    text
}

/// The matching part of a rule; `None` if no packet can match.
fn packets(packets: &Match, direction: Direction, sets: &mut Sets) -> Option<String> {
    match packets {
        Match::All(peers) => self::peers(peers, direction, sets),
        Match::Ports(peers, protocol, ports) => {
            let peers = self::peers(peers, direction, sets)?;
            let mut numbers = ports.iter().map(|range| match range.into_inner() {
                (first, last) if first == last => first.to_string(),
                (first, last) => format!("{first}-{last}"),
            });
            Some(match (numbers.len(), numbers.next()?) {
                (1, all) if all == "0-65535" => format!("{peers}meta l4proto {protocol} "),
                (1, range) => format!("{peers}{protocol} dport {range} "),
                (_, first) => format!(
                    "{peers}{protocol} dport {{ {first}, {} }} ",
                    numbers.collect::<Vec<_>>().join(", ")
                ),
            })
        }
        Match::Receivers(protocol, receivers) => {
            let receivers: Vec<_> = receivers
                .iter()
                .map(|(address, port)| format!("{address} . {port}"))
                .collect();
            let receivers = sets.reference("ipv4_addr . inet_service", &receivers)?;
            Some(format!("ip daddr . {protocol} dport {receivers} "))
        }
    }
}

/// The part of a rule that matches the other end's address.
fn peers(peers: &Peers, direction: Direction, sets: &mut Sets) -> Option<String> {
    match peers {
        Peers::Any => Some(String::new()),
        Peers::Only(addresses) => {
            let addresses = sets.reference("ipv4_addr; flags interval", &spans(addresses))?;
            Some(format!("{} {addresses} ", direction.peer()))
        }
    }
}

/// Addresses in nftables syntax: single ones, networks where possible, ranges.
fn spans(addresses: &Ranges) -> Vec<String> {
    let span = |start: Ipv4Addr, end: Ipv4Addr| {
        let mut networks = Ipv4Subnets::new(start, end, 0);
        match (networks.next(), networks.next()) {
            (Some(network), None) if network.prefix_len() < 32 => network.to_string(),
            (Some(_), None) => start.to_string(),
            _ => format!("{start}-{end}"),
        }
    };
    addresses
        .iter()
        .map(|range| span((*range.start()).into(), (*range.end()).into()))
        .collect()
}

/// The named sets of a table. Rules with equal peers share one, so the text grows with the sum of
/// pods and peers, not with their product.
#[derive(Default)]
struct Sets(Vec<String>);

impl Sets {
    /// A rule's reference to these elements: a single one inline, several by their set; `None` if
    /// there is none.
    fn reference(&mut self, kind: &str, members: &[String]) -> Option<String> {
        let [first, rest @ ..] = members else {
            return None;
        };
        if rest.is_empty() {
            return Some(if first.contains(" . ") {
                format!("{{ {first} }}")
            } else {
                first.clone()
            });
        }
        let body = format!("\t\ttype {kind}{}\n", elements(members));
        let index = self
            .0
            .iter()
            .position(|known| *known == body)
            .unwrap_or_else(|| {
                self.0.push(body);
                self.0.len() - 1
            });
        Some(format!("@peers_{index}"))
    }
}

impl Display for Sets {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, body) in self.0.iter().enumerate() {
            write!(f, "\tset peers_{index} {{\n{body}\t}}\n")?;
        }
        Ok(())
    }
}

/// The elements of a set or map, one per line; empty without any, since nftables refuses an empty
/// list.
fn elements(members: &[String]) -> String {
    match members {
        [] => String::new(),
        members => format!(
            "\n\t\telements = {{\n\t\t\t{},\n\t\t}}",
            members.join(",\n\t\t\t")
        ),
    }
}

/// Shortens a comment: names of Kubernetes objects are ASCII without quotes, but two of them can
/// exceed the limit.
fn comment(text: &str) -> &str {
    text.get(..COMMENT_LIMIT).unwrap_or(text)
}
