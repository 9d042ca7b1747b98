//! Pods that probe or answer, and hold nothing.

use dryrun_core::run::container as run;
use dryrun_core::run::layout::ECHO_PORT;
use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::parts::{agent, base, echoing, small};
use crate::objects::Plan;

/// A pod that probes or answers and holds nothing, not even a token: what it can be asked is worth
/// none.
pub(super) fn pod(plan: &Plan<'_>, prober: run::Container) -> PodSpec {
    let open = agent(plan, prober);
    let container = Container {
        resources: Some(small()),
        command: open
            .command
            .map(|words| [words, vec!["--probes-only".into()]].concat()),
        ..open
    };
    let container = if prober == run::Container::Listener {
        echoing(container, ECHO_PORT)
    } else {
        container
    };
    base(plan, Vec::new(), vec![container], Vec::new())
}
