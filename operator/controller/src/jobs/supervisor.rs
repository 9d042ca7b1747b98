//! Running jobs, and the findings of those that ended.

use dryrun_core::commands::{Job, JobResult};
use dryrun_core::problem::Problem;
use dryrun_core::run::id::RunRef;
use futures::FutureExt;
use futures::channel::mpsc;
use kube::runtime::reflector::ObjectRef;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::Scope;
use crate::context::Watched;

/// Searches for credentials at a time: an automaton over all forms of all credentials takes some
/// megabytes.
const SCANNERS: usize = 2;

/// Runs jobs, at most one of a kind for a run.
#[derive(Clone)]
pub(crate) struct Supervisor {
    /// Turns of searches for credentials, which all runs share.
    pub(crate) scanners: Arc<Semaphore>,
    jobs: Arc<Mutex<BTreeMap<(RunRef, Job), State>>>,
    ended: mpsc::UnboundedSender<ObjectRef<Watched>>,
}

enum State {
    Running(AbortHandle),
    Ended(JobResult),
}

impl Supervisor {
    /// A supervisor, and the stream of runs of which a job has ended.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<ObjectRef<Watched>>) {
        let (ended, stream) = mpsc::unbounded();
        (
            Self {
                scanners: Arc::new(Semaphore::new(SCANNERS)),
                jobs: Arc::default(),
                ended,
            },
            stream,
        )
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<(RunRef, Job), State>> {
        // A panic of another thread leaves the map whole: every change of it is one insert or
        // remove.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a job, unless it is at work or its finding waits to be taken.
    pub(crate) fn start(&self, job: Job, scope: Scope) {
        self.spawn(scope.run.clone(), job, super::run(job, scope));
    }

    fn spawn(&self, run: RunRef, job: Job, work: impl Future<Output = JobResult> + Send + 'static) {
        let key = (run, job);
        let mut jobs = self.jobs();
        if jobs.contains_key(&key) {
            return;
        }
        let task = tokio::spawn({
            let (supervisor, key) = (self.clone(), key.clone());
            async move {
                let RunRef {
                    namespace,
                    name,
                    uid,
                    ..
                } = &key.0;
                tracing::debug!(run = uid, ?job, "job begins");
                // A job owns its whole state, so that a panic leaves nothing half done that others
                // see.
                let result = AssertUnwindSafe(work).catch_unwind().await;
                let result = result.unwrap_or_else(|_| Err(panicked()));
                if let Err(error) = &result {
                    tracing::warn!(run = uid, ?job, %error, "job failed");
                }
                let object = ObjectRef::new(name).within(namespace);
                supervisor.end(&key, result);
                // Fails only when the controller is gone, and then nothing waits for it.
                let _ = supervisor.ended.unbounded_send(object);
            }
        });
        // The job cannot have ended yet: it needs the lock that is held here to say so.
        jobs.insert(key, State::Running(task.abort_handle()));
    }

    /// Keeps what the job of this very task has found, unless it was ended meanwhile.
    fn end(&self, key: &(RunRef, Job), result: JobResult) {
        let task = tokio::task::id();
        let mut jobs = self.jobs();
        let state = jobs.get_mut(key);
        if let Some(state) =
            state.filter(|s| matches!(s, State::Running(handle) if handle.id() == task))
        {
            *state = State::Ended(result);
        }
    }

    /// Jobs of a run that are at work.
    pub(crate) fn running(&self, uid: &str) -> BTreeSet<Job> {
        self.jobs()
            .iter()
            .filter(|((run, _), state)| run.uid == uid && matches!(state, State::Running(_)))
            .map(|((_, job), _)| *job)
            .collect()
    }

    /// Returns the findings of a run's ended jobs. They stay until [`Supervisor::taken`]: only a
    /// finding that was written down may be forgotten.
    pub(crate) fn findings(&self, uid: &str) -> Vec<(Job, JobResult)> {
        self.jobs()
            .iter()
            .filter_map(|((run, job), state)| match state {
                State::Ended(result) if run.uid == uid => Some((*job, result.clone())),
                State::Ended(_) | State::Running(_) => None,
            })
            .collect()
    }

    /// Forgets findings that were written down.
    pub(crate) fn taken(&self, uid: &str, jobs: impl IntoIterator<Item = Job>) {
        let jobs: BTreeSet<Job> = jobs.into_iter().collect();
        self.end_where(|run, job| run.uid == uid && jobs.contains(&job));
    }

    /// Ends jobs of a run and forgets them.
    pub(crate) fn cancel(&self, uid: &str, which: impl Fn(Job) -> bool) {
        self.end_where(|run, job| run.uid == uid && which(job));
    }

    /// Ends all jobs of these runs and forgets them.
    pub(crate) fn forget(&self, which: impl Fn(&RunRef) -> bool) {
        self.end_where(|run, _| which(run));
    }

    fn end_where(&self, ends: impl Fn(&RunRef, Job) -> bool) {
        self.jobs().retain(|(run, job), state| {
            let ends = ends(run, *job);
            if let (true, State::Running(handle)) = (ends, &*state) {
                handle.abort();
            }
            !ends
        });
    }
}

/// Returns the problem of a job that panicked: the panic's message and place are on standard error.
fn panicked() -> Problem {
    let message = "a defect of the operator ended its work: its log says where";
    Problem::permanent("OperatorFailed", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;
    use std::future::pending;

    fn run(name: &str, uid: &str) -> RunRef {
        RunRef {
            namespace: "rehearsal".into(),
            name: name.into(),
            uid: uid.into(),
        }
    }

    #[tokio::test]
    async fn a_job_that_panics_has_failed_and_is_not_running_for_ever() {
        let (supervisor, mut ended) = Supervisor::new();
        supervisor.spawn(run("a", "1"), Job::Verify, async { panic!("on purpose") });
        assert_eq!(ended.next().await.unwrap().name, "a");
        assert!(supervisor.running("1").is_empty());
        assert!(matches!(
            &*supervisor.findings("1"),
            [(Job::Verify, Err(error))] if error.reason == "OperatorFailed"
        ));
        supervisor.taken("1", [Job::Verify]);
        assert!(supervisor.findings("1").is_empty());
    }

    #[tokio::test]
    async fn what_is_forgotten_is_ended_and_no_other() {
        let (supervisor, _ended) = Supervisor::new();
        let (held, dropped) = tokio::sync::oneshot::channel::<()>();
        let mut held = Some(held);
        for run in [run("a", "1"), run("a", "2"), run("b", "3")] {
            let held = held.take();
            supervisor.spawn(run, Job::WatchProtected, async move {
                let _held = held;
                pending().await
            });
        }
        supervisor.forget(|run| run.name == "a" && run.uid != "2");
        // The job is gone, and with it what it held.
        assert!(dropped.await.is_err());
        assert!(supervisor.running("1").is_empty());
        for uid in ["2", "3"] {
            assert_eq!(supervisor.running(uid).len(), 1);
        }
    }
}
