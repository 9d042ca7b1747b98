//! The protected workloads: as C-01 records them, the watch over them until the last look, and that
//! look in C-13.

use dryrun_core::api::ProtectedWorkloads;
use dryrun_core::problem::Problem;
use dryrun_core::run::facts::{ContainerFingerprint, PodFingerprint, protected_changes};
use futures::stream::{BoxStream, SelectAll};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::error::call;
use crate::jobs::Scope;
use crate::watching;

/// Time for which the watch still listens after a change: what goes is often followed by what
/// comes.
const AFTERMATH: Duration = Duration::from_secs(1);

type Key = (String, String);

/// Listens until a protected workload restarts, is replaced, comes or goes, and says what happened.
///
/// Each stream begins with a complete list: changes before it show in container IDs.
pub(super) async fn watch(scope: &Scope) -> Result<Vec<String>, Problem> {
    let recorded = scope
        .facts
        .preflight
        .as_ref()
        .map(|preflight| preflight.protected.clone())
        .unwrap_or_default();
    let mut watch = Watch::new(&recorded, scope.spec.protected.len());
    let mut events: Events = scope
        .spec
        .protected
        .iter()
        .enumerate()
        .map(|(stream, workloads)| {
            let api: Api<Pod> = Api::namespaced(scope.client.clone(), &workloads.namespace);
            let config = watching().labels(&selector(workloads));
            let events = watcher(api, config).default_backoff();
            events.map_ok(move |event| (stream, event)).boxed()
        })
        .collect();
    while let Some((stream, event)) = next(&mut events).await? {
        watch.take(stream, event);
        if !watch.changes.is_empty() {
            break;
        }
    }
    let aftermath = async {
        while let Some((stream, event)) = next(&mut events).await? {
            watch.take(stream, event);
        }
        Ok::<_, Problem>(())
    };
    // The changes so far are returned, also after an error or a timeout.
    let _ = tokio::time::timeout(AFTERMATH, aftermath).await;
    Ok(watch.changes.into_values().collect())
}

/// An event, and the number of its stream.
type Event = (usize, watcher::Event<Pod>);
type Events = SelectAll<BoxStream<'static, watcher::Result<Event>>>;

/// The next event. A watch that breaks is taken up again by its stream; one that is refused is not.
async fn next(events: &mut Events) -> Result<Option<Event>, Problem> {
    loop {
        match events.try_next().await {
            Ok(event) => return Ok(event),
            Err(
                watcher::Error::InitialListFailed(kube::Error::Api(status))
                | watcher::Error::WatchStartFailed(kube::Error::Api(status)),
            ) if status.is_forbidden() => {
                return Err(Problem::permanent("Forbidden", status.message.clone()));
            }
            Err(error) => {
                tracing::debug!(error = %Problem::transient("WatchInterrupted", error), "watch interrupted");
            }
        }
    }
}

struct Watch {
    recorded: BTreeMap<Key, PodFingerprint>,
    /// Pods of each stream: since the begin of its last list.
    seen: BTreeMap<usize, BTreeSet<Key>>,
    /// Streams whose list is not complete yet. A watch that was taken up again may list once more.
    listing: BTreeSet<usize>,
    changes: BTreeMap<Key, String>,
}

impl Watch {
    fn new(recorded: &[PodFingerprint], streams: usize) -> Self {
        Self {
            recorded: by_name(recorded),
            seen: BTreeMap::new(),
            listing: (0..streams).collect(),
            changes: BTreeMap::new(),
        }
    }

    fn take(&mut self, stream: usize, event: watcher::Event<Pod>) {
        match event {
            watcher::Event::Init => {
                self.seen.remove(&stream);
                self.listing.insert(stream);
            }
            watcher::Event::InitApply(pod) | watcher::Event::Apply(pod) => self.pod(stream, &pod),
            watcher::Event::InitDone => {
                self.listing.remove(&stream);
                if self.listing.is_empty() {
                    self.miss();
                }
            }
            watcher::Event::Delete(pod) => self.change(key(&pod), "is gone"),
        }
    }

    /// Notes the recorded pods that no list had.
    fn miss(&mut self) {
        let seen: BTreeSet<&Key> = self.seen.values().flatten().collect();
        let missing = self.recorded.keys().filter(|key| !seen.contains(key));
        let gone: Vec<Key> = missing.cloned().collect();
        gone.into_iter().for_each(|key| self.change(key, "is gone"));
    }

