//! What a live pod may do, read from the objects as the apiserver has them.

mod inspection;

pub use inspection::{CREDENTIALS, SOURCE, Secrets, inspect};

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Volume, VolumeMount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::collections::BTreeMap;

/// What the harness pod may do and should not. Empty: it is confined.
///
/// `policies` are all NetworkPolicies of the namespace; `own` names those that may allow this pod anything. `evidence` is the one claim that it may
/// mount, and of it only the part that is its own.
pub fn harness_violations(
    pod: &Pod,
    policies: &[NetworkPolicy],
    own: &[String],
    evidence: &str,
) -> Vec<String> {
    let Some(spec) = &pod.spec else {
        return vec!["the pod has no spec".into()];
    };
    let mut found = pod_violations(spec);
    let volumes = spec.volumes.as_deref().unwrap_or_default();
    for container in spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
    {
        found.extend(
            container_violations(container)
                .into_iter()
                .map(str::to_owned)
                .chain(mount_violations(container, volumes))
                .map(|what| format!("{}: {what}", container.name)),
        );
    }
    found.extend(
        volumes
            .iter()
            .filter_map(|volume| volume_violation(volume, evidence)),
    );
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

fn container_violations(container: &Container) -> Vec<&'static str> {
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
        (
            container
                .volume_devices
                .as_ref()
                .is_some_and(|d| !d.is_empty()),
            "it has a block device",
        ),
    ];
    checks
        .iter()
        .filter(|(bad, _)| *bad)
        .map(|(_, what)| *what)
        .collect()
}

/// The volumes of the harness pod that can be written to, each with the one container that may.
const WRITABLE: [(&str, &str); 5] = [
    ("inputs", "unpacked"),
    ("install", "agent"),
    ("harness", "tmp"),
    ("harness", "scratch"),
    ("harness", "evidence"),
];

/// The part of the evidence volume that is the harness's own.
const OWN_PART: &str = "harness";

fn mount_violations(container: &Container, volumes: &[Volume]) -> Vec<String> {
    let mounts = container.volume_mounts.iter().flatten();
    mounts
        .filter_map(|mount| {
            let volume = volumes.iter().find(|volume| volume.name == mount.name);
            let claimed = volume.is_some_and(|volume| volume.persistent_volume_claim.is_some());
            let VolumeMount { name, .. } = mount;
            if claimed && mount.sub_path.as_deref() != Some(OWN_PART) {
                Some(format!("it mounts more than {OWN_PART} of {name}"))
            } else if mount.read_only != Some(true) && !WRITABLE.contains(&(&container.name, name))
            {
                Some(format!("it may write to {name}"))
            } else {
                None
            }
        })
        .collect()
}

