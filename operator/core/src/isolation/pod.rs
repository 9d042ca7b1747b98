//! A live pod of the run, read from the objects as the apiserver has them: its Secrets, its images,
//! everything in which it is another pod than the operator built, and everything that it may do
//! and should not.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Service};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use kube::core::{Selector, SelectorExt};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

use crate::run::facts::PodInspection;
use crate::run::id::RunRef;
use crate::run::object::{Object, RunPod};

/// Prefix of a key of the run's own Secret in a [`PodInspection`].
pub const CREDENTIALS: &str = "credentials";
/// Prefix of a key of the Secret with production's password in a [`PodInspection`].
pub const SOURCE: &str = "source";
/// The mode of a Secret's file that a container of the run's group can read and no other user.
const MODE: i32 = 0o440;
/// Kubernetes' default mode of a Secret's file.
const DEFAULT_MODE: i32 = 0o644;
/// Parts of a pod's spec that are compared by their names.
const NAMED: [&str; 3] = ["initContainers", "containers", "volumes"];
/// Fields of a pod's spec that place it, or that admission plugins of Kubernetes fill in. None lets
/// a container do or reach more.
const PLACEMENT: [&str; 13] = [
    "affinity",
    "imagePullSecrets",
    "nodeName",
    "nodeSelector",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "runtimeClassName",
    "schedulerName",
    "serviceAccount",
    "serviceAccountName",
    "tolerations",
];
/// Fields of a container that the apiserver and LimitRanges fill in.
const DEFAULTED: [&str; 5] = [
    "imagePullPolicy",
    "resizePolicy",
    "resources",
    "terminationMessagePath",
    "terminationMessagePolicy",
];

/// Names of the Secrets that pods of the run may have keys of.
#[derive(Clone, Copy)]
struct Secrets<'a> {
    /// The run's own.
    credentials: &'a str,
    /// The one with production's password.
    source: &'a str,
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

/// Properties that a pod of the run may have.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The run.
    pub run: &'a RunRef,
    /// The pod.
    pub pod: RunPod,
    /// Name of the Secret with production's password.
    pub source_secret: &'a str,
    /// The pod as the operator builds it.
    pub built: &'a Pod,
}

