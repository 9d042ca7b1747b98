//! Random worlds, and packets that distinguish them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use dryrun_netpol::Protocol;
use k8s_openapi::api::core::v1::{Container, ContainerPort, Namespace, Pod, PodSpec, PodStatus};
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, LabelSelectorRequirement, ObjectMeta,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::Packet;
use crate::support::Objects;

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

/// A protocol in the API's spelling.
pub fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    }
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

/// A policy of one of the two namespaces.
pub fn policy(index: usize) -> impl Strategy<Value = NetworkPolicy> {
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

/// Two namespaces, five pods on two nodes, up to four policies.
pub fn objects() -> impl Strategy<Value = Objects> {
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

/// Packets between all pods and addresses outside, to ports of rules and others.
pub fn packets() -> impl Iterator<Item = Packet> {
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
