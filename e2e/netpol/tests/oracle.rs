//! The table against a second reading of the API's documentation, packet by packet, in random worlds.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of a test may panic"
)]

mod support;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use dryrun_netpol::{Allowance, Match, PodRules, Protocol, Table, render};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Container, ContainerPort, Namespace, Pod, PodSpec, PodStatus};
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, LabelSelectorRequirement, ObjectMeta,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use support::Objects;

/// The first packet of a connection.
#[derive(Clone, Copy, Debug)]
struct Packet {
    from: Ipv4Addr,
    to: Ipv4Addr,
    protocol: Protocol,
    port: u16,
}

// ---- what the documentation says ------------------------------------------------------------------------------------------------------

/// Whether the policies let a packet through, by the letter of the API's documentation.
fn allowed(objects: &Objects, packet: Packet) -> bool {
    let pod = |address: Ipv4Addr| {
        objects
            .pods
            .iter()
            .find(|pod| self::address(pod) == address)
    };
    let covers = |policy: &&NetworkPolicy, direction: &str| {
        spec(policy)
            .policy_types
            .iter()
            .flatten()
            .any(|listed| listed == direction)
    };
    let selecting = |pod: &Pod| {
        let (namespace, labels) = (pod.namespace(), pod.labels().clone());
        let selects = move |policy: &&NetworkPolicy| {
            policy.namespace() == namespace && selects(spec(policy).pod_selector.as_ref(), &labels)
        };
        objects.policies.iter().filter(selects)
    };
    let egress = pod(packet.from).is_none_or(|pod| {
        let mut policies = selecting(pod)
            .filter(|policy| covers(policy, "Egress"))
            .peekable();
        policies.peek().is_none()
            || policies.any(|policy| {
                spec(policy).egress.iter().flatten().any(|rule| {
                    any_or_none(rule.to.as_deref(), |peer| {
                        is_peer(objects, policy, peer, packet.to)
                    }) && any_or_none(rule.ports.as_deref(), |port| is_port(objects, port, packet))
                })
            })
    });
    let ingress = pod(packet.to).is_none_or(|pod| {
        let mut policies = selecting(pod)
            .filter(|policy| covers(policy, "Ingress"))
            .peekable();
        policies.peek().is_none()
            || policies.any(|policy| {
                spec(policy).ingress.iter().flatten().any(|rule| {
                    any_or_none(rule.from.as_deref(), |peer| {
                        is_peer(objects, policy, peer, packet.from)
                    }) && any_or_none(rule.ports.as_deref(), |port| is_port(objects, port, packet))
                })
            })
    });
    packet.from == packet.to || (egress && ingress)
}

fn any_or_none<T>(list: Option<&[T]>, matches: impl Fn(&T) -> bool) -> bool {
    list.is_none_or(|list| list.is_empty() || list.iter().any(matches))
}

fn selects(selector: Option<&LabelSelector>, labels: &BTreeMap<String, String>) -> bool {
    let Some(selector) = selector else {
        return true;
    };
    let equal = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value));
    let expressions = selector
        .match_expressions
        .iter()
        .flatten()
        .all(|expression| {
            let listed = |value: &String| {
                expression
                    .values
                    .iter()
                    .flatten()
                    .any(|listed| listed == value)
            };
            match (expression.operator.as_str(), labels.get(&expression.key)) {
                ("In", value) => value.is_some_and(listed),
                ("NotIn", value) => !value.is_some_and(listed),
                ("Exists", value) => value.is_some(),
                ("DoesNotExist", value) => value.is_none(),
                other => panic!("{other:?}"),
            }
        });
    equal && expressions
}

