//! Parts shared by all pods and containers.

use dryrun_core::run::container::{self, INSTALL};
use dryrun_core::run::layout::AGENT_DIR;
use k8s_openapi::api::core::v1::{
    Capabilities, Container, PodDNSConfig, PodSecurityContext, PodSpec, ResourceRequirements,
    SeccompProfile, SecurityContext, Volume,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;
use std::time::Duration;

use super::volumes::mount;
use super::{AGENT_USER, DEADLINE_MARGIN, RUN_GROUP};
use crate::objects::Plan;

/// The agent answers there with what it is sent.
pub(super) fn echoing(agent: Container, port: u16) -> Container {
    Container {
        command: agent
            .command
            .map(|words| [words, vec!["--echo".into(), port.to_string()]].concat()),
        ..agent
    }
}

/// Returns the pod that all others are made from.
pub(super) fn base(
    plan: &Plan<'_>,
    init: Vec<Container>,
    containers: Vec<Container>,
    volumes: Vec<Volume>,
) -> PodSpec {
    let total = plan.spec.deadlines.total.or(Duration::from_secs(7200)) + DEADLINE_MARGIN;
    PodSpec {
        init_containers: (!init.is_empty()).then_some(init),
        containers,
        volumes: Some(volumes),
        restart_policy: Some("Never".into()),
        active_deadline_seconds: i64::try_from(total.as_secs()).ok(),
        termination_grace_period_seconds: Some(3),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        // Nothing in a run needs names; port 53 is a probe target, not an exception.
        dns_policy: Some("None".into()),
        dns_config: Some(PodDNSConfig {
            nameservers: Some(vec!["127.0.0.1".into()]),
            ..PodDNSConfig::default()
        }),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            fs_group: Some(RUN_GROUP),
            fs_group_change_policy: Some("OnRootMismatch".into()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".into(),
                localhost_profile: None,
            }),
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    }
}

/// A container of the user's image in which the agent is PID 1 and serves the control channel.
pub(super) fn serve(container: container::Container, image: &str, user: i64) -> Container {
    Container {
        name: container.name().into(),
        image: Some(image.into()),
        command: Some(vec![
            agent_path(),
            "serve".into(),
            "--port".into(),
            container.port().to_string(),
        ]),
        security_context: Some(confined(user)),
        ..Container::default()
    }
}

/// A container of the operator's image that serves the control channel.
pub(super) fn agent(plan: &Plan<'_>, container: container::Container) -> Container {
    Container {
        command: Some(vec![
            "/dryrun-agent".into(),
            "serve".into(),
            "--port".into(),
            container.port().to_string(),
        ]),
        ..serve(container, &plan.operator.image, AGENT_USER)
    }
}

/// The init container that brings the agent into a pod of another image.
pub(super) fn install(plan: &Plan<'_>) -> Container {
    Container {
        command: Some(vec!["/dryrun-agent".into(), "install".into(), agent_path()]),
        resources: Some(small()),
        volume_mounts: Some(vec![mount("agent", AGENT_DIR)]),
        name: INSTALL.into(),
        image: Some(plan.operator.image.clone()),
        security_context: Some(confined(AGENT_USER)),
        ..Container::default()
    }
}

pub(super) fn agent_path() -> String {
    format!("{AGENT_DIR}/dryrun-agent")
}

pub(super) fn confined(user: i64) -> SecurityContext {
    SecurityContext {
        run_as_user: Some(user),
        // What one pod writes another may read: not every kind of volume takes the pod's group.
        run_as_group: Some(RUN_GROUP),
        run_as_non_root: Some(true),
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".into()]),
            add: None,
        }),
        ..SecurityContext::default()
    }
}

/// Memory of a server or harness container that the spec says nothing about.
pub(super) const DEFAULT_MEMORY: u64 = 2 << 30;

pub(super) fn resources(declared: Option<&ResourceRequirements>) -> ResourceRequirements {
    declared.cloned().unwrap_or_else(|| {
        quantities(
            &[("cpu", "100m"), ("memory", "256Mi")],
            &[("memory", "2Gi")],
        )
    })
}

pub(super) fn small() -> ResourceRequirements {
    quantities(
        &[("cpu", "10m"), ("memory", "32Mi")],
        &[("memory", "512Mi")],
    )
}

pub(super) fn quantities(
    requests: &[(&str, &str)],
    limits: &[(&str, &str)],
) -> ResourceRequirements {
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, Quantity> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Quantity((*value).into())))
            .collect()
    };
    ResourceRequirements {
        requests: Some(map(requests)),
        limits: Some(map(limits)),
        claims: None,
    }
}
