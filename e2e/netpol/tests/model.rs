//! Parsing of properties that the manifests in `worlds/` do not have.
#![allow(clippy::unwrap_used, reason = "a helper of a test may panic")]

use std::net::Ipv4Addr;

use dryrun_netpol::{Pod, Policy};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};

fn pod(status: Value) -> core::Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "a"},
        "spec": {"nodeName": "n1", "containers": [{"name": "c"}]},
        "status": status,
    }))
    .unwrap()
}

#[test]
fn the_sandbox_address_overrides_the_status() {
    let sandbox = Ipv4Addr::new(10, 244, 1, 8);
    for status in [
        json!({}),
        json!({"podIP": "10.244.1.7"}),
        json!({"podIP": "10.244.1.8"}),
    ] {
        assert_eq!(
            Pod::read(&pod(status), Some(sandbox)).unwrap().address,
            sandbox
        );
    }
    let ended = pod(json!({"phase": "Failed", "podIP": "10.244.1.7"}));
    assert!(Pod::read(&ended, Some(sandbox)).is_none());
}

#[test]
fn an_unreadable_policy_isolates_its_namespace() {
    let unreadable = [
        json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Like", "values": ["b"]}]}}),
        json!({"podSelector": {}, "ingress": [{"ports": [{"protocol": "QUIC"}]}]}),
        json!({"podSelector": {}, "ingress": [{"ports": [{"port": 70000}]}]}),
        json!({"podSelector": {}, "ingress": [{"ports": [{"port": 1, "endPort": -1}]}]}),
        json!({"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/33"}}]}]}),
        json!({"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["ten"]}}]}]}),
        Value::Null,
    ];
    for spec in unreadable {
        let policy = json!({"metadata": {"name": "p", "namespace": "a"}, "spec": spec});
        let policy: NetworkPolicy = serde_json::from_value(policy).unwrap();
        assert!(Policy::try_from(&policy).is_err(), "{policy:?}");
        let stand_in = Policy::isolating(&policy);
        assert!(stand_in.namespace == "a" && stand_in.subjects.selects_all());
        assert!(stand_in.ingress.is_some_and(|rules| rules.is_empty()));
        assert!(stand_in.egress.is_some_and(|rules| rules.is_empty()));
    }
}
