//! Compilation of a world to the rules of one node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use kube::core::SelectorExt;

use crate::model::{Peer, Pod, Policy, PortMatch, Protocol, Rule, World};
use crate::ranges::Ranges;

/// The node of a table.
#[derive(Clone, Debug)]
pub struct Node {
    /// The Node object's name.
    pub name: String,
    /// The network of its pods' addresses.
    pub pod_cidr: Ipv4Net,
}

/// The rules to be enforced by the kernel of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The network of the node's pods. Traffic of its addresses without a known pod is dropped.
    pub pod_cidr: Ipv4Net,
    /// The node's pods by address.
    pub pods: BTreeMap<Ipv4Addr, PodRules>,
}

/// The rules of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRules {
    /// "namespace/name", for comments.
    pub pod: String,
    /// Allowed ingress; `None` if no policy isolates the pod for ingress.
    pub ingress: Option<Vec<Allowance>>,
    /// Allowed egress; `None` if no policy isolates the pod for egress.
    pub egress: Option<Vec<Allowance>>,
}

/// An allowed set of packets and its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// "namespace/name" of its policy, for comments.
    pub policy: String,
    /// The packets.
    pub packets: Match,
}

/// A set of packets. Ports are those of the receiving end, peers are the other ends of the rule's
/// pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// Every packet to or from these peers.
    All(Peers),
    /// Those of one protocol and some ports.
    Ports(Peers, Protocol, Ranges),
    /// Those of one protocol to these receivers, each with its own port.
    Receivers(Protocol, BTreeSet<(Ipv4Addr, u16)>),
}

/// Addresses at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peers {
    /// All of them.
    Any,
    /// Those in the set, which may be empty.
    Only(Ranges),
}

impl Table {
    /// The rules for the pods of `node`.
    pub fn compile(node: &Node, world: &World) -> Self {
        let local = world.pods.values().filter(|pod| pod.node == node.name);
        let pods = local.map(|pod| {
            let policies = || {
                world.policies.iter().filter(|policy| {
                    policy.namespace == pod.namespace && policy.subjects.matches(&pod.labels)
                })
            };
            let rules = PodRules {
                pod: format!("{}/{}", pod.namespace, pod.name),
                ingress: allowances(
                    policies(),
                    |policy| policy.ingress.as_deref(),
                    |policy, rule| world.ingress(policy, rule, pod),
                ),
                egress: allowances(
                    policies(),
                    |policy| policy.egress.as_deref(),
                    |policy, rule| world.egress(policy, rule),
                ),
            };
            (pod.address, rules)
        });
        Self {
            pod_cidr: node.pod_cidr,
            pods: pods.collect(),
        }
    }
}

/// The sum of the policies' allowances in one direction; `None` if none of them covers it.
fn allowances<'a>(
    policies: impl Iterator<Item = &'a Policy>,
    direction: impl Fn(&'a Policy) -> Option<&'a [Rule]>,
    matches: impl Fn(&Policy, &Rule) -> Vec<Match>,
) -> Option<Vec<Allowance>> {
    let mut isolated = None;
    for policy in policies {
        let Some(rules) = direction(policy) else {
            continue;
        };
        let allowances = isolated.get_or_insert_with(Vec::new);
        for packets in rules.iter().flat_map(|rule| matches(policy, rule)) {
            allowances.push(Allowance {
                policy: format!("{}/{}", policy.namespace, policy.name),
                packets,
            });
        }
    }
    isolated
}

impl World {
    /// The traffic that `rule` allows into `receiver`.
    fn ingress(&self, policy: &Policy, rule: &Rule, receiver: &Pod) -> Vec<Match> {
        let peers = self.peers(policy, rule);
        if rule.ports.is_empty() {
            return vec![Match::All(peers)];
        }
        let mut numbers = BTreeMap::<_, Vec<_>>::new();
        for port in &rule.ports {
            match port {
                PortMatch::Numbers(protocol, range) => {
                    numbers.entry(*protocol).or_default().push(range.clone())
                }
                PortMatch::Named(protocol, name) => {
                    for number in receiver.numbers(*protocol, name) {
                        numbers.entry(*protocol).or_default().push(number..=number);
                    }
                }
            }
        }
        numbers
            .into_iter()
            .map(|(protocol, ranges)| {
                Match::Ports(peers.clone(), protocol, ranges.into_iter().collect())
            })
            .collect()
    }

    /// The traffic that `rule` allows out of each of the policy's subjects.
    fn egress(&self, policy: &Policy, rule: &Rule) -> Vec<Match> {
        let peers = self.peers(policy, rule);
        if rule.ports.is_empty() {
            return vec![Match::All(peers)];
        }
        let mut numbers = BTreeMap::<_, Vec<_>>::new();
        let mut receivers = BTreeMap::<_, BTreeSet<_>>::new();
        for port in &rule.ports {
            match port {
                PortMatch::Numbers(protocol, range) => {
                    numbers.entry(*protocol).or_default().push(range.clone())
                }
                // A name refers to the receiving pod's own port, however the pod was selected as a
                // peer.
                PortMatch::Named(protocol, name) => {
                    for pod in self.pods.values().filter(|pod| peers.contain(pod.address)) {
                        for number in pod.numbers(*protocol, name) {
                            receivers
                                .entry(*protocol)
                                .or_default()
                                .insert((pod.address, number));
                        }
                    }
                }
            }
        }
        let numbers = numbers.into_iter().map(|(protocol, ranges)| {
            Match::Ports(peers.clone(), protocol, ranges.into_iter().collect())
        });
        let receivers = receivers
            .into_iter()
            .map(|(protocol, receivers)| Match::Receivers(protocol, receivers));
        numbers.chain(receivers).collect()
    }

    /// The current addresses of a rule's peers.
    fn peers(&self, policy: &Policy, rule: &Rule) -> Peers {
        if rule.peers.is_empty() {
            return Peers::Any;
        }
        let ranges = rule.peers.iter().map(|peer| match peer {
            Peer::Block(addresses) => addresses.clone(),
            Peer::Pods { namespaces, pods } => {
                let in_namespace = |pod: &Pod| match namespaces {
                    None => pod.namespace == policy.namespace,
                    // The labels of an unknown namespace are unknown: it matches no selector, not
                    // even a negative one.
                    Some(namespaces) => self
                        .namespaces
                        .get(&pod.namespace)
                        .is_some_and(|labels| namespaces.matches(labels)),
                };
                let matching = self
                    .pods
                    .values()
                    .filter(|pod| in_namespace(pod) && pods.matches(&pod.labels));
                Ranges::addresses(matching.map(|pod| pod.address))
            }
        });
        let ranges: Vec<_> = ranges.collect();
        Peers::Only(ranges.iter().flat_map(Ranges::iter).collect())
    }
}

impl Peers {
    /// Returns whether they contain `address`.
    pub fn contain(&self, address: Ipv4Addr) -> bool {
        match self {
            Self::Any => true,
            Self::Only(addresses) => addresses.contains(address.into()),
        }
    }
}
