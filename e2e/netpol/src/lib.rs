//! NetworkPolicy for the local cluster.
//!
//! One agent per node (`netpol`) watches Pods, Namespaces and NetworkPolicies, and keeps one nftables table in the node's network
//! namespace equal to a pure function of them: [`World`] → [`Table`] → text. A chained CNI plugin (`netpol-cni`) holds every new pod
//! back until the rules for its address are in the kernel, so no container runs a single instruction outside its policies.
//!
//! The whole of `networking.k8s.io/v1` is covered, **for IPv4 only**: the cluster's nodes have IPv6 switched off, and an IPv6 `ipBlock`
//! matches nothing. What the API leaves to the implementation is decided so:
//!
//! - The node reaches its own pods always (the kubelet's probes); a pod reaches its node only if its egress rules say so.
//! - A pod reaches itself always, through its own Service too.
//! - Rules see a packet after a Service's address was translated: pod address and container port.
//! - Policies judge every packet of a connection's originator, so a connection that a new policy forbids is reset with its next packet.
//!   Replies are never judged.
//! - Every protocol is covered, not TCP, UDP and SCTP alone: an isolated pod cannot be pinged.
//! - `hostNetwork` pods are part of their node: no policy selects them and no pod selector names them as peer.

pub mod agent;
mod model;
mod nft;
mod ranges;
mod render;
pub mod sandbox;
mod table;

pub use model::{Labels, Peer, Pod, PodPort, Policy, PortMatch, Protocol, Rule, Unreadable, World};
pub use ranges::Ranges;
pub use render::{Turn, render};
pub use table::{Allowance, Match, Node, Peers, PodRules, Table};
