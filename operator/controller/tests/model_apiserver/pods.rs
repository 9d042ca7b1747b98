//! Scheduler, kubelet, provisioner, garbage collector and namespace controller, as far as a run
//! needs them.
//!
//! They act at once on every change, so that a whole run can be walked without waiting. What a test
//! wants to look at while it lasts is held: pods that do not start, pods that do not end, volumes
//! that do not come.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

use super::store::{Key, Preconditions, Refusal, Store};

/// Annotation that the scheduler puts on a claim whose volume is to be made on a node.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const CLAIM_FINALIZER: &str = "kubernetes.io/pvc-protection";

/// The simulated controllers.
#[derive(Default)]
pub struct Pods {
    /// Init containers that run until [`Pods::finish`]; all others end by themselves.
    pub waiting: BTreeSet<String>,
    /// Names of pods that are not started.
    pub unstarted: BTreeSet<String>,
    /// Names of pods that do not end although they are deleted.
    pub undying: BTreeSet<String>,
    /// Names of pods to which a webhook adds a container.
    pub meshed: BTreeSet<String>,
    /// Claims get no volume.
    pub unprovisioned: bool,
    /// Containers that have ended, by pod UID and name, with their exit codes.
    ended: BTreeMap<(String, String), i64>,
    addresses: u8,
    /// Changes up to this version were seen.
    seen: u64,
}

impl Pods {
    /// Acts on all changes since the last time, and on those that follow from that.
    pub(super) fn react(&mut self, store: &mut Store) {
        loop {
            let changes = store.changes_after(self.seen).to_vec();
            self.seen = store.version();
            if changes.is_empty() {
                return;
            }
            for change in changes {
                let removed = change.new.is_none();
                match change.key.plural.as_str() {
                    "pods" => self.pod(store, &change.key),
                    "persistentvolumeclaims" => self.claim(store, &change.key),
                    "namespaces" => namespace(store, &change.key.name),
                    _ => {}
                }
                if removed {
                    let old = change.old.as_deref().unwrap_or(&Value::Null);
                    self.removed(store, &change.key, old);
                }
            }
        }
    }