fn is_peer(
    objects: &Objects,
    policy: &NetworkPolicy,
    peer: &NetworkPolicyPeer,
    address: Ipv4Addr,
) -> bool {
    if let Some(block) = &peer.ip_block {
        let within = |block: &String| {
            block
                .parse::<IpNet>()
                .unwrap()
                .contains(&IpAddr::from(address))
        };
        return within(&block.cidr) && !block.except.iter().flatten().any(within);
    }
    objects
        .pods
        .iter()
        .filter(|pod| self::address(pod) == address)
        .any(|pod| {
            let namespace = objects
                .namespaces
                .iter()
                .find(|namespace| Some(namespace.name_any()) == pod.namespace())
                .unwrap();
            let in_namespace = match &peer.namespace_selector {
                None => pod.namespace() == policy.namespace(),
                selector => selects(selector.as_ref(), namespace.labels()),
            };
            in_namespace && selects(peer.pod_selector.as_ref(), pod.labels())
        })
}

fn is_port(objects: &Objects, port: &NetworkPolicyPort, packet: Packet) -> bool {
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let number = i32::from(packet.port);
    name(packet.protocol) == protocol
        && match &port.port {
            None => true,
            Some(IntOrString::Int(first)) => {
                (*first..=port.end_port.unwrap_or(*first)).contains(&number)
            }
            Some(IntOrString::String(port)) => objects
                .pods
                .iter()
                .filter(|pod| address(pod) == packet.to)
                .any(|pod| {
                    let mut ports = pod
                        .spec
                        .iter()
                        .flat_map(|spec| &spec.containers)
                        .flat_map(|container| container.ports.iter().flatten());
                    ports.any(|candidate| {
                        candidate.name.as_ref() == Some(port)
                            && candidate.protocol.as_deref() == Some(protocol)
                            && candidate.container_port == number
                    })
                }),
        }
}

// ---- what the tables say --------------------------------------------------------------------------------------------------------------

/// The rules of all pods, from the tables of both nodes.
fn rules(objects: &Objects) -> BTreeMap<Ipv4Addr, PodRules> {
    let world = objects.world();
    ["n1", "n2"]
        .into_iter()
        .flat_map(|name| Table::compile(&support::node(name), &world).pods)
        .collect()
}

/// Whether the rules of both ends let a packet through, as the kernel reads them.
fn passes(pods: &BTreeMap<Ipv4Addr, PodRules>, packet: Packet) -> bool {
    let verdict = |allowances: Option<&Vec<Allowance>>, peer: Ipv4Addr| {
        allowances.is_none_or(|allowances| {
            allowances
                .iter()
                .any(|allowance| matches(&allowance.packets, peer, packet))
        })
    };
    let sender = pods
        .get(&packet.from)
        .and_then(|rules| rules.egress.as_ref());
    let receiver = pods
        .get(&packet.to)
        .and_then(|rules| rules.ingress.as_ref());
    packet.from == packet.to || (verdict(sender, packet.to) && verdict(receiver, packet.from))
}

fn matches(packets: &Match, peer: Ipv4Addr, packet: Packet) -> bool {
    match packets {
        Match::All(peers) => peers.contain(peer),
        Match::Ports(peers, protocol, ports) => {
            peers.contain(peer)
                && *protocol == packet.protocol
                && ports.contains(packet.port.into())
        }
        Match::Receivers(protocol, receivers) => {
            *protocol == packet.protocol && receivers.contains(&(packet.to, packet.port))
        }
    }
}

// ---- random worlds --------------------------------------------------------------------------------------------------------------------

const PORTS: [u16; 5] = [53, 80, 8080, 8085, 9000];
const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
const BLOCKS: [&str; 6] = [
    "0.0.0.0/0",
    "10.244.0.0/16",
    "10.244.1.0/30",
    "10.244.2.2/31",
    "192.0.2.0/24",
    "2001:db8::/32",
];

fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    }
}

fn spec(policy: &NetworkPolicy) -> &NetworkPolicySpec {
    policy.spec.as_ref().unwrap()
}

fn address(pod: &Pod) -> Ipv4Addr {
    pod.status
        .as_ref()
        .unwrap()
        .pod_ip
        .as_ref()
        .unwrap()
        .parse()
        .unwrap()
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(
        select(vec!["a".to_owned(), "b".to_owned()]),
        select(vec!["1".to_owned(), "2".to_owned()]),
        0..=2,
    )
}

