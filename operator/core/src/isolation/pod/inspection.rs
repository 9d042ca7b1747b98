//! One pod of the run: which Secrets it has, which images it runs, and what opens it.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use std::collections::{BTreeMap, BTreeSet};

use super::{foreign_allowances, is_deny_all, selects};
use crate::run::facts::PodInspection;

/// How a key of the run's own Secret begins in a [`PodInspection`].
pub const CREDENTIALS: &str = "credentials";
/// How a key of the Secret with production's password begins in a [`PodInspection`].
pub const SOURCE: &str = "source";
/// The mode of a Secret's file that a container of the run's group can read and nobody else.
const MODE: i32 = 0o440;
/// What Kubernetes gives a Secret's file when nothing is said.
const DEFAULT_MODE: i32 = 0o644;

/// Names of the Secrets that pods of the run may have keys of.
#[derive(Clone, Copy, Debug)]
pub struct Secrets<'a> {
    /// The run's own.
    pub credentials: &'a str,
    /// The one with production's password.
    pub source: &'a str,
}

impl Secrets<'_> {
    fn key(&self, secret: &str, key: &str) -> String {
        let secret = match secret {
            name if name == self.credentials => CREDENTIALS,
            name if name == self.source => SOURCE,
            other => other,
        };
        format!("{secret}/{key}")
    }
}

/// Looks at a pod. `own` are the NetworkPolicies that must select it; no other may allow it anything.
pub fn inspect(
    pod: &Pod,
    services: &[Service],
    policies: &[NetworkPolicy],
    own: &[String],
    secrets: Secrets<'_>,
) -> PodInspection {
    let Some(spec) = &pod.spec else {
        return PodInspection {
            openings: vec!["the pod has no spec".into()],
            ..PodInspection::default()
        };
    };
    let (keys, modes) = mounted(spec, secrets);
    PodInspection {
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        secrets: keys,
        modes,
        images: images(pod, spec),
        openings: openings(pod, spec, services, policies, own),
    }
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
}

fn mounted(spec: &PodSpec, secrets: Secrets<'_>) -> (BTreeSet<String>, Vec<String>) {
    let (mut keys, mut modes) = (BTreeSet::new(), Vec::new());
    let mut mode = |volume: &str, mode: i32| {
        if mode != MODE {
            modes.push(format!("{volume} 0{mode:o}"));
        }
    };
    for volume in spec.volumes.iter().flatten() {
        if let Some(secret) = &volume.secret {
            let name = secret.secret_name.as_deref().unwrap_or_default();
            mode(&volume.name, secret.default_mode.unwrap_or(DEFAULT_MODE));
            match &secret.items {
                Some(items) => keys.extend(items.iter().map(|i| secrets.key(name, &i.key))),
                None => drop(keys.insert(secrets.key(name, "*"))),
            }
        }
        for source in volume
            .projected
            .iter()
            .flat_map(|projected| projected.sources.iter().flatten())
        {
            let Some(secret) = &source.secret else {
                continue;
            };
            let default = volume.projected.as_ref().and_then(|p| p.default_mode);
            match &secret.items {
                Some(items) => {
                    for item in items {
                        keys.insert(secrets.key(&secret.name, &item.key));
                        mode(&volume.name, item.mode.or(default).unwrap_or(DEFAULT_MODE));
                    }
                }
                None => {
                    keys.insert(secrets.key(&secret.name, "*"));
                    mode(&volume.name, default.unwrap_or(DEFAULT_MODE));
                }
            }
        }
    }
    for container in containers(spec) {
        for variable in container.env.iter().flatten() {
            let reference = variable.value_from.as_ref();
            keys.extend(
                reference
                    .and_then(|from| from.secret_key_ref.as_ref())
                    .map(|r| secrets.key(&r.name, &r.key)),
            );
        }
        for from in container.env_from.iter().flatten() {
            keys.extend(from.secret_ref.iter().map(|r| secrets.key(&r.name, "*")));
        }
    }
    modes.dedup();
    (keys, modes)
}

fn images(pod: &Pod, spec: &PodSpec) -> BTreeMap<String, (String, String)> {
    let status = pod.status.as_ref();
    let all = status.into_iter().flat_map(|status| {
        status
            .container_statuses
            .iter()
            .flatten()
            .chain(status.init_container_statuses.iter().flatten())
    });
    all.filter(|container| !container.image_id.is_empty())
        .filter_map(|container| {
            let declared = containers(spec).find(|c| c.name == container.name)?;
            let reference = declared.image.clone().unwrap_or_default();
            Some((
                container.name.clone(),
                (reference, container.image_id.clone()),
            ))
        })
        .collect()
}