fn volume_violation(volume: &Volume, evidence: &str) -> Option<String> {
    if let Some(claim) = &volume.persistent_volume_claim
        && claim.claim_name != evidence
    {
        return Some(format!(
            "volume {} is PersistentVolumeClaim {}, not {evidence}",
            volume.name, claim.claim_name
        ));
    }
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

    /// The shape that the controller makes.
    fn pod() -> Pod {
        let security = serde_json::json!({
            "allowPrivilegeEscalation": false, "runAsNonRoot": true, "runAsUser": 10002, "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]}});
        let token = |name: &str| serde_json::json!({"name": name, "projected": {"sources": [{"secret": {"name": "demo-credentials"}}]}});
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "demo-harness", "labels": {"dryrun.dev/run": "u", "dryrun.dev/role": "harness"}},
            "spec": {
                "automountServiceAccountToken": false, "enableServiceLinks": false, "activeDeadlineSeconds": 60,
                "initContainers": [
                    {"name": "observer", "restartPolicy": "Always", "securityContext": security, "volumeMounts": [
                        {"name": "observer-secrets", "mountPath": "/run/secrets/dryrun", "readOnly": true},
                        {"name": "unpacked", "mountPath": "/unpacked", "readOnly": true},
                        {"name": "input-0", "mountPath": "/inputs/0", "readOnly": true}]},
                    {"name": "inputs", "securityContext": security, "volumeMounts": [
                        {"name": "inputs-secrets", "mountPath": "/run/secrets/dryrun", "readOnly": true},
                        {"name": "unpacked", "mountPath": "/unpacked"},
                        {"name": "input-0", "mountPath": "/inputs/0", "readOnly": true}]},
                    {"name": "install", "securityContext": security, "volumeMounts": [{"name": "agent", "mountPath": "/agent"}]}],
                "containers": [{"name": "harness", "securityContext": security, "volumeMounts": [
                    {"name": "agent", "mountPath": "/agent", "readOnly": true},
                    {"name": "secrets", "mountPath": "/run/secrets/dryrun", "readOnly": true},
                    {"name": "tmp", "mountPath": "/tmp"},
                    {"name": "scratch", "mountPath": "/scratch"},
                    {"name": "evidence", "mountPath": "/evidence/harness", "subPath": "harness"},
                    {"name": "unpacked", "mountPath": "/opt/demo", "subPath": "0", "readOnly": true}]}],
                "volumes": [
                    token("secrets"), token("inputs-secrets"), token("observer-secrets"),
                    {"name": "tmp", "emptyDir": {"medium": "Memory"}}, {"name": "scratch", "emptyDir": {}},
                    {"name": "unpacked", "emptyDir": {}}, {"name": "agent", "emptyDir": {}},
                    {"name": "evidence", "persistentVolumeClaim": {"claimName": EVIDENCE}},
                    {"name": "input-0", "configMap": {"name": "demo"}}],
            },
        }))
        .unwrap()
    }

    const EVIDENCE: &str = "demo-evidence";

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

    fn all_violations(pod: &Pod, policies: &[NetworkPolicy]) -> Vec<String> {
        harness_violations(pod, policies, &["demo-copy-egress".into()], EVIDENCE)
    }

    fn violations(change: impl FnOnce(&mut Pod)) -> Vec<String> {
        let mut pod = pod();
        change(&mut pod);
        all_violations(&pod, &policies())
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
        fn mount<'a>(pod: &'a mut Pod, name: &str) -> &'a mut VolumeMount {
            let mounts = spec(pod).containers[0].volume_mounts.as_mut().unwrap();
            mounts.iter_mut().find(|m| m.name == name).unwrap()
        }
        fn volume<'a>(pod: &'a mut Pod, name: &str) -> &'a mut Volume {
            let mut volumes = spec(pod).volumes.as_mut().unwrap().iter_mut();
            volumes.find(|v| v.name == name).unwrap()
        }
        let cases: [(&str, Change); 17] = [
            ("harness: it may write to unpacked", |p| {
                mount(p, "unpacked").read_only = None
            }),
            ("harness: it may write to agent", |p| {
                mount(p, "agent").read_only = Some(false)
            }),
            ("observer: it may write to unpacked", |p| {
                let observer = &mut spec(p).init_containers.as_mut().unwrap()[0];
                observer.volume_mounts.as_mut().unwrap()[1].read_only = None;
            }),
            ("inputs: it may write to input-0", |p| {
                let inputs = &mut spec(p).init_containers.as_mut().unwrap()[1];
                inputs.volume_mounts.as_mut().unwrap()[2].read_only = None;
            }),
            ("harness: it mounts more than harness of evidence", |p| {
                mount(p, "evidence").sub_path = None
            }),
            ("harness: it mounts more than harness of evidence", |p| {
                mount(p, "evidence").sub_path = Some("server".into())
            }),
            ("harness: it mounts more than harness of evidence", |p| {
                let mounts = spec(p).containers[0].volume_mounts.as_mut().unwrap();
                mounts.push(VolumeMount {
                    name: "evidence".into(),
                    mount_path: "/all".into(),
                    read_only: Some(true),
                    ..VolumeMount::default()
                });
            }),
            ("volume evidence is PersistentVolumeClaim demo-data", |p| {
                let claim = volume(p, "evidence").persistent_volume_claim.as_mut();
                claim.unwrap().claim_name = "demo-data".into();
            }),
            ("block device", |p| {
                spec(p).containers[0].volume_devices = Some(vec![Default::default()])
            }),
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
            all_violations(&pod(), &all),
            ["NetworkPolicy hole allows it more"]
        );
        all.remove(0);
        assert_eq!(all_violations(&pod(), &all).len(), 2);
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
