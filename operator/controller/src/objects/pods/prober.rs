//! Pods that probe or answer, and hold nothing.

use dryrun_core::run::object::Object;
use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::parts::{agent, base, echoing, small};
use super::{Containers, ECHO_PORT};
use crate::objects::Plan;

/// A pod that probes or answers and holds nothing, not even a token: what it can be asked is worth none.
pub(super) fn pod(plan: &Plan<'_>, object: Object) -> PodSpec {
    let open = agent(plan, Containers::PROBE);
    let container = Container {
        resources: Some(small()),
        command: open
            .command
            .map(|words| [words, vec!["--probes-only".into()]].concat()),
        ..open
    };
    let container = match object {
        Object::ListenerPod => echoing(container, ECHO_PORT),
        _ => container,
    };
    base(plan, Vec::new(), vec![container], Vec::new())
}
