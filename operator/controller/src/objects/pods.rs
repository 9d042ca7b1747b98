//! The run's pods.
//!
//! All are restricted (Pod Security Standards), have no API token, no DNS and a deadline of their own, so that a dead operator cannot leave
//! production's data running for ever. The agent gets in by an init container of the operator's image, so that official images work as they are.

mod database;
mod harness;
mod parts;
mod prober;
mod seal;
mod volumes;

use dryrun_core::run::object::Object;
use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod,
    PreferredSchedulingTerm,
};
use std::time::Duration;

use super::Plan;

/// Port of the copy.
pub(crate) const POSTGRES_PORT: u16 = 5432;
/// Port of listeners that answer probes: the one in the namespace of probes, and the copy's sidecar, whom nobody may reach.
pub(crate) const ECHO_PORT: u16 = 7072;
/// Where the dump lies in the pods that write or read it.
pub(crate) const DUMP_DIR: &str = "/data/dump";
/// Where the harness's init container finds the inputs, one directory each.
pub(crate) const INPUTS_DIR: &str = "/inputs";
/// Where it unpacks them, one directory each.
pub(crate) const UNPACKED_DIR: &str = "/unpacked";
/// Where the seal pod finds all that was written.
pub(crate) const EVIDENCE_DIR: &str = "/evidence";
/// Where the copy writes its logs.
pub(crate) const SERVER_LOGS_DIR: &str = "/evidence/server";
/// File in [`SECRETS_DIR`] with production's password.
pub(crate) const SOURCE_FILE: &str = "source";
/// Group of every pod of a run: what they share on volumes and in Secrets.
const RUN_GROUP: i64 = 64_000;
/// User of containers that run the operator's image.
const AGENT_USER: i64 = 64_001;
/// User of the observer: what it sees can be changed neither by the harness nor by what the other agents do.
const OBSERVER_USER: i64 = 64_002;
/// What a pod's deadline has beyond the run's, so that teardown is not cut short.
const DEADLINE_MARGIN: Duration = Duration::from_secs(600);

/// Names of the containers that agents are reached in.
pub(crate) struct Containers;

impl Containers {
    /// The copy's init container that waits to be released.
    pub(crate) const ISOLATE: &str = "isolate";
    /// The harness's init container that verifies inputs.
    pub(crate) const INPUTS: &str = "inputs";
    /// The harness's sidecar that looks at the inputs again, and probes.
    pub(crate) const OBSERVER: &str = "observer";
    /// The copy's sidecar that probes, and the only container of a pod that does nothing else.
    pub(crate) const PROBE: &str = "probe";
}

/// One of the run's pods.
pub(crate) fn pod(plan: &Plan<'_>, object: Object) -> Pod {
    let mut spec = match object {
        Object::DumpPod => database::dump(plan),
        Object::PostgresPod => database::postgres(plan),
        Object::RestorePod => database::restore(plan),
        Object::HarnessPod => harness::pod(plan),
        Object::SealPod => seal::pod(plan),
        Object::IntruderPod | Object::ListenerPod | Object::CanaryPod => prober::pod(plan, object),
        _ => database::identity(plan),
    };
    spec.affinity = affinity(plan, object);
    Pod {
        metadata: plan.metadata(object),
        spec: Some(spec),
        ..Pod::default()
    }
}

/// Later pods run where the dump pod ran: there the volumes are. By affinity, since `nodeName` would skip the scheduler. The listener had better run
/// somewhere else, so that it also sees the copy from another node.
fn affinity(plan: &Plan<'_>, object: Object) -> Option<Affinity> {
    let node = Some(&plan.facts.node).filter(|node| !node.is_empty())?;
    let is = |operator: &str| NodeSelectorTerm {
        match_fields: Some(vec![NodeSelectorRequirement {
            key: "metadata.name".into(),
            operator: operator.into(),
            values: Some(vec![node.clone()]),
        }]),
        match_expressions: None,
    };
    let node_affinity = match object {
        Object::ListenerPod => NodeAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![
                PreferredSchedulingTerm {
                    preference: is("NotIn"),
                    weight: 100,
                },
            ]),
            ..NodeAffinity::default()
        },
        _ => NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(NodeSelector {
                node_selector_terms: vec![is("In")],
            }),
            ..NodeAffinity::default()
        },
    };
    Some(Affinity {
        node_affinity: Some(node_affinity),
        ..Affinity::default()
    })
}
