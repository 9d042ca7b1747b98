//! Tasks by their id: each runs once, however often it is asked for, and again only when it says
//! that it may.

use dryrun_core::problem::Problem;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use dryrun_core::agent_api::protocol::{Task, TaskResult};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

/// The result of a task, when there is one.
type Outcome = watch::Receiver<Option<Arc<TaskResult>>>;

/// All tasks of this agent, with their results: a pod has at most a few hundred.
#[derive(Default)]
pub(crate) struct Registry(Mutex<BTreeMap<String, Known>>);

/// A task that runs or has ended.
struct Known {
    digest: TaskDigest,
    outcome: Outcome,
}

/// Says whether two tasks are the same, without keeping one: a task may hold a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TaskDigest([u8; 32]);

impl TaskDigest {
    /// Takes the digest of a task.
    ///
    /// # Errors
    /// The task cannot be written as JSON.
    pub(crate) fn of(task: &Task) -> serde_json::Result<Self> {
        Ok(Self(Sha256::digest(serde_json::to_vec(task)?).into()))
    }
}

/// Reasons why a task is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Another task is running.
    Busy,
    /// The id belongs to another task.
    Taken,
}

impl Registry {
    /// Waits for the result of the task `id`, which `start` begins unless it runs or has ended
    /// already; one that has ended with a transient failure is begun again. The task continues
    /// without a waiting request.
    pub(crate) async fn run<F>(
        &self,
        id: &str,
        digest: TaskDigest,
        start: impl FnOnce() -> F,
    ) -> Result<Arc<TaskResult>, Refused>
    where
        F: Future<Output = TaskResult> + Send + 'static,
    {
        let mut outcome = self.admit(id, digest, start)?;
        let lost = || {
            Arc::new(TaskResult::Failed(Problem::permanent(
                "AgentFailed",
                "the task ended without a result",
            )))
        };
        Ok(outcome
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|result| result.clone())
            .unwrap_or_else(lost))
    }

    fn admit<F>(
        &self,
        id: &str,
        digest: TaskDigest,
        start: impl FnOnce() -> F,
    ) -> Result<Outcome, Refused>
    where
        F: Future<Output = TaskResult> + Send + 'static,
    {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = tasks.get(id)
            && !may_be_repeated(&known.outcome)
        {
            return if known.digest == digest {
                Ok(known.outcome.clone())
            } else {
                Err(Refused::Taken)
            };
        }
        // A sender that is gone has ended too, without a result.
        if tasks
            .values()
            .any(|known| known.outcome.borrow().is_none() && known.outcome.has_changed().is_ok())
        {
            return Err(Refused::Busy);
        }
        let (sender, outcome) = watch::channel(None);
        let known = Known {
            digest,
            outcome: outcome.clone(),
        };
        tasks.insert(id.to_owned(), known);
        let task = start();
        tokio::spawn(async move { sender.send_replace(Some(Arc::new(task.await))) });
        Ok(outcome)
    }
}

/// Returns true if the task has failed in a way that may be gone the next time, which also says
/// that it has left nothing behind.
fn may_be_repeated(outcome: &Outcome) -> bool {
    matches!(outcome.borrow().as_deref(), Some(TaskResult::Failed(error)) if error.retry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::oneshot;

    fn result(reason: &str) -> TaskResult {
        TaskResult::Failed(Problem::permanent(reason, ""))
    }

    fn task(what: &str) -> TaskDigest {
        TaskDigest(Sha256::digest(what).into())
    }

    #[tokio::test]
    async fn the_same_id_joins_and_repeats_and_another_is_refused_meanwhile() {
        let registry = Registry::default();
        let starts = AtomicU32::new(0);
        let (finish, finished) = oneshot::channel::<()>();
        let start = || {
            starts.fetch_add(1, Ordering::Relaxed);
            async {
                let _ = finished.await;
                result("First")
            }
        };
        let again = || {
            starts.fetch_add(1, Ordering::Relaxed);
            async { result("Second") }
        };
        let (first, joined, refused, ()) = tokio::join!(
            registry.run("a", task("a"), start),
            registry.run("a", task("a"), again),
            registry.run("b", task("b"), again),
            async { finish.send(()).unwrap() }
        );
        let first = first.unwrap();
        assert_eq!(*first, result("First"));
        assert_eq!(joined.unwrap(), first);
        assert_eq!(refused, Err(Refused::Busy));
        assert_eq!(registry.run("a", task("a"), again).await.unwrap(), first);
        assert_eq!(starts.load(Ordering::Relaxed), 1);
        assert_eq!(
            *registry.run("b", task("b"), again).await.unwrap(),
            result("Second")
        );
    }

    #[tokio::test]
    async fn an_id_does_not_answer_for_another_task() {
        let registry = Registry::default();
        let run = |digest| registry.run("a", digest, || async { result("First") });
        run(task("asked")).await.unwrap();
        assert_eq!(run(task("another")).await, Err(Refused::Taken));
        assert_eq!(*run(task("asked")).await.unwrap(), result("First"));
    }

    #[tokio::test]
    async fn what_may_be_gone_the_next_time_is_tried_again() {
        let registry = Registry::default();
        let unreachable = || async { TaskResult::Failed(Problem::transient("ConnectFailed", "")) };
        for _ in 0..2 {
            let failed = registry.run("a", task("a"), unreachable).await.unwrap();
            assert_eq!(*failed, unreachable().await);
        }
        assert_eq!(
            *registry
                .run("a", task("a"), || async { result("Lasts") })
                .await
                .unwrap(),
            result("Lasts")
        );
        let lasting = registry.run("a", task("a"), unreachable).await.unwrap();
        assert_eq!(*lasting, result("Lasts"));
    }

    #[tokio::test]
    async fn a_task_that_panics_is_not_running_for_ever() {
        let registry = Registry::default();
        let panics = || async { panic!("on purpose") };
        assert!(
            matches!(&*registry.run("a", task("a"), panics).await.unwrap(), TaskResult::Failed(error) if error.reason == "AgentFailed")
        );
        assert!(
            registry
                .run("b", task("b"), || async { result("Fine") })
                .await
                .is_ok()
        );
    }
}