    fn pod(&mut self, stream: usize, pod: &Pod) {
        let key = key(pod);
        if pod.metadata.deletion_timestamp.is_some() {
            self.change(key, "is gone");
            return;
        }
        let now = fingerprint(pod);
        let before: Vec<PodFingerprint> = self.recorded.get(&key).cloned().into_iter().collect();
        let told = protected_changes(&before, std::slice::from_ref(&now));
        if let Some(change) = told.into_iter().next() {
            self.changes.insert(key.clone(), change);
        }
        self.seen.entry(stream).or_default().insert(key);
    }

    fn change(&mut self, key: Key, what: &str) {
        let told = format!("{}/{} {what}", key.0, key.1);
        self.changes.insert(key, told);
    }
}

fn key(pod: &Pod) -> Key {
    (pod.namespace().unwrap_or_default(), pod.name_any())
}

fn by_name(pods: &[PodFingerprint]) -> BTreeMap<Key, PodFingerprint> {
    pods.iter()
        .map(|pod| ((pod.namespace.clone(), pod.name.clone()), pod.clone()))
        .collect()
}

/// The label selector of protected workloads, as the API takes it.
fn selector(workloads: &ProtectedWorkloads) -> String {
    let pairs = workloads.selector.iter();
    pairs
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}

/// One look at the protected workloads.
#[derive(Default)]
pub(super) struct Protected {
    pub(super) pods: Vec<PodFingerprint>,
    /// Selectors that match nothing: a mistake before the run, a finding after it.
    pub(super) unmatched: Vec<String>,
    /// Reasons why some may not be read.
    pub(super) errors: Vec<String>,
}

/// The protected workloads as they are. Only a missing right is a finding: it stays until a user
/// grants it.
pub(super) async fn look(scope: &Scope) -> Result<Protected, Problem> {
    let mut look = Protected::default();
    for workloads in &scope.spec.protected {
        let selector = selector(workloads);
        let api: Api<Pod> = Api::namespaced(scope.client.clone(), &workloads.namespace);
        let params = ListParams::default().labels(&selector);
        match call("list protected pods", api.list(&params)).await {
            Ok(found) if found.items.is_empty() => look.unmatched.push(format!(
                "{selector} matches no pod in {}",
                workloads.namespace
            )),
            Ok(found) => look.pods.extend(found.items.iter().map(fingerprint)),
            Err(error) if error.is_forbidden() => look.errors.push(format!(
                "pods in {} cannot be read: {error}",
                workloads.namespace
            )),
            Err(error) => return Err(Problem::transient("ProtectedUnreadable", error)),
        }
    }
    look.pods.sort();
    look.pods.dedup();
    Ok(look)
}

/// A pod as it stands.
pub(super) fn fingerprint(pod: &Pod) -> PodFingerprint {
    let status = pod.status.clone().unwrap_or_default();
    let all = status
        .container_statuses
        .iter()
        .flatten()
        .chain(status.init_container_statuses.iter().flatten());
    let containers: BTreeMap<String, ContainerFingerprint> = all
        .map(|container| {
            let started = container
                .state
                .as_ref()
                .and_then(|state| state.running.as_ref())
                .and_then(|running| running.started_at.as_ref());
            let fingerprint = ContainerFingerprint {
                container_id: container.container_id.clone().unwrap_or_default(),
                image_id: container.image_id.clone(),
                started_at: started.map(|time| time.0.to_string()).unwrap_or_default(),
                restarts: container.restart_count,
            };
            (container.name.clone(), fingerprint)
        })
        .collect();
    PodFingerprint {
        namespace: pod.namespace().unwrap_or_default(),
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        containers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::runtime::watcher::Event::{Init, InitApply, InitDone};

    fn pod(name: &str) -> Pod {
        let metadata = serde_json::json!({"name": name, "namespace": "shop", "uid": name});
        serde_json::from_value(serde_json::json!({"metadata": metadata})).unwrap()
    }

    #[test]
    fn a_stream_that_lists_twice_does_not_speak_for_another() {
        let mut watch = Watch::new(&[fingerprint(&pod("a")), fingerprint(&pod("b"))], 2);
        for _ in 0..2 {
            for event in [Init, InitApply(pod("a")), InitDone] {
                watch.take(0, event);
            }
        }
        assert!(watch.changes.is_empty(), "nobody has told of b yet");
        for event in [Init, InitApply(pod("b")), InitDone] {
            watch.take(1, event);
        }
        assert!(watch.changes.is_empty());
        for event in [Init, InitDone] {
            watch.take(1, event);
        }
        let told: Vec<&String> = watch.changes.values().collect();
        assert_eq!(told, ["shop/b is gone"]);
    }
}