fn selector() -> impl Strategy<Value = LabelSelector> {
    let values = subsequence(vec!["1".to_owned(), "2".to_owned()], 1..=2);
    let expression = (
        select(vec!["a", "b"]),
        select(vec!["In", "NotIn", "Exists", "DoesNotExist"]),
        values,
    )
        .prop_map(|(key, operator, values)| LabelSelectorRequirement {
            key: key.into(),
            operator: operator.into(),
            values: operator.ends_with("In").then_some(values),
        });
    let empty = Just(LabelSelector::default());
    prop_oneof![
        empty,
        labels().prop_map(|labels| LabelSelector {
            match_labels: Some(labels),
            match_expressions: None
        }),
        vec(expression, 1..=2).prop_map(|expressions| LabelSelector {
            match_labels: None,
            match_expressions: Some(expressions)
        }),
    ]
}

fn peer() -> impl Strategy<Value = NetworkPolicyPeer> {
    let block = (select(BLOCKS.to_vec()), subsequence(BLOCKS.to_vec(), 0..=2)).prop_map(
        |(cidr, except)| NetworkPolicyPeer {
            ip_block: Some(IPBlock {
                cidr: cidr.into(),
                except: Some(except.into_iter().map(Into::into).collect()),
            }),
            ..Default::default()
        },
    );
    let pods = (option::of(selector()), option::of(selector())).prop_map(
        |(namespace_selector, pod_selector)| NetworkPolicyPeer {
            namespace_selector,
            pod_selector,
            ip_block: None,
        },
    );
    prop_oneof![block, pods]
}

fn port() -> impl Strategy<Value = NetworkPolicyPort> {
    let number = (select(PORTS.to_vec()), option::of(0..10i32)).prop_map(|(first, more)| {
        (
            Some(IntOrString::Int(first.into())),
            more.map(|more| i32::from(first) + more),
        )
    });
    let named =
        select(vec!["web", "dns"]).prop_map(|name| (Some(IntOrString::String(name.into())), None));
    let port = prop_oneof![number, named, Just((None, None))];
    (port, option::of(select(PROTOCOLS.to_vec()))).prop_map(|((port, end_port), protocol)| {
        NetworkPolicyPort {
            port,
            end_port,
            protocol: protocol.map(|protocol| name(protocol).into()),
        }
    })
}

fn policy(index: usize) -> impl Strategy<Value = NetworkPolicy> {
    let rule = || {
        (
            option::of(vec(peer(), 0..=2)),
            option::of(vec(port(), 0..=3)),
        )
    };
    let types = subsequence(vec!["Ingress".to_owned(), "Egress".to_owned()], 1..=2);
    (
        select(vec!["x", "y"]),
        selector(),
        types,
        vec(rule(), 0..=2),
        vec(rule(), 0..=2),
    )
        .prop_map(
            move |(namespace, pod_selector, policy_types, ingress, egress)| NetworkPolicy {
                metadata: ObjectMeta {
                    name: Some(format!("p{index}")),
                    namespace: Some(namespace.into()),
                    ..Default::default()
                },
                spec: Some(NetworkPolicySpec {
                    pod_selector: Some(pod_selector),
                    policy_types: Some(policy_types),
                    ingress: Some(
                        ingress
                            .into_iter()
                            .map(|(from, ports)| NetworkPolicyIngressRule { from, ports })
                            .collect(),
                    ),
                    egress: Some(
                        egress
                            .into_iter()
                            .map(|(to, ports)| NetworkPolicyEgressRule { to, ports })
                            .collect(),
                    ),
                }),
            },
        )
}

