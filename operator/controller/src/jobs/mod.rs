//! Work that takes longer than an API call: it runs beside the reconciler, and its end wakes the
//! reconciler.

pub(crate) mod leaks;
mod scope;
mod supervisor;

pub use scope::{Access, AgentAddress, AgentRequest, PodAccess, PortForward, Scope};
pub(crate) use supervisor::Supervisor;

use dryrun_core::commands::{Job, JobResult};
use dryrun_core::problem::Problem;
use jiff::Timestamp;
use rand::distr::{Alphanumeric, SampleString};
use std::time::Duration;

use crate::commands;
use crate::error::call;

/// Runs a job to its end. What may go away by itself is tried again, ever more slowly, until the
/// job's deadline.
pub(crate) async fn run(job: Job, scope: Scope) -> JobResult {
    let mut pause = Duration::from_millis(20);
    loop {
        let left = scope.deadline.duration_since(Timestamp::now());
        let Ok(left) = Duration::try_from(left) else {
            return Err(Problem::permanent(
                "DeadlineExceeded",
                format!("{} did not end in time", job.command().id()),
            ));
        };
        match tokio::time::timeout(left, commands::attempt(job, &scope)).await {
            Ok(Ok(finding)) => return Ok(finding),
            Ok(Err(error)) if !error.retry => return Err(error),
            Ok(Err(error))
                if scope.deadline.duration_since(Timestamp::now())
                    < pause.try_into().unwrap_or_default() =>
            {
                return Err(error);
            }
            Ok(Err(error)) => {
                tracing::debug!(?job, %error, "trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(longest_pause(&error.reason));
            }
            Err(_) => {
                return Err(Problem::permanent(
                    "DeadlineExceeded",
                    format!("{} did not end in time", job.command().id()),
                ));
            }
        }
    }
}

/// A program that is just starting in a pod answers within moments, and asking it costs little;
/// anything else is left alone for longer.
fn longest_pause(reason: &str) -> Duration {
    match reason {
        "CopyUnreachable" | "AgentUnreachable" => Duration::from_millis(200),
        _ => Duration::from_secs(5),
    }
}

/// A word that was never said before.
pub(crate) fn nonce() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), 16)
}

/// One reading of the cluster, under the deadline of a single call: that of the job is far longer,
/// and a lost answer is soon asked for again.
pub(crate) async fn read<T>(
    reason: &str,
    what: &str,
    reading: impl Future<Output = kube::Result<T>> + Send,
) -> Result<T, Problem> {
    call(format!("read {what}"), reading)
        .await
        .map_err(|e| Problem::transient(reason, &e))
}

/// An agent answered with the result of another task.
pub(crate) fn confused() -> Problem {
    Problem::permanent(
        "InvalidAnswer",
        "the agent answered another task than it was given",
    )
}

/// Whole milliseconds, as tasks have durations.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
