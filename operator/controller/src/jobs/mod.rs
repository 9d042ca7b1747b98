//! Work that takes longer than an API call: it runs beside the reconciler, and its end wakes the reconciler.

#[path = "../commands/dump.rs"]
mod agents;
#[path = "../commands/preflight.rs"]
mod cluster;
#[path = "../commands/verify.rs"]
mod copy;
#[path = "../commands/evidence.rs"]
mod evidence;
mod leaks;
#[path = "../commands/isolation/targets.rs"]
mod probe_targets;
#[path = "../commands/isolation.rs"]
mod probes;
#[path = "../commands/scenarios.rs"]
mod scenario;
mod scope;
mod supervisor;
#[path = "../commands/protected.rs"]
mod watch;

pub use scope::{Access, AgentAddress, AgentRequest, PodAccess, PortForward, Scope};
pub(crate) use supervisor::Supervisor;

use dryrun_core::commands::{
    Baseline, Breached, Dumped, Finding, Inspected, Job, JobResult, LogsRead, MatrixApplied,
    ProtectedAgain, ProtectedChanged, ScenarioRan, Sealed, Searched, SetUp, Verified,
};
use dryrun_core::problem::Problem;
use dryrun_core::run::container::Container;
use dryrun_core::run::facts::VerificationFacts;
use dryrun_core::run::object::RunPod;
use jiff::Timestamp;
use rand::distr::{Alphanumeric, SampleString};
use std::sync::Arc;
use std::time::Duration;

use crate::error::call;

/// Runs a job to its end. What may go away by itself is tried again, ever more slowly, until the job's deadline.
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
        match tokio::time::timeout(left, attempt(job, &scope)).await {
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

/// A program that is just starting in a pod answers within moments, and asking it costs little; anything else is left alone for longer.
fn longest_pause(reason: &str) -> Duration {
    match reason {
        "CopyUnreachable" | "AgentUnreachable" => Duration::from_millis(200),
        _ => Duration::from_secs(5),
    }
}

/// A finding of its own type among all others.
fn found(finding: impl Finding + 'static) -> JobResult {
    Ok(Arc::new(finding))
}

async fn attempt(job: Job, scope: &Scope) -> JobResult {
    let access = &scope.access;
    match job {
        Job::Preflight => found(cluster::preflight(scope).await?),
        Job::WatchProtected => found(ProtectedChanged(watch::protected(scope).await?)),
        Job::Inspect(pod) => found(Inspected(pod, cluster::inspect(scope, pod).await?)),
        Job::ReadLogs(pod) => found(LogsRead(pod, leaks::container_logs(scope, pod).await?)),
        Job::InspectSecret => found(cluster::secret(scope).await?),
        Job::Dump(attempt) => found(Dumped(attempt, agents::dump(scope, attempt).await?)),
        Job::Probe(moment) => found(probes::probe(scope, moment).await?),
        Job::WatchIsolation => found(Breached(probes::watch(scope).await?)),
        Job::ReleaseIsolate => found(agents::release(scope, Container::Isolate).await?),
        Job::PrepareCopy => found(access.prepare_copy(scope).await?),
        Job::Restore => found(access.restore(scope).await?),
        Job::ApplyMatrix => {
            let (facts, identity) = access.apply_matrix(scope).await?;
            found(MatrixApplied(facts, identity))
        }
        Job::VerifyInputs => found(agents::verify_inputs(scope).await?),
        Job::ReleaseInputs => found(agents::release(scope, Container::Inputs).await?),
        Job::Setup(index) => found(SetUp(index, agents::setup(scope, index).await?)),
        Job::Baseline => found(Baseline(access.baseline(scope).await?)),
        Job::Scenario(index) => found(ScenarioRan(index, access.scenario(scope, index).await?)),
        Job::Verify => found(verify(scope).await?),
        Job::Search => found(Searched(evidence::search(scope).await?)),
        Job::Seal => found(Sealed(evidence::seal(scope).await?, None)),
        Job::SealPartly => {
            let (kept, search) = evidence::seal_partly(scope).await?;
            found(Sealed(kept, Some(search)))
        }
        Job::FingerprintProtected => {
            let look = cluster::protected(scope).await?;
            found(ProtectedAgain(look.pods, look.errors))
        }
        Job::Identify => found(agents::identify(scope).await?),
        Job::ProveNetZero => found(cluster::prove_net_zero(scope).await?),
    }
}

/// C-11: the copy, the inputs, the pods and the objects, all at a time.
async fn verify(scope: &Scope) -> Result<Verified, Problem> {
    let (copy, inputs, config_maps, pod, objects) = futures::try_join!(
        scope.access.verify_copy(scope),
        agents::digest_inputs(scope),
        cluster::input_digests(scope),
        cluster::inspect(scope, RunPod::Postgres),
        leaks::objects(scope),
    )?;
    let facts = VerificationFacts {
        inputs,
        config_maps,
        objects,
        ..copy
    };
    Ok(Verified(facts, pod))
}

/// A word that was never said before.
fn nonce() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), 16)
}

/// One reading of the cluster, under the deadline of a single call: that of the job is far longer, and a lost answer is soon asked for again.
async fn read<T>(
    reason: &str,
    what: &str,
    reading: impl Future<Output = kube::Result<T>> + Send,
) -> Result<T, Problem> {
    call(format!("read {what}"), reading)
        .await
        .map_err(|e| Problem::transient(reason, &e))
}

/// An agent answered with the result of another task.
fn confused() -> Problem {
    Problem::permanent(
        "InvalidAnswer",
        "the agent answered another task than it was given",
    )
}