    /// Ends a container of a pod.
    pub fn finish(&mut self, store: &mut Store, key: &Key, container: &str, code: i64) {
        let Some(pod) = store.read(key) else {
            return;
        };
        let uid = pod["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        self.ended.insert((uid, container.to_owned()), code);
        self.pod(store, key);
    }

    /// Makes the volume of a claim that waits for it.
    pub fn provision(&mut self, store: &mut Store, claim: &Key) {
        let node = store
            .read(claim)
            .map(|claim| claim["metadata"]["annotations"][SELECTED_NODE].clone());
        if node.is_some_and(|node| node.is_string()) {
            self.bind(store, claim);
        }
    }

    /// A container's log.
    pub(super) fn log(&self, store: &Store, key: &Key, container: &str) -> Result<String, Refusal> {
        let pod = store.read(key);
        let pod = pod.ok_or_else(|| Refusal::new(404, "NotFound", "pod not found"))?;
        let statuses = ["containerStatuses", "initContainerStatuses"];
        let mut all = statuses
            .iter()
            .flat_map(|list| items(&pod["status"][*list]));
        match all.find(|status| status["name"] == container) {
            Some(status) if status["containerID"].is_string() => Ok("ready\n".into()),
            _ => Err(Refusal::new(
                400,
                "BadRequest",
                "container is waiting to start",
            )),
        }
    }

    fn pod(&mut self, store: &mut Store, key: &Key) {
        let Some(pod) = store.read(key).cloned() else {
            return;
        };
        if pod["metadata"]["deletionTimestamp"].is_string() {
            let finalizers = !items(&pod["metadata"]["finalizers"]).is_empty();
            if !self.undying.contains(&key.name) && !finalizers {
                store.remove(key);
            }
            return;
        }
        if self.meshed.remove(&key.name) {
            store.change(key, |pod| {
                let containers = pod["spec"]["containers"].as_array_mut();
                let mesh = json!({"name": "mesh", "image": "mesh:1"});
                containers
                    .into_iter()
                    .for_each(|all| all.push(mesh.clone()));
            });
            return;
        }
        // A pod that a test has put in place with its status is none of the simulation's.
        let made = pod["status"]["phase"] == "Pending" || pod["status"]["hostIP"] == HOST;
        let nowhere = pod["spec"]["nodeSelector"].is_object();
        if self.unstarted.contains(&key.name) || !made || nowhere {
            return;
        }
        if pod["spec"]["nodeName"].is_null() {
            let node = node_of(&pod);
            store.change(key, |pod| pod["spec"]["nodeName"] = json!(node));
            for claim in claims_of(&pod) {
                self.claim(
                    store,
                    &Key::new("persistentvolumeclaims", &key.namespace, &claim),
                );
            }
            return;
        }
        let bound = claims_of(&pod).iter().all(|claim| {
            let claim = store.read(&Key::new("persistentvolumeclaims", &key.namespace, claim));
            claim.is_some_and(|claim| claim["spec"]["volumeName"].is_string())
        });
        if bound {
            let address = match pod["status"]["podIP"].as_str() {
                Some(address) => address.to_owned(),
                None => {
                    self.addresses = self.addresses.wrapping_add(1);
                    format!("10.244.1.{}", self.addresses)
                }
            };
            let status = self.status(&pod, &address);
            store.change(key, |pod| pod["status"] = status);
        }
    }

    fn status(&self, pod: &Value, address: &str) -> Value {
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
        let status = |container: &Value, state: Value| {
            let (name, image) = (&container["name"], &container["image"]);
            let running = state["running"].is_object();
            let id = state["waiting"]
                .is_null()
                .then(|| format!("containerd://{uid}-{}", text(name)));
            json!({
                "name": name, "image": image, "imageID": format!("sha256:{}", text(image)), "containerID": id,
                "ready": running, "started": running, "restartCount": 0, "state": state,
            })
        };
        let ended = |name: &str| self.ended.get(&(uid.to_owned(), name.to_owned())).copied();
        let running = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
        let terminated = |code: i64| {
            let reason = if code == 0 { "Completed" } else { "Error" };
            json!({"terminated": {"exitCode": code, "reason": reason}})
        };
        let mut initialised = true;
        let mut init = Vec::new();
        for container in items(&pod["spec"]["initContainers"]) {
            let name = text(&container["name"]);
            let sidecar = container["restartPolicy"] == "Always";
            let state = if !initialised {
                json!({"waiting": {"reason": "PodInitializing"}})
            } else if sidecar {
                running.clone()
            } else if let Some(code) = ended(name) {
                initialised = code == 0;
                terminated(code)
            } else if self.waiting.contains(name) {
                initialised = false;
                running.clone()
            } else {
                terminated(0)
            };
            init.push(status(container, state));
        }
        let mut codes = Vec::new();
        let mut containers = Vec::new();
        for container in items(&pod["spec"]["containers"]) {
            let state = match ended(text(&container["name"])) {
                _ if !initialised => json!({"waiting": {"reason": "PodInitializing"}}),
                Some(code) => {
                    codes.push(code);
                    terminated(code)
                }
                None => running.clone(),
            };
            containers.push(status(container, state));
        }
        let over = !containers.is_empty() && codes.len() == containers.len();
        let phase = match (initialised, over, codes.iter().all(|code| *code == 0)) {
            (false, ..) => "Pending",
            (true, true, true) => "Succeeded",
            (true, true, false) => "Failed",
            (true, false, _) => "Running",
        };
        json!({
            "phase": phase, "hostIP": HOST, "podIP": address, "podIPs": [{"ip": address}],
            "conditions": [{"type": "PodScheduled", "status": "True"}],
            "initContainerStatuses": init, "containerStatuses": containers,
        })
    }

    fn claim(&mut self, store: &mut Store, key: &Key) {
        let Some(claim) = store.read(key).cloned() else {
            return;
        };
        let user = user_of(store, key);
        if claim["metadata"]["deletionTimestamp"].is_string() {
            if user.is_none() {
                store.change(key, |claim| {
                    let kept = items(&claim["metadata"]["finalizers"]).iter();
                    let kept: Vec<Value> =
                        kept.filter(|f| **f != CLAIM_FINALIZER).cloned().collect();
                    claim["metadata"]["finalizers"] = json!(kept);
                });
                let held = store
                    .read(key)
                    .is_some_and(|claim| !items(&claim["metadata"]["finalizers"]).is_empty());
                if !held {
                    store.remove(key);
                }
            }
            return;
        }
        // Volumes wait for their first consumer.
        let Some((pod, node)) = user.and_then(|pod| {
            let node = store.read(&pod)?["spec"]["nodeName"].as_str()?.to_owned();
            Some((pod, node))
        }) else {
            return;
        };
        if claim["spec"]["volumeName"].is_string() {
            return;
        }
        store.change(key, |claim| {
            claim["metadata"]["annotations"][SELECTED_NODE] = json!(node)
        });
        if self.unprovisioned {
            return;
        }
        self.bind(store, key);
        self.pod(store, &pod);
    }

    /// Binds a claim to a volume that is made for it.
    fn bind(&mut self, store: &mut Store, key: &Key) {
        let Some(claim) = store.read(key).cloned() else {
            return;
        };
        let uid = text(&claim["metadata"]["uid"]);
        let volume = format!("pvc-{uid}");
        store.seed(json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume},
            "spec": {
                "claimRef": {"namespace": key.namespace, "name": key.name, "uid": uid},
                "persistentVolumeReclaimPolicy": "Delete",
            },
            "status": {"phase": "Bound"},
        }));
        store.change(key, |claim| {
            claim["spec"]["volumeName"] = json!(volume);
            claim["status"] = json!({"phase": "Bound"});
        });
    }

    fn removed(&mut self, store: &mut Store, key: &Key, old: &Value) {
        match key.plural.as_str() {
            "pods" => {
                for claim in claims_of(old) {
                    self.claim(
                        store,
                        &Key::new("persistentvolumeclaims", &key.namespace, &claim),
                    );
                }
            }
            "persistentvolumeclaims" => {
                if let Some(volume) = old["spec"]["volumeName"].as_str() {
                    store.remove(&Key::new("persistentvolumes", "", volume));
                }
            }
            _ => {}
        }
        if !key.namespace.is_empty() {
            for dependent in dependents(store, &key.namespace, &old["metadata"]["uid"]) {
                // A user may have been faster.
                let _ = store.delete(&dependent, &Preconditions::default());
            }
            namespace(store, &key.namespace);
        }
    }
}

