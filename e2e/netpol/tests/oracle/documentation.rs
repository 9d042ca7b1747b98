//! Evaluation of packets according to the API's documentation.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use crate::Packet;
use crate::random::name;
use crate::support::Objects;

/// Returns whether the policies allow a packet according to the API's documentation.
pub fn allowed(objects: &Objects, packet: Packet) -> bool {
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
