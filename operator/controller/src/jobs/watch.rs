//! The watch over the protected workloads, from before the first create until the last look.

use dryrun_core::control::TaskError;
use dryrun_core::facts::PodFingerprint;
use dryrun_core::gate;
use futures::stream::{BoxStream, SelectAll};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::{fingerprint, selector};
use super::{Scope, permanent, transient};

/// How long more is listened when something has happened: what goes is often followed by what comes.
const AFTERMATH: Duration = Duration::from_secs(1);

type Key = (String, String);

/// Listens until a protected workload restarts, is replaced, comes or goes, and says what happened.
///
/// The first thing that each stream tells is all that there is: what happened while nobody watched is seen by container IDs.
pub(super) async fn protected(scope: &Scope) -> Result<Vec<String>, TaskError> {
    let recorded = scope
        .facts
        .preflight
        .as_ref()
        .map(|preflight| preflight.protected.clone())
        .unwrap_or_default();
    let mut watch = Watch {
        recorded: by_name(&recorded),
        seen: BTreeMap::new(),
        listing: scope.spec.protected.len(),
        changes: BTreeMap::new(),
    };
    let mut events: Events = scope
        .spec
        .protected
        .iter()
        .map(|workloads| {
            let api: Api<Pod> = Api::namespaced(scope.client.clone(), &workloads.namespace);
            let config = watcher::Config::default().labels(&selector(workloads));
            watcher(api, config).default_backoff().boxed()
        })
        .collect();
    while let Some(event) = next(&mut events).await? {
        watch.take(event);
        if !watch.changes.is_empty() {
            break;
        }
    }
    let aftermath = async {
        while let Some(event) = next(&mut events).await? {
            watch.take(event);
        }
        Ok::<_, TaskError>(())
    };
    // Whatever ends it, what was seen is told.
    let _ = tokio::time::timeout(AFTERMATH, aftermath).await;
    Ok(watch.changes.into_values().collect())
}

type Events = SelectAll<BoxStream<'static, watcher::Result<watcher::Event<Pod>>>>;

/// The next event. A watch that breaks is taken up again by its stream; one that is refused is not.
async fn next(events: &mut Events) -> Result<Option<watcher::Event<Pod>>, TaskError> {
    loop {
        match events.try_next().await {
            Ok(event) => return Ok(event),
            Err(
                watcher::Error::InitialListFailed(kube::Error::Api(status))
                | watcher::Error::WatchStartFailed(kube::Error::Api(status)),
            ) if status.is_forbidden() => {
                return Err(permanent("Forbidden", status.message.clone()));
            }
            Err(error) => {
                tracing::debug!(error = %transient("WatchInterrupted", &error), "watch interrupted");
            }
        }
    }
}

struct Watch {
    recorded: BTreeMap<Key, PodFingerprint>,
    /// Pods of a list that is still being told.
    seen: BTreeMap<Key, PodFingerprint>,
    /// Streams whose first list is not told yet.
    listing: usize,
    changes: BTreeMap<Key, String>,
}

impl Watch {
    fn take(&mut self, event: watcher::Event<Pod>) {
        match event {
            watcher::Event::Init => {}
            watcher::Event::InitApply(pod) | watcher::Event::Apply(pod) => self.pod(&pod),
            watcher::Event::InitDone => {
                self.listing = self.listing.saturating_sub(1);
                if self.listing == 0 {
                    let gone: Vec<Key> = self
                        .recorded
                        .keys()
                        .filter(|key| !self.seen.contains_key(*key))
                        .cloned()
                        .collect();
                    gone.into_iter().for_each(|key| self.change(key, "is gone"));
                }
            }
            watcher::Event::Delete(pod) => self.change(key(&pod), "is gone"),
        }
    }

    fn pod(&mut self, pod: &Pod) {
        let key = key(pod);
        if pod.metadata.deletion_timestamp.is_some() {
            self.change(key, "is gone");
            return;
        }
        let now = fingerprint(pod);
        let before: Vec<PodFingerprint> = self.recorded.get(&key).cloned().into_iter().collect();
        let told = gate::protected_changes(&before, std::slice::from_ref(&now));
        if let Some(change) = told.into_iter().next() {
            self.changes.insert(key.clone(), change);
        }
        self.seen.insert(key, now);
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
