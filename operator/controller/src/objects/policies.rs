//! The run's NetworkPolicies: only allowances, on top of the namespace's static deny-all.

use dryrun_core::run::id::{ROLE_LABEL, RUN_LABEL};
use dryrun_core::run::layout::POSTGRES_PORT;
use dryrun_core::run::object::{RunPod, RunPolicy};
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;

use super::Plan;

/// One of the run's policies.
pub(crate) fn policy(plan: &Plan<'_>, policy: RunPolicy) -> NetworkPolicy {
    let spec = match policy {
        RunPolicy::ProductionEgress => egress(
            plan,
            &[RunPod::Dump, RunPod::Identity],
            vec![production(plan)],
            plan.spec.source.port,
        ),
        RunPolicy::CopyEgress => egress(
            plan,
            &[RunPod::Restore, RunPod::Harness],
            vec![pods(plan, &[RunPod::Postgres])],
            POSTGRES_PORT,
        ),
        RunPolicy::CopyIngress => NetworkPolicySpec {
            pod_selector: Some(selector(plan, &[RunPod::Postgres])),
            policy_types: Some(vec!["Ingress".into()]),
            ingress: Some(vec![NetworkPolicyIngressRule {
                from: Some(vec![pods(plan, &[RunPod::Restore, RunPod::Harness])]),
                ports: Some(vec![tcp(POSTGRES_PORT)]),
            }]),
            egress: None,
        },
    };
    NetworkPolicy {
        metadata: plan.metadata(policy),
        spec: Some(spec),
    }
}

fn egress(
    plan: &Plan<'_>,
    from: &[RunPod],
    to: Vec<NetworkPolicyPeer>,
    port: u16,
) -> NetworkPolicySpec {
    NetworkPolicySpec {
        pod_selector: Some(selector(plan, from)),
        policy_types: Some(vec!["Egress".into()]),
        egress: Some(vec![NetworkPolicyEgressRule {
            to: Some(to),
            ports: Some(vec![tcp(port)]),
        }]),
        ingress: None,
    }
}

fn tcp(port: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(port.into())),
        protocol: Some("TCP".into()),
        end_port: None,
    }
}

/// These pods of this run.
fn selector(plan: &Plan<'_>, objects: &[RunPod]) -> LabelSelector {
    LabelSelector {
        match_labels: Some(BTreeMap::from([(
            RUN_LABEL.to_owned(),
            plan.run.uid.clone(),
        )])),
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: ROLE_LABEL.into(),
            operator: "In".into(),
            values: Some(objects.iter().map(|o| o.role().to_owned()).collect()),
        }]),
    }
}

fn pods(plan: &Plan<'_>, objects: &[RunPod]) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        pod_selector: Some(selector(plan, objects)),
        ..NetworkPolicyPeer::default()
    }
}

/// Returns the peer that is the destination of production's packets.
fn production(plan: &Plan<'_>) -> NetworkPolicyPeer {
    let network = &plan.spec.source.network;
    if let Some(cidr) = &network.cidr {
        return NetworkPolicyPeer {
            ip_block: Some(IPBlock {
                cidr: cidr.clone(),
                except: None,
            }),
            ..NetworkPolicyPeer::default()
        };
    }
    let labels = |labels| {
        Some(LabelSelector {
            match_labels: Some(labels),
            match_expressions: None,
        })
    };
    NetworkPolicyPeer {
        namespace_selector: labels(BTreeMap::from([(
            "kubernetes.io/metadata.name".to_owned(),
            network.namespace.clone().unwrap_or_default(),
        )])),
        pod_selector: labels(network.pod_selector.clone().unwrap_or_default()),
        ip_block: None,
    }
}