/// Inspects a pod, with all Services and NetworkPolicies of its namespace.
pub fn inspect(
    pod: &Pod,
    services: &[Service],
    policies: &[NetworkPolicy],
    expected: Expected<'_>,
) -> PodInspection {
    let Some(spec) = &pod.spec else {
        return PodInspection {
            violations: vec!["the pod has no spec".into()],
            ..PodInspection::default()
        };
    };
    let secrets = Secrets {
        credentials: &expected.run.name_of(Object::Secret),
        source: expected.source_secret,
    };
    let (keys, modes) = mounted(spec, secrets);
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    // Differences first: they name what was added, and only the first violations are shown.
    let mut violations = differences(spec, expected.built.spec.as_ref());
    violations.extend(unconfined(spec));
    violations.extend(openings(&labels, services, policies, expected));
    PodInspection {
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        secrets: keys,
        modes,
        images: images(pod, spec),
        violations,
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
    let ids: BTreeMap<&str, &str> = all
        .map(|container| (&*container.name, &*container.image_id))
        .collect();
    containers(spec)
        .map(|container| {
            let reference = container.image.clone().unwrap_or_default();
            let id = ids.get(&*container.name).copied().unwrap_or_default();
            (container.name.clone(), (reference, id.to_owned()))
        })
        .collect()
}

/// Returns the properties of a spec that no pod of the run may have, however it was built: a token,
/// the host, a privilege.
fn unconfined(spec: &PodSpec) -> Vec<String> {
    let token = spec.automount_service_account_token != Some(false);
    let of_pod = [
        (token, "it mounts an API token"),
        (spec.host_network == Some(true), "hostNetwork"),
        (spec.host_pid == Some(true), "hostPID"),
        (spec.host_ipc == Some(true), "hostIPC"),
        (
            spec.share_process_namespace == Some(true),
            "shareProcessNamespace",
        ),
    ];
    let mut found: Vec<String> = said(&of_pod).map(str::to_owned).collect();
    for container in containers(spec) {
        let security = container.security_context.clone().unwrap_or_default();
        let root = security.run_as_non_root != Some(true) || security.run_as_user == Some(0);
        let writes = security.read_only_root_filesystem != Some(true);
        let escalates = security.allow_privilege_escalation != Some(false);
        let capabilities = security.capabilities.unwrap_or_default();
        let drops_all = capabilities.drop.iter().flatten().any(|c| c == "ALL");
        let adds = capabilities.add.is_some_and(|added| !added.is_empty());
        let of_container = [
            (security.privileged == Some(true), "privileged"),
            (escalates, "allowPrivilegeEscalation"),
            (root, "it may run as root"),
            (writes, "its root filesystem can be written"),
            (!drops_all || adds, "it has capabilities"),
        ];
        found.extend(said(&of_container).map(|what| format!("{}: {what}", container.name)));
    }
    found
}

/// Returns the texts of the checks that are true.
fn said<'a>(checks: &'a [(bool, &'static str)]) -> impl Iterator<Item = &'static str> + 'a {
    let bad = checks.iter().filter(|(bad, _)| *bad);
    bad.map(|(_, what)| *what)
}

/// Returns the parts of the pod that were added, are missing or differ from the built one: an
/// admission webhook or a policy of the cluster may have changed it.
fn differences(found: &PodSpec, built: Option<&PodSpec>) -> Vec<String> {
    let (Ok(found), Ok(built)) = (serde_json::to_value(found), serde_json::to_value(built)) else {
        return vec!["the pod cannot be compared with the built one".into()];
    };
    let but = [&NAMED[..], &PLACEMENT].concat();
    let mut different: Vec<String> = differing(&found, &built, &but)
        .map(|field| format!("{field} is not as built"))
        .collect();
    for list in NAMED {
        let (found, built) = (named(&found[list]), named(&built[list]));
        let names: BTreeSet<&str> = found.iter().chain(&built).map(|(name, _)| *name).collect();
        for name in names {
            let [now, then] = [&found, &built].map(|all| all.iter().find(|(n, _)| *n == name));
            match (now, then) {
                (Some((_, now)), Some((_, then))) => different.extend(
                    differing(now, then, &DEFAULTED)
                        .map(|field| format!("{name}: {field} is not as built")),
                ),
                (Some(_), None) => different.push(format!("{name} was added to {list}")),
                (None, _) => different.push(format!("{name} is missing in {list}")),
            }
        }
        let pairs = found.iter().zip(&built);
        if found.len() == built.len() && pairs.clone().any(|((now, _), (then, _))| now != then) {
            different.push(format!("{list} are in another order than built"));
        }
    }
    different
}

/// The elements of a list by their names.
fn named(list: &Value) -> Vec<(&str, &Value)> {
    let all = list.as_array().into_iter().flatten();
    all.map(|one| (one["name"].as_str().unwrap_or_default(), one))
        .collect()
}

/// Names of the fields in which two objects differ, except these.
fn differing<'a>(
    found: &'a Value,
    built: &'a Value,
    but: &'a [&str],
) -> impl Iterator<Item = &'a str> {
    let objects = [found, built].into_iter().filter_map(Value::as_object);
    let fields: BTreeSet<&str> = objects.flat_map(|o| o.keys().map(String::as_str)).collect();
    let mut fields = Vec::from_iter(fields);
    fields.retain(|field| !but.contains(field) && found.get(*field) != built.get(*field));
    fields.into_iter()
}

