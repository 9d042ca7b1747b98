//! Comparison of the table with an independent implementation of the API's documentation, packet by
//! packet, in random worlds.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of a test may panic"
)]

mod documentation;
mod random;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use documentation::allowed;
use dryrun_netpol::{Allowance, Match, PodRules, Protocol, Table, Turn, render};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use proptest::prelude::*;
use random::{objects, packets, policy};
use support::Objects;

/// The first packet of a connection.
#[derive(Clone, Copy, Debug)]
struct Packet {
    from: Ipv4Addr,
    to: Ipv4Addr,
    protocol: Protocol,
    port: u16,
}

/// The rules of all pods, from the tables of both nodes.
fn rules(objects: &Objects) -> BTreeMap<Ipv4Addr, PodRules> {
    let world = objects.world();
    ["n1", "n2"]
        .into_iter()
        .flat_map(|name| Table::compile(&support::node(name), &world).pods)
        .collect()
}

/// Returns whether the rules of both ends allow a packet, as the kernel evaluates them.
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

proptest! {
    #[test]
    fn tables_match_the_documentation(objects in objects()) {
        let rules = rules(&objects);
        for packet in packets() {
            prop_assert_eq!(passes(&rules, packet), allowed(&objects, packet), "{:?}", packet);
        }
    }

    /// An additional policy removes nothing from a pod that is already isolated in its directions.
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
    // Each case starts a process.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn nftables_accepts_rendered_tables(objects in objects()) {
        support::load(&render(&Table::compile(&support::node("n1"), &objects.world()), Turn::A));
    }
}
