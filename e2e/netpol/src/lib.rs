//! NetworkPolicy for the local cluster.
//!
//! One agent per node (`netpol`) watches Pods, Namespaces and NetworkPolicies, and keeps one
//! nftables table in the node's network namespace equal to a pure function of them: [`World`] →
//! [`Table`] → text. A chained CNI plugin (`netpol-cni`) delays every new pod until the rules for
//! its address are in the kernel, so no container executes an instruction outside its policies.
//!
//! The whole of `networking.k8s.io/v1` is covered, **for IPv4 only**: the cluster's nodes have IPv6
//! disabled, and an IPv6 `ipBlock` matches nothing. Behaviour that the API leaves to the
//! implementation:
//!
//! - The node can always reach its own pods (the kubelet's probes); a pod can reach its node only
//!   if its egress rules allow it.
//! - A pod can always reach itself, also through its own Service.
//! - Rules apply to a packet after the translation of a Service's address: pod address and
//!   container port.
//! - Policies apply to every packet of a connection's originator, so a connection that a new policy
//!   forbids is reset with its next packet. Replies are always allowed.
//! - All protocols are covered, not only TCP, UDP and SCTP: an isolated pod cannot be pinged.
//! - `hostNetwork` pods are part of their node: policies do not select them, and pod selectors do
//!   not match them as peers.

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
