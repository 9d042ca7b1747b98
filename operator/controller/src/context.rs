//! The state that all passes share.

use dryrun_core::api::DryRun;
use dryrun_core::commands::Facts;
use dryrun_core::run::id::MANAGER;
use dryrun_core::run::id::RunRef;
use futures::channel::mpsc::UnboundedReceiver;
use kube::Client;
use kube::core::PartialObjectMeta;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

use crate::admission_policies::AdmissionPolicies;
use crate::jobs::{PodAccess, Supervisor};
use crate::pinned_operator::PinnedOperator;

/// A DryRun as it is watched: all of them are held, so only by their metadata. A pass reads its
/// own.
pub type Watched = PartialObjectMeta<DryRun>;

/// Configuration of the operator, constant while the process lives.
pub struct Settings {
    /// Image and probes namespace that plans of new runs pin.
    pub operator: PinnedOperator,
    /// Namespaces that are prepared for runs; the operator has rights in no other.
    pub namespaces: Vec<String>,
    /// Secrets for each source, beside those that name their source themselves:
    /// `namespace/secret=uri`.
    pub sources: Vec<String>,
    /// The admission policies of the chart.
    pub policies: AdmissionPolicies,
    /// Name of this process in events.
    pub instance: Option<String>,
}

/// State that every pass works with.
pub struct Context {
    pub(crate) client: Client,
    pub(crate) operator: PinnedOperator,
    pub(crate) namespaces: Vec<String>,
    pub(crate) sources: Vec<String>,
    pub(crate) policies: AdmissionPolicies,
    /// Decompressing a matrix takes up to 16 MiB, so it is done for one run at a time.
    pub(crate) matrices: Semaphore,
    pub(crate) access: Arc<dyn PodAccess>,
    pub(crate) jobs: Supervisor,
    pub(crate) recorder: Recorder,
    /// Consecutive errors of each run, and the text of the last one.
    troubles: Mutex<BTreeMap<RunRef, (u32, String)>>,
    /// Facts of runs whose report was deleted; they are stored nowhere else.
    orphans: Mutex<BTreeMap<RunRef, Facts>>,
}

impl Context {
    /// Creates the state, and the stream of DryRuns of which a job has ended.
    pub fn new(
        client: Client,
        settings: Settings,
        access: Arc<dyn PodAccess>,
    ) -> (Arc<Self>, UnboundedReceiver<ObjectRef<Watched>>) {
        let (jobs, ended) = Supervisor::new();
        let reporter = Reporter {
            controller: MANAGER.into(),
            instance: settings.instance,
        };
        let context = Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            operator: settings.operator,
            namespaces: settings.namespaces,
            sources: settings.sources,
            policies: settings.policies,
            matrices: Semaphore::new(1),
            access,
            jobs,
            troubles: Mutex::default(),
            orphans: Mutex::default(),
        };
        (Arc::new(context), ended)
    }

    /// Text of the last error of a run, unless a later pass succeeded.
    pub(crate) fn trouble(&self, run: &RunRef) -> Option<String> {
        let troubles = lock(&self.troubles);
        troubles.get(run).map(|(_, text)| text.clone())
    }

    /// Number of consecutive errors of a run.
    pub(crate) fn failures(&self, run: &RunRef) -> u32 {
        lock(&self.troubles).get(run).map_or(0, |(count, _)| *count)
    }

    /// Counts an error of a run.
    pub(crate) fn failed(&self, run: &RunRef, error: &str) {
        let mut troubles = lock(&self.troubles);
        let (count, text) = troubles.entry(run.clone()).or_default();
        *count += 1;
        *text = error.to_owned();
    }

    /// Forgets the errors of a run: a pass succeeded.
    pub(crate) fn succeeded(&self, run: &RunRef) {
        lock(&self.troubles).remove(run);
    }

    /// Remembered facts of a run without a report.
    pub(crate) fn orphan(&self, run: &RunRef) -> Facts {
        lock(&self.orphans).get(run).cloned().unwrap_or_default()
    }

    /// Remembers the facts of a run without a report, or drops them.
    pub(crate) fn remember(&self, run: &RunRef, facts: Option<&Facts>) {
        let mut orphans = lock(&self.orphans);
        match facts {
            Some(facts) => drop(orphans.insert(run.clone(), facts.clone())),
            None => drop(orphans.remove(run)),
        }
    }

    /// Cancels jobs and drops state of earlier DryRuns with this name, except the one with UID
    /// `but`. A run whose finalizer was removed by hand is never reconciled again.
    pub(crate) fn forget(&self, (namespace, name): (&str, &str), but: Option<&str>) {
        let gone =
            |run: &RunRef| run.namespace == namespace && run.name == name && but != Some(&*run.uid);
        self.jobs.forget(gone);
        lock(&self.troubles).retain(|run, _| !gone(run));
        lock(&self.orphans).retain(|run, _| !gone(run));
    }
}

/// Locks a map. A panic of another thread leaves it whole: every change is one insert or remove.
fn lock<T>(memory: &Mutex<T>) -> MutexGuard<'_, T> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}
