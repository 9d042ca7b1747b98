//! The run's NetworkPolicies: only allowances, on top of the namespace's static deny-all.

use dryrun_core::run::id::{ROLE_LABEL, RUN_LABEL};
use dryrun_core::run::object::Object;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;

use super::Plan;
use super::pods::POSTGRES_PORT;

/// One of the run's policies.
pub(crate) fn policy(plan: &Plan<'_>, object: Object) -> NetworkPolicy {
    let spec = match object {
        Object::ProductionEgress => egress(
            plan,
            &[Object::DumpPod, Object::IdentityPod],
            vec![production(plan)],
            plan.spec.source.port,
        ),
        Object::CopyEgress => egress(
            plan,
            &[Object::RestorePod, Object::HarnessPod],
            vec![pods(plan, &[Object::PostgresPod])],
            POSTGRES_PORT,
        ),
        _ => NetworkPolicySpec {
            pod_selector: Some(selector(plan, &[Object::PostgresPod])),
            policy_types: Some(vec!["Ingress".into()]),
            ingress: Some(vec![NetworkPolicyIngressRule {
                from: Some(vec![pods(plan, &[Object::RestorePod, Object::HarnessPod])]),
                ports: Some(vec![tcp(POSTGRES_PORT)]),
            }]),
            egress: None,
        },
    };
    NetworkPolicy {
        metadata: plan.metadata(object),
        spec: Some(spec),
    }
}

fn egress(
    plan: &Plan<'_>,
    from: &[Object],
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
fn selector(plan: &Plan<'_>, objects: &[Object]) -> LabelSelector {
    LabelSelector {
        match_labels: Some(BTreeMap::from([(
            RUN_LABEL.to_owned(),
            plan.uid.to_owned(),
        )])),
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: ROLE_LABEL.into(),
            operator: "In".into(),
            values: Some(objects.iter().map(|o| o.role().to_owned()).collect()),
        }]),
    }
}

fn pods(plan: &Plan<'_>, objects: &[Object]) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        pod_selector: Some(selector(plan, objects)),
        ..NetworkPolicyPeer::default()
    }
}

/// Where production's packets end.
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
