//! The run's pods.
//!
//! All are restricted (Pod Security Standards), have no API token, no DNS and a deadline of their
//! own, so that a dead operator cannot leave production's data running for ever. The agent gets in
//! by an init container of the operator's image, so that official images work as they are.

mod database;
mod harness;
mod parts;
mod prober;
mod seal;
mod volumes;

use dryrun_core::run::container::Container;
use dryrun_core::run::object::RunPod;
use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod,
    PreferredSchedulingTerm,
};
use std::time::Duration;

use super::Plan;

/// Group of every pod of a run: what they share on volumes and in Secrets.
const RUN_GROUP: i64 = 64_000;
/// User of containers that run the operator's image.
const AGENT_USER: i64 = 64_001;
/// User of the observer: what it sees can be changed neither by the harness nor by what the other
/// agents do.
const OBSERVER_USER: i64 = 64_002;
/// Time that a pod's deadline has beyond the run's, so that teardown is not cut short.
const DEADLINE_MARGIN: Duration = Duration::from_secs(600);

/// One of the run's pods.
pub(crate) fn pod(plan: &Plan<'_>, pod: RunPod) -> Pod {
    let mut spec = match pod {
        RunPod::Dump => database::dump(plan),
        RunPod::Postgres => database::postgres(plan),
        RunPod::Restore => database::restore(plan),
        RunPod::Harness => harness::pod(plan),
        RunPod::Seal => seal::pod(plan),
        RunPod::Identity => database::identity(plan),
        RunPod::Intruder => prober::pod(plan, Container::Intruder),
        RunPod::Canary => prober::pod(plan, Container::Canary),
        RunPod::Listener => prober::pod(plan, Container::Listener),
    };
    spec.affinity = affinity(plan, pod);
    Pod {
        metadata: plan.metadata(pod),
        spec: Some(spec),
        ..Pod::default()
    }
}

/// Later pods run where the dump pod ran: there the volumes are. By affinity, since `nodeName`
/// would skip the scheduler. The listener had better run somewhere else, so that it also sees the
/// copy from another node.
fn affinity(plan: &Plan<'_>, pod: RunPod) -> Option<Affinity> {
    let node = Some(&plan.facts.node).filter(|node| !node.is_empty())?;
    let is = |operator: &str| NodeSelectorTerm {
        match_fields: Some(vec![NodeSelectorRequirement {
            key: "metadata.name".into(),
            operator: operator.into(),
            values: Some(vec![node.clone()]),
        }]),
        match_expressions: None,
    };
    let node_affinity = if pod == RunPod::Listener {
        NodeAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![
                PreferredSchedulingTerm {
                    preference: is("NotIn"),
                    weight: 100,
                },
            ]),
            ..NodeAffinity::default()
        }
    } else {
        NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(NodeSelector {
                node_selector_terms: vec![is("In")],
            }),
            ..NodeAffinity::default()
        }
    };
    Some(Affinity {
        node_affinity: Some(node_affinity),
        ..Affinity::default()
    })
}