fn openings(
    pod: &Pod,
    spec: &PodSpec,
    services: &[Service],
    policies: &[NetworkPolicy],
    own: &[String],
) -> Vec<String> {
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    let mut found = Vec::new();
    if spec.host_network == Some(true) {
        found.push("hostNetwork".to_owned());
    }
    if spec
        .ephemeral_containers
        .as_ref()
        .is_some_and(|c| !c.is_empty())
    {
        found.push("it has ephemeral containers".to_owned());
    }
    for container in containers(spec) {
        let ports = container.ports.iter().flatten();
        found.extend(
            ports
                .filter_map(|port| port.host_port.filter(|port| *port != 0))
                .map(|port| format!("{}: hostPort {port}", container.name)),
        );
    }
    for service in services {
        let selector = service
            .spec
            .as_ref()
            .and_then(|spec| spec.selector.as_ref());
        let chosen = selector.is_some_and(|selector| {
            !selector.is_empty() && selector.iter().all(|(k, v)| labels.get(k) == Some(v))
        });
        if chosen {
            let name = service.metadata.name.as_deref().unwrap_or_default();
            found.push(format!("Service {name} selects it"));
        }
    }
    found.extend(
        foreign_allowances(pod, policies, own)
            .into_iter()
            .map(|name| format!("NetworkPolicy {name} allows it more")),
    );
    for wanted in own {
        let there = policies.iter().any(|policy| {
            policy.metadata.name.as_ref() == Some(wanted)
                && policy.spec.as_ref().is_some_and(|spec| {
                    spec.pod_selector
                        .as_ref()
                        .is_none_or(|s| selects(s, &labels))
                })
        });
        if !there {
            found.push(format!("NetworkPolicy {wanted} does not select it"));
        }
    }
    if !policies.iter().any(is_deny_all) {
        found.push("the namespace has no deny-all NetworkPolicy".into());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NAMES: Secrets<'static> = Secrets {
        credentials: "demo-credentials",
        source: "production",
    };

    fn pod() -> serde_json::Value {
        json!({
            "metadata": {"name": "demo-postgres", "uid": "u", "labels": {"dryrun.dev/role": "postgres"}},
            "spec": {
                "containers": [{"name": "postgres", "image": "postgres:17"}],
                "volumes": [{"name": "secrets", "projected": {"defaultMode": 0o440, "sources": [
                    {"secret": {"name": "demo-credentials", "items": [{"key": "superuser", "path": "superuser"}]}},
                    {"secret": {"name": "production", "items": [{"key": "password", "path": "source"}]}},
                ]}}],
            },
            "status": {"containerStatuses": [
                {"name": "postgres", "image": "postgres:17", "imageID": "sha256:1", "ready": true, "restartCount": 0}]},
        })
    }

    fn policies() -> serde_json::Value {
        json!([
            {"metadata": {"name": "deny-all"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}},
            {"metadata": {"name": "demo-copy-ingress"}, "spec": {
                "podSelector": {"matchLabels": {"dryrun.dev/role": "postgres"}}, "policyTypes": ["Ingress"], "ingress": [{}]}},
        ])
    }

    fn look(
        pod: serde_json::Value,
        services: serde_json::Value,
        policies: serde_json::Value,
    ) -> PodInspection {
        inspect(
            &serde_json::from_value(pod).unwrap(),
            &serde_json::from_value::<Vec<Service>>(services).unwrap(),
            &serde_json::from_value::<Vec<NetworkPolicy>>(policies).unwrap(),
            &["demo-copy-ingress".to_owned()],
            NAMES,
        )
    }

    #[test]
    fn a_closed_pod_is_described() {
        let found = look(pod(), json!([]), policies());
        let keys = ["credentials/superuser", "source/password"].map(str::to_owned);
        assert_eq!(found.secrets, keys.into());
        assert_eq!(
            (found.modes.len(), found.openings.len()),
            (0, 0),
            "{found:?}"
        );
        assert_eq!(
            found.images["postgres"],
            ("postgres:17".to_owned(), "sha256:1".to_owned())
        );
    }

    #[test]
    fn every_opening_is_named() {
        let with = |pointer: &str, value: serde_json::Value| {
            let mut pod = pod();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            pod.pointer_mut(parent).unwrap()[key] = value;
            pod
        };
        let cases = [
            (
                "hostNetwork",
                with("/spec/hostNetwork", json!(true)),
                json!([]),
                policies(),
            ),
            (
                "hostPort 5432",
                with(
                    "/spec/containers/0/ports",
                    json!([{"containerPort": 5432, "hostPort": 5432}]),
                ),
                json!([]),
                policies(),
            ),
            (
                "ephemeral",
                with("/spec/ephemeralContainers", json!([{"name": "debugger"}])),
                json!([]),
                policies(),
            ),
            (
                "Service db selects it",
                pod(),
                json!([{"metadata": {"name": "db"}, "spec": {"selector": {"dryrun.dev/role": "postgres"}}}]),
                policies(),
            ),
            ("NetworkPolicy hole allows it more", pod(), json!([]), {
                let mut all = policies();
                all.as_array_mut().unwrap().push(json!({"metadata": {"name": "hole"}, "spec": {"podSelector": {}, "egress": [{}]}}));
                all
            }),
            (
                "NetworkPolicy demo-copy-ingress does not select it",
                with("/metadata/labels", json!({})),
                json!([]),
                policies(),
            ),
            ("no deny-all", pod(), json!([]), json!([policies()[1]])),
        ];
        for (told, pod, services, policies) in cases {
            let found = look(pod, services, policies).openings;
            assert!(
                found.len() == 1 && found[0].contains(told),
                "{told}: {found:?}"
            );
        }
    }

    #[test]
    fn secrets_are_found_wherever_they_are() {
        let mut pod = pod();
        pod["spec"]["containers"][0]["env"] =
            json!([{"name": "P", "valueFrom": {"secretKeyRef": {"name": "other", "key": "a"}}}]);
        pod["spec"]["containers"][0]["envFrom"] = json!([{"secretRef": {"name": "production"}}]);
        pod["spec"]["volumes"] = json!([
            {"name": "whole", "secret": {"secretName": "demo-credentials"}},
            {"name": "items", "secret": {"secretName": "demo-credentials", "defaultMode": 0o440, "items": [{"key": "k", "path": "p"}]}},
        ]);
        let found = look(pod, json!([]), policies());
        let keys = ["credentials/*", "credentials/k", "other/a", "source/*"].map(str::to_owned);
        assert_eq!(found.secrets, keys.into());
        assert_eq!(found.modes, ["whole 0644"]);
    }
}