/// Address of the simulated node.
const HOST: &str = "192.0.2.101";

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The node that a pod is bound to: another one for a pod that had better not be on the first.
fn node_of(pod: &Value) -> &'static str {
    let preferred =
        &pod["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"];
    if items(preferred).is_empty() {
        "n1"
    } else {
        "n2"
    }
}

fn claims_of(pod: &Value) -> Vec<String> {
    let volumes = items(&pod["spec"]["volumes"]).iter();
    volumes
        .filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str())
        .map(str::to_owned)
        .collect()
}

/// A pod that uses a claim.
fn user_of(store: &Store, claim: &Key) -> Option<Key> {
    let mut pods = store.of("pods", &claim.namespace);
    let user = pods.find(|(_, pod)| claims_of(pod).contains(&claim.name));
    user.map(|(key, _)| key.clone())
}

/// The objects of a namespace whose owner had this UID.
fn dependents(store: &Store, namespace: &str, uid: &Value) -> Vec<Key> {
    let kinds = ["pods", "secrets", "configmaps", "persistentvolumeclaims"];
    let all = kinds.iter().flat_map(|plural| store.of(plural, namespace));
    all.filter(|(_, object)| {
        let owners = items(&object["metadata"]["ownerReferences"]);
        !owners.is_empty() && owners.iter().all(|owner| owner["uid"] == *uid)
    })
    .map(|(key, _)| key.clone())
    .collect()
}

/// Empties a namespace that is being deleted, and removes it when it is empty.
fn namespace(store: &mut Store, name: &str) {
    let key = Key::new("namespaces", "", name);
    let Some(found) = store.read(&key) else {
        return;
    };
    if found["status"]["phase"] != "Terminating" {
        return;
    }
    let contents = store.contents(name);
    for content in &contents {
        // What a finalizer holds is asked for once.
        let _ = store.delete(content, &Preconditions::default());
    }
    if contents.is_empty() {
        store.remove(&key);
    }
}