/// Returns the objects beside the pod's spec that open it to more traffic than it should have.
fn openings(
    labels: &BTreeMap<String, String>,
    services: &[Service],
    policies: &[NetworkPolicy],
    expected: Expected<'_>,
) -> Vec<String> {
    let mut found = Vec::new();
    for service in services {
        let selector = service.spec.as_ref().and_then(|s| s.selector.as_ref());
        if selector
            .is_some_and(|s| !s.is_empty() && s.iter().all(|(k, v)| labels.get(k) == Some(v)))
        {
            let name = service.metadata.name.as_deref().unwrap_or_default();
            found.push(format!("Service {name} selects it"));
        }
    }
    let allowances = expected.pod.allowances();
    let own: Vec<String> = allowances
        .iter()
        .map(|policy| expected.run.name_of(*policy))
        .collect();
    for policy in policies {
        let name = policy.metadata.name.as_deref().unwrap_or_default();
        let Some(spec) = &policy.spec else {
            continue;
        };
        let allows = spec.egress.as_ref().is_some_and(|r| !r.is_empty())
            || spec.ingress.as_ref().is_some_and(|r| !r.is_empty());
        // A selector that cannot be read may select anything.
        if allows && !own.iter().any(|own| own == name) && selects(spec, labels).unwrap_or(true) {
            found.push(format!(
                "NetworkPolicy {name} selects this pod and allows additional traffic"
            ));
        }
    }
    for wanted in &own {
        let there = policies.iter().any(|policy| {
            let spec = policy.spec.as_ref();
            policy.metadata.name.as_ref() == Some(wanted)
                && spec.is_some_and(|spec| selects(spec, labels).unwrap_or(false))
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

/// Returns true when a policy selects pods with these labels; nothing when its selector cannot be
/// read.
fn selects(policy: &NetworkPolicySpec, labels: &BTreeMap<String, String>) -> Option<bool> {
    Some(selector(policy)?.matches(labels))
}

fn selector(policy: &NetworkPolicySpec) -> Option<Selector> {
    match &policy.pod_selector {
        Some(selector) => Selector::try_from(selector.clone()).ok(),
        None => Some(Selector::default()),
    }
}

/// Returns true for a policy that denies everything, in both directions, to every pod of its
/// namespace.
pub fn is_deny_all(policy: &NetworkPolicy) -> bool {
    policy.spec.as_ref().is_some_and(|spec| {
        let both = ["Ingress", "Egress"]
            .iter()
            .all(|t| spec.policy_types.iter().flatten().any(|p| p == t));
        let empty = selector(spec).is_some_and(|selector| selector.selects_all());
        both && empty
            && spec.egress.as_ref().is_none_or(Vec::is_empty)
            && spec.ingress.as_ref().is_none_or(Vec::is_empty)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// The shape that the controller makes.
    fn pod() -> Value {
        let security = json!({
            "allowPrivilegeEscalation": false, "runAsNonRoot": true, "runAsUser": 10002, "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]}});
        let token = |name: &str, key: &str| {
            json!({"name": name, "projected": {"defaultMode": 0o440, "sources": [
            {"secret": {"name": "demo-credentials", "items": [{"key": key, "path": "token"}]}}]}})
        };
        json!({
            "metadata": {"name": "demo-harness", "uid": "p", "labels": {"dryrun.dev/run": "u", "dryrun.dev/role": "harness"}},
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
                "containers": [{"name": "harness", "image": "python:3", "securityContext": security, "volumeMounts": [
                    {"name": "agent", "mountPath": "/agent", "readOnly": true},
                    {"name": "secrets", "mountPath": "/run/secrets/dryrun", "readOnly": true},
                    {"name": "tmp", "mountPath": "/tmp"},
                    {"name": "scratch", "mountPath": "/scratch"},
                    {"name": "evidence", "mountPath": "/evidence/harness", "subPath": "harness"},
                    {"name": "unpacked", "mountPath": "/opt/demo", "subPath": "0", "readOnly": true}]}],
                "volumes": [
                    token("secrets", "token-harness"), token("inputs-secrets", "token-inputs"), token("observer-secrets", "token-observer"),
                    {"name": "tmp", "emptyDir": {"medium": "Memory"}}, {"name": "scratch", "emptyDir": {}},
                    {"name": "unpacked", "emptyDir": {}}, {"name": "agent", "emptyDir": {}},
                    {"name": "evidence", "persistentVolumeClaim": {"claimName": "demo-evidence"}},
                    {"name": "input-0", "configMap": {"name": "demo"}}],
            },
            "status": {"containerStatuses": [
                {"name": "harness", "image": "python:3", "imageID": "sha256:1", "ready": true, "restartCount": 0}]},
        })
    }

    fn policies() -> Value {
        json!([
            {"metadata": {"name": "deny-all"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}},
            {"metadata": {"name": "demo-copy-egress"}, "spec": {
                "podSelector": {"matchLabels": {"dryrun.dev/run": "u"}}, "policyTypes": ["Egress"], "egress": [{}]}},
        ])
    }

    fn look(live: Value, services: Value, policies: Value) -> PodInspection {
        let run = RunRef {
            namespace: "rehearsal".into(),
            name: "demo".into(),
            uid: "u".into(),
        };
        let expected = Expected {
            run: &run,
            pod: RunPod::Harness,
            source_secret: "production",
            built: &serde_json::from_value(pod()).unwrap(),
        };
        inspect(
            &serde_json::from_value(live).unwrap(),
            &serde_json::from_value::<Vec<Service>>(services).unwrap(),
            &serde_json::from_value::<Vec<NetworkPolicy>>(policies).unwrap(),
            expected,
        )
    }

    fn with(pointer: &str, value: Value) -> Value {
        let mut pod = pod();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match pod.pointer_mut(parent).unwrap() {
            Value::Array(all) if key == "-" => all.push(value),
            Value::Array(all) => all[key.parse::<usize>().unwrap()] = value,
            parent => parent[key] = value,
        }
        pod
    }

    #[test]
    fn a_confined_pod_is_described() {
        let found = look(pod(), json!([]), policies());
        let keys = ["harness", "inputs", "observer"].map(|c| format!("credentials/token-{c}"));
        assert_eq!(found.secrets, keys.into());
        assert_eq!(found.modes, Vec::<String>::new());
        assert_eq!(found.violations, Vec::<String>::new());
        assert_eq!(
            found.images["harness"],
            ("python:3".to_owned(), "sha256:1".to_owned())
        );
    }

    #[test]
    fn every_way_out_of_the_pod_is_found() {
        let harness = "/spec/containers/0";
        let at = |tail: &str| format!("{harness}/{tail}");
        let cases = [
            (
                "harness: volumeMounts is not as built",
                at("volumeMounts/5/readOnly"),
                json!(false),
            ),
            (
                "inputs: volumeMounts is not as built",
                "/spec/initContainers/1/volumeMounts/2/readOnly".into(),
                json!(false),
            ),
            (
                "harness: volumeMounts is not as built",
                at("volumeMounts/4/subPath"),
                Value::Null,
            ),
            (
                "harness: image is not as built",
                at("image"),
                json!("python:3@sha256:other"),
            ),
            (
                "harness: command is not as built",
                at("command"),
                json!(["sh"]),
            ),
            (
                "harness: args is not as built",
                at("args"),
                json!(["--quietly"]),
            ),
            (
                "harness: env is not as built",
                at("env"),
                json!([{"name": "LD_PRELOAD", "value": "/tmp/x"}]),
            ),
            (
                "harness: envFrom is not as built",
                at("envFrom"),
                json!([{"configMapRef": {"name": "proxies"}}]),
            ),
            (
                "harness: lifecycle is not as built",
                at("lifecycle"),
                json!({"postStart": {"exec": {"command": ["sh"]}}}),
            ),
            (
                "harness: ports is not as built",
                at("ports"),
                json!([{"containerPort": 1, "hostPort": 1}]),
            ),
            (
                "harness: securityContext is not as built",
                at("securityContext/runAsUser"),
                json!(10_003),
            ),
            (
                "mesh was added to containers",
                "/spec/containers/-".into(),
                json!({"name": "mesh"}),
            ),
            (
                "mesh was added to initContainers",
                "/spec/initContainers/-".into(),
                json!({"name": "mesh"}),
            ),
            (
                "install is missing in initContainers",
                "/spec/initContainers/2".into(),
                json!({"name": "inputs-2"}),
            ),
            (
                "scratch: emptyDir is not as built",
                "/spec/volumes/4".into(),
                json!({"name": "scratch", "configMap": {"name": "other"}}),
            ),
            (
                "hostAliases is not as built",
                "/spec/hostAliases".into(),
                json!([{"ip": "192.0.2.1", "hostnames": ["db"]}]),
            ),
            (
                "securityContext is not as built",
                "/spec/securityContext".into(),
                json!({"supplementalGroups": [0]}),
            ),
            (
                "harness: volumeDevices is not as built",
                at("volumeDevices"),
                json!([{"name": "data", "devicePath": "/dev/x"}]),
            ),
            (
                "it may run as root",
                at("securityContext/runAsUser"),
                json!(0),
            ),
            (
                "its root filesystem can be written",
                at("securityContext/readOnlyRootFilesystem"),
                json!(false),
            ),
            ("privileged", at("securityContext/privileged"), json!(true)),
            (
                "capabilities",
                at("securityContext/capabilities"),
                Value::Null,
            ),
            (
                "API token",
                "/spec/automountServiceAccountToken".into(),
                Value::Null,
            ),
            ("hostNetwork", "/spec/hostNetwork".into(), json!(true)),
            ("hostPID", "/spec/hostPID".into(), json!(true)),
            (
                "ephemeralContainers is not as built",
                "/spec/ephemeralContainers".into(),
                json!([{"name": "debugger"}]),
            ),
            (
                "activeDeadlineSeconds is not as built",
                "/spec/activeDeadlineSeconds".into(),
                Value::Null,
            ),
            (
                "host was added to volumes",
                "/spec/volumes/-".into(),
                json!({"name": "host", "hostPath": {"path": "/"}}),
            ),
        ];
        for (told, pointer, value) in cases {
            let found = look(with(&pointer, value), json!([]), policies()).violations;
            assert!(
                found.iter().any(|found| found.contains(told)),
                "{told}: {found:?}"
            );
        }
        let mut swapped = pod();
        swapped["spec"]["initContainers"]
            .as_array_mut()
            .unwrap()
            .swap(0, 1);
        let found = look(swapped, json!([]), policies()).violations;
        assert_eq!(found, ["initContainers are in another order than built"]);
    }

    /// Defaults of the apiserver, and what places a pod.
    #[test]
    fn what_kubernetes_fills_in_is_no_difference() {
        let mut live = pod();
        for list in ["initContainers", "containers"] {
            for container in live["spec"][list].as_array_mut().unwrap() {
                container["imagePullPolicy"] = json!("IfNotPresent");
                container["terminationMessagePath"] = json!("/dev/termination-log");
                container["terminationMessagePolicy"] = json!("File");
                container["resources"] = json!({"limits": {"memory": "1Gi"}});
            }
        }
        for (field, value) in [
            ("nodeName", json!("n1")),
            ("schedulerName", json!("default-scheduler")),
            ("serviceAccountName", json!("default")),
            (
                "tolerations",
                json!([{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}]),
            ),
            ("priority", json!(0)),
        ] {
            live["spec"][field] = value;
        }
        let found = look(live, json!([]), policies()).violations;
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn everything_that_opens_the_pod_is_found() {
        let hole = |spec: Value| {
            let mut all = policies();
            all.as_array_mut()
                .unwrap()
                .push(json!({"metadata": {"name": "hole"}, "spec": spec}));
            all
        };
        let (told, none) = ("NetworkPolicy hole selects this pod", json!([]));
        let cases = [
            (
                "Service db selects it",
                pod(),
                json!([{"metadata": {"name": "db"}, "spec": {"selector": {"dryrun.dev/role": "harness"}}}]),
                policies(),
            ),
            (
                told,
                pod(),
                none.clone(),
                hole(json!({"podSelector": {}, "egress": [{}]})),
            ),
            (
                told,
                pod(),
                none.clone(),
                hole(
                    json!({"podSelector": {"matchExpressions": [{"key": "dryrun.dev/role", "operator": "Unknown"}]}, "egress": [{}]}),
                ),
            ),
            (
                "NetworkPolicy demo-copy-egress does not select it",
                with("/metadata/labels", json!({})),
                none.clone(),
                policies(),
            ),
            ("no deny-all", pod(), none.clone(), json!([policies()[1]])),
        ];
        for (told, pod, services, policies) in cases {
            let found = look(pod, services, policies).violations;
            assert!(
                found.len() == 1 && found[0].contains(told),
                "{told}: {found:?}"
            );
        }
        let other = json!({"podSelector": {"matchExpressions": [{"key": "dryrun.dev/role", "operator": "NotIn", "values": ["harness"]}]}, "egress": [{}]});
        assert!(look(pod(), none, hole(other)).violations.is_empty());
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
        let told = "harness: env is not as built";
        assert!(found.violations.iter().any(|found| found == told));
    }
}
