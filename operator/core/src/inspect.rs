//! What a live pod may do, read from the objects as the apiserver has them.

mod pod;

pub use pod::{CREDENTIALS, SOURCE, Secrets, inspect};

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Volume};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::collections::BTreeMap;

/// What the harness pod may do and should not. Empty: it is confined.
///
/// `policies` are all NetworkPolicies of the namespace; `own` names those that may allow this pod anything.
pub fn harness_violations(pod: &Pod, policies: &[NetworkPolicy], own: &[String]) -> Vec<String> {
    let Some(spec) = &pod.spec else {
        return vec!["the pod has no spec".into()];
    };
    let mut found = pod_violations(spec);
    for container in spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
    {
        found.extend(
            container_violations(container)
                .into_iter()
                .map(|what| format!("{}: {what}", container.name)),
        );
    }
    found.extend(spec.volumes.iter().flatten().filter_map(volume_violation));
    found.extend(
        foreign_allowances(pod, policies, own)
            .into_iter()
            .map(|name| format!("NetworkPolicy {name} allows it more")),
    );
    if !policies.iter().any(is_deny_all) {
        found.push("the namespace has no deny-all NetworkPolicy".into());
    }
    found
}

fn pod_violations(spec: &PodSpec) -> Vec<String> {
    let checks = [
        (
            spec.automount_service_account_token != Some(false),
            "it mounts an API token",
        ),
        (spec.host_network == Some(true), "hostNetwork"),
        (spec.host_pid == Some(true), "hostPID"),
        (spec.host_ipc == Some(true), "hostIPC"),
        (
            spec.share_process_namespace == Some(true),
            "shareProcessNamespace",
        ),
        (
            spec.ephemeral_containers
                .as_ref()
                .is_some_and(|c| !c.is_empty()),
            "it has ephemeral containers",
        ),
        (
            spec.enable_service_links != Some(false),
            "enableServiceLinks",
        ),
        (spec.active_deadline_seconds.is_none(), "it has no deadline"),
    ];
    checks
        .iter()
        .filter(|(bad, _)| *bad)
        .map(|(_, what)| (*what).to_owned())
        .collect()
}

fn container_violations(container: &Container) -> Vec<String> {
    let security = container.security_context.clone().unwrap_or_default();
    let drops_all = security
        .capabilities
        .as_ref()
        .and_then(|c| c.drop.as_ref())
        .is_some_and(|d| d.iter().any(|c| c == "ALL"));
    let adds = security
        .capabilities
        .as_ref()
        .and_then(|c| c.add.as_ref())
        .is_some_and(|a| !a.is_empty());
    let host_port = container
        .ports
        .iter()
        .flatten()
        .any(|p| p.host_port.is_some_and(|p| p != 0));
    let from_secret = container.env.iter().flatten().any(|e| {
        e.value_from
            .as_ref()
            .is_some_and(|f| f.secret_key_ref.is_some())
    }) || container
        .env_from
        .iter()
        .flatten()
        .any(|e| e.secret_ref.is_some());
    let checks = [
        (security.privileged == Some(true), "privileged"),
        (
            security.allow_privilege_escalation != Some(false),
            "allowPrivilegeEscalation",
        ),
        (
            security.run_as_non_root != Some(true) || security.run_as_user == Some(0),
            "it may run as root",
        ),
        (
            security.read_only_root_filesystem != Some(true),
            "its root filesystem can be written",
        ),
        (!drops_all || adds, "it has capabilities"),
        (host_port, "hostPort"),
        (from_secret, "its environment has a secret"),
    ];
    checks
        .iter()
        .filter(|(bad, _)| *bad)
        .map(|(_, what)| (*what).to_owned())
        .collect()
}

fn volume_violation(volume: &Volume) -> Option<String> {
    let confined = volume.empty_dir.is_some()
        || volume.config_map.is_some()
        || volume.persistent_volume_claim.is_some()
        || volume
            .projected
            .as_ref()
            .is_some_and(|p| p.sources.iter().flatten().all(|s| s.secret.is_some()));
    (!confined).then(|| {
        format!(
            "volume {} is of a kind that a run does not have",
            volume.name
        )
    })
}

/// NetworkPolicies that allow the pod anything and are not the run's own.
pub fn foreign_allowances(pod: &Pod, policies: &[NetworkPolicy], own: &[String]) -> Vec<String> {
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    policies
        .iter()
        .filter(|policy| {
            let name = policy.metadata.name.as_deref().unwrap_or_default();
            let Some(spec) = &policy.spec else {
                return false;
            };
            let allows = spec.egress.as_ref().is_some_and(|r| !r.is_empty())
                || spec.ingress.as_ref().is_some_and(|r| !r.is_empty());
            allows
                && !own.iter().any(|o| o == name)
                && spec
                    .pod_selector
                    .as_ref()
                    .is_none_or(|s| selects(s, &labels))
        })
        .map(|policy| policy.metadata.name.clone().unwrap_or_default())
        .collect()
}

