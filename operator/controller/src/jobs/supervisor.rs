//! Which jobs are at work, and what those that ended have found.

use dryrun_core::step::{Finding, Job};
use futures::channel::mpsc;
use kube::runtime::reflector::ObjectRef;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::AbortHandle;

use super::Scope;
use crate::controller::Watched;

/// Runs jobs, at most one of a kind for a run.
#[derive(Clone)]
pub(crate) struct Supervisor {
    jobs: Arc<Mutex<BTreeMap<(String, Job), State>>>,
    ended: mpsc::UnboundedSender<ObjectRef<Watched>>,
}

enum State {
    Running(AbortHandle),
    Ended(Box<Finding>),
}

impl Supervisor {
    /// A supervisor, and the stream of runs of which a job has ended.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<ObjectRef<Watched>>) {
        let (ended, stream) = mpsc::unbounded();
        (
            Self {
                jobs: Arc::default(),
                ended,
            },
            stream,
        )
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<(String, Job), State>> {
        // A panic of another thread leaves the map whole: every change of it is one insert or remove.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a job, unless it is at work or its finding waits to be taken.
    pub(crate) fn start(&self, job: Job, scope: Scope) {
        let key = (scope.uid.clone(), job);
        let mut jobs = self.jobs();
        if jobs.contains_key(&key) {
            return;
        }
        let supervisor = self.clone();
        let object = ObjectRef::new(&scope.name).within(&scope.namespace);
        let task = tokio::spawn({
            let key = key.clone();
            async move {
                tracing::debug!(run = scope.uid, ?job, "job begins");
                let finding = super::run(job, scope).await;
                if let Finding::Failed(error) = &finding {
                    tracing::warn!(run = key.0, ?job, %error, "job failed");
                }
                supervisor
                    .jobs()
                    .insert(key, State::Ended(Box::new(finding)));
                // Fails only when the controller is gone, and then nobody waits for it.
                let _ = supervisor.ended.unbounded_send(object);
            }
        });
        // The job cannot have ended yet: it needs the lock that is held here to say so.
        jobs.insert(key, State::Running(task.abort_handle()));
    }

    /// Jobs of a run that are at work.
    pub(crate) fn running(&self, uid: &str) -> BTreeSet<Job> {
        self.jobs()
            .iter()
            .filter(|((run, _), state)| run == uid && matches!(state, State::Running(_)))
            .map(|((_, job), _)| *job)
            .collect()
    }

    /// What ended jobs of a run have found. They stay until [`Supervisor::taken`]: only a finding that was written down may be forgotten.
    pub(crate) fn findings(&self, uid: &str) -> Vec<(Job, Finding)> {
        self.jobs()
            .iter()
            .filter_map(|((run, job), state)| match state {
                State::Ended(finding) if run == uid => Some((*job, finding.as_ref().clone())),
                State::Ended(_) | State::Running(_) => None,
            })
            .collect()
    }

    /// Forgets findings that were written down.
    pub(crate) fn taken(&self, uid: &str, jobs: impl IntoIterator<Item = Job>) {
        let mut all = self.jobs();
        for job in jobs {
            all.remove(&(uid.to_owned(), job));
        }
    }

    /// Ends jobs of a run and forgets them.
    pub(crate) fn cancel(&self, uid: &str, which: impl Fn(Job) -> bool) {
        self.jobs().retain(|(run, job), state| {
            let ends = run == uid && which(*job);
            if let (true, State::Running(handle)) = (ends, &*state) {
                handle.abort();
            }
            !ends
        });
    }
}