fn pod(node: u8, host: u8) -> impl Strategy<Value = Pod> {
    let port = (
        select(vec!["web", "dns"]),
        select(PORTS.to_vec()),
        select(PROTOCOLS.to_vec()),
    )
        .prop_map(|(port, number, protocol)| ContainerPort {
            name: Some(port.into()),
            container_port: number.into(),
            protocol: Some(name(protocol).into()),
            ..Default::default()
        });
    (select(vec!["x", "y"]), labels(), vec(port, 0..=2)).prop_map(
        move |(namespace, labels, ports)| Pod {
            metadata: ObjectMeta {
                name: Some(format!("p{node}-{host}")),
                namespace: Some(namespace.into()),
                labels: Some(labels),
                ..Default::default()
            },
            spec: Some(PodSpec {
                node_name: Some(format!("n{node}")),
                containers: vec![Container {
                    ports: Some(ports),
                    ..Default::default()
                }],
                ..Default::default()
            }),
            status: Some(PodStatus {
                pod_ip: Some(format!("10.244.{node}.{host}")),
                ..Default::default()
            }),
        },
    )
}

fn objects() -> impl Strategy<Value = Objects> {
    let namespaces = (labels(), labels()).prop_map(|(x, y)| {
        [("x", x), ("y", y)].map(|(name, labels)| Namespace {
            metadata: ObjectMeta {
                name: Some(name.into()),
                labels: Some(labels),
                ..Default::default()
            },
            ..Default::default()
        })
    });
    let pods = (pod(1, 2), pod(1, 3), pod(1, 4), pod(2, 2), pod(2, 3));
    let policies = (
        vec(policy(0), 0..=1),
        vec(policy(1), 0..=1),
        vec(policy(2), 0..=1),
        vec(policy(3), 0..=1),
    );
    (namespaces, pods, policies).prop_map(|(namespaces, pods, policies)| Objects {
        namespaces: namespaces.into(),
        pods: vec![pods.0, pods.1, pods.2, pods.3, pods.4],
        policies: [policies.0, policies.1, policies.2, policies.3].concat(),
    })
}

fn packets() -> impl Iterator<Item = Packet> {
    let addresses = [
        [10, 244, 1, 2],
        [10, 244, 1, 3],
        [10, 244, 1, 4],
        [10, 244, 2, 2],
        [10, 244, 2, 3],
        [192, 0, 2, 1],
        [198, 51, 100, 1],
    ];
    let addresses = addresses.map(Ipv4Addr::from);
    addresses.into_iter().flat_map(move |from| {
        addresses.into_iter().flat_map(move |to| {
            let ports = PORTS.into_iter().chain([1, 8089, u16::MAX]);
            ports.flat_map(move |port| {
                PROTOCOLS.map(|protocol| Packet {
                    from,
                    to,
                    protocol,
                    port,
                })
            })
        })
    })
}

proptest! {
    #[test]
    fn tables_do_what_the_documentation_says(objects in objects()) {
        let rules = rules(&objects);
        for packet in packets() {
            prop_assert_eq!(passes(&rules, packet), allowed(&objects, packet), "{:?}", packet);
        }
    }

    /// A further policy takes nothing from a pod that is isolated in its directions already.
    #[test]
    fn policies_add_up(objects in objects(), more in policy(9)) {
        let isolate = NetworkPolicy {
            metadata: ObjectMeta { name: Some("isolate".into()), namespace: more.namespace(), ..Default::default() },
            spec: Some(NetworkPolicySpec {
                policy_types: Some(vec!["Ingress".into(), "Egress".into()]),
                ..Default::default()
            }),
        };
        let mut objects = objects;
        objects.policies.push(isolate);
        let before = rules(&objects);
        objects.policies.push(more);
        let after = rules(&objects);
        for packet in packets() {
            prop_assert!(!passes(&before, packet) || passes(&after, packet), "{:?}", packet);
        }
    }
}

proptest! {
    // Each case is a process.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn nftables_takes_what_is_rendered(objects in objects()) {
        support::load(&render(&Table::compile(&support::node("n1"), &objects.world())));
    }
}