/// Whether a policy denies everything, in both directions, to every pod of its namespace.
pub fn is_deny_all(policy: &NetworkPolicy) -> bool {
    policy.spec.as_ref().is_some_and(|spec| {
        let both = ["Ingress", "Egress"]
            .iter()
            .all(|t| spec.policy_types.iter().flatten().any(|p| p == t));
        let empty = spec
            .pod_selector
            .as_ref()
            .is_none_or(|s| s.match_labels.is_none() && s.match_expressions.is_none());
        both && empty
            && spec.egress.as_ref().is_none_or(Vec::is_empty)
            && spec.ingress.as_ref().is_none_or(Vec::is_empty)
    })
}

/// Whether a label selector matches (`metav1.LabelSelector`). An operator that is not known matches nothing.
pub fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value));
    let expressions = selector
        .match_expressions
        .iter()
        .flatten()
        .all(|requirement| {
            let value = labels.get(&requirement.key);
            let listed = value.is_some_and(|v| requirement.values.iter().flatten().any(|w| w == v));
            match requirement.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        });
    equal && expressions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "demo-harness", "labels": {"dryrun.dev/run": "u", "dryrun.dev/role": "harness"}},
            "spec": {
                "automountServiceAccountToken": false, "enableServiceLinks": false, "activeDeadlineSeconds": 60,
                "containers": [{"name": "harness", "securityContext": {
                    "allowPrivilegeEscalation": false, "runAsNonRoot": true, "runAsUser": 10002, "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]}}}],
                "volumes": [{"name": "scratch", "emptyDir": {}}],
            },
        }))
        .unwrap()
    }

    fn policy(name: &str, spec: serde_json::Value) -> NetworkPolicy {
        serde_json::from_value(serde_json::json!({"metadata": {"name": name}, "spec": spec}))
            .unwrap()
    }

    fn policies() -> Vec<NetworkPolicy> {
        vec![
            policy(
                "deny-all",
                serde_json::json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}),
            ),
            policy(
                "demo-copy-egress",
                serde_json::json!({"podSelector": {"matchLabels": {"dryrun.dev/run": "u"}}, "policyTypes": ["Egress"], "egress": [{}]}),
            ),
        ]
    }

    fn violations(change: impl FnOnce(&mut Pod)) -> Vec<String> {
        let mut pod = pod();
        change(&mut pod);
        harness_violations(&pod, &policies(), &["demo-copy-egress".into()])
    }

    #[test]
    fn a_confined_pod_has_none() {
        assert_eq!(violations(|_| ()), Vec::<String>::new());
    }

    #[test]
    fn every_way_out_is_found() {
        type Change = fn(&mut Pod);
        fn spec(pod: &mut Pod) -> &mut PodSpec {
            pod.spec.as_mut().unwrap()
        }
        let cases: [(&str, Change); 8] = [
            ("API token", |p| {
                spec(p).automount_service_account_token = None
            }),
            ("hostNetwork", |p| spec(p).host_network = Some(true)),
            ("ephemeral", |p| {
                spec(p).ephemeral_containers = Some(vec![Default::default()])
            }),
            ("deadline", |p| spec(p).active_deadline_seconds = None),
            ("root", |p| {
                spec(p).containers[0]
                    .security_context
                    .as_mut()
                    .unwrap()
                    .run_as_user = Some(0)
            }),
            ("capabilities", |p| {
                spec(p).containers[0]
                    .security_context
                    .as_mut()
                    .unwrap()
                    .capabilities = None
            }),
            ("volume", |p| {
                spec(p).volumes.as_mut().unwrap().push(Volume {
                    name: "host".into(),
                    host_path: Some(Default::default()),
                    ..Volume::default()
                })
            }),
            ("hostPort", |p| {
                let port = k8s_openapi::api::core::v1::ContainerPort {
                    container_port: 1,
                    host_port: Some(1),
                    ..Default::default()
                };
                spec(p).containers[0].ports = Some(vec![port]);
            }),
        ];
        for (expected, change) in cases {
            let found = violations(change);
            assert_eq!(found.len(), 1, "{expected}: {found:?}");
            assert!(found[0].contains(expected), "{expected}: {found:?}");
        }
    }

    #[test]
    fn a_foreign_allowance_is_found() {
        let mut all = policies();
        all.push(policy(
            "hole",
            serde_json::json!({"podSelector": {}, "egress": [{}]}),
        ));
        assert_eq!(
            harness_violations(&pod(), &all, &["demo-copy-egress".into()]),
            ["NetworkPolicy hole allows it more"]
        );
        all.remove(0);
        assert_eq!(
            harness_violations(&pod(), &all, &["demo-copy-egress".into()]).len(),
            2
        );
    }

    #[test]
    fn selectors_match_as_in_kubernetes() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let matches =
            |json: serde_json::Value| selects(&serde_json::from_value(json).unwrap(), &labels);
        assert!(matches(serde_json::json!({})));
        assert!(matches(serde_json::json!({"matchLabels": {"a": "1"}})));
        assert!(!matches(serde_json::json!({"matchLabels": {"a": "2"}})));
        assert!(matches(
            serde_json::json!({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}, {"key": "b", "operator": "DoesNotExist"}]})
        ));
        assert!(matches(
            serde_json::json!({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["1"]}]})
        ));
        assert!(!matches(
            serde_json::json!({"matchExpressions": [{"key": "b", "operator": "Exists"}]})
        ));
    }
}
