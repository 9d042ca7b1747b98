//! Work that takes longer than an API call: it runs beside the reconciler, and its end wakes the reconciler.

mod agents;
mod cluster;
mod copy;
mod evidence;
mod leaks;
mod probe_targets;
mod probes;
mod scenario;
mod scope;
mod supervisor;
mod watch;

pub use scope::{Access, AgentAddress, AgentRequest, PodAccess, PortForward, Scope};
pub(crate) use supervisor::Supervisor;

use dryrun_core::problem::Problem;
use dryrun_core::run::facts::VerificationFacts;
use dryrun_core::run::object::Object;
use dryrun_core::step::{Finding, Job};
use jiff::Timestamp;
use rand::distr::{Alphanumeric, SampleString};
use std::time::Duration;

use crate::error::call;
use crate::objects::Containers;

/// Runs a job to its end. What may go away by itself is tried again, ever more slowly, until the job's deadline.
pub(crate) async fn run(job: Job, scope: Scope) -> Finding {
    let mut pause = Duration::from_millis(20);
    loop {
        let left = scope.deadline.duration_since(Timestamp::now());
        let Ok(left) = Duration::try_from(left) else {
            return Finding::Failed(Problem::permanent(
                "DeadlineExceeded",
                format!("{} did not end in time", job.command().id()),
            ));
        };
        match tokio::time::timeout(left, attempt(job, &scope)).await {
            Ok(Ok(finding)) => return finding,
            Ok(Err(error)) if !error.retry => return Finding::Failed(error),
            Ok(Err(error))
                if scope.deadline.duration_since(Timestamp::now())
                    < pause.try_into().unwrap_or_default() =>
            {
                return Finding::Failed(error);
            }
            Ok(Err(error)) => {
                tracing::debug!(?job, %error, "trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(longest_pause(&error.reason));
            }
            Err(_) => {
                return Finding::Failed(Problem::permanent(
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

async fn attempt(job: Job, scope: &Scope) -> Result<Finding, Problem> {
    match job {
        Job::Preflight => cluster::preflight(scope).await.map(Finding::Preflight),
        Job::WatchProtected => watch::protected(scope).await.map(Finding::ProtectedChanged),
        Job::Inspect(pod) => cluster::inspect(scope, pod).await.map(Finding::Inspected),
        Job::ReadLogs(pod) => leaks::container_logs(scope, pod)
            .await
            .map(Finding::LogsRead),
        Job::InspectSecret => cluster::secret(scope).await.map(Finding::Secret),
        Job::Dump(attempt) => agents::dump(scope, attempt).await.map(Finding::Dump),
        Job::Probe(moment) => probes::probe(scope, moment).await,
        Job::WatchIsolation => probes::watch(scope).await.map(Finding::Breached),
        Job::ReleaseIsolate => {
            agents::release(scope, Object::PostgresPod, Containers::ISOLATE).await
        }
        Job::PrepareCopy => scope
            .access
            .prepare_copy(scope)
            .await
            .map(Finding::CopyPrepared),
        Job::Restore => scope.access.restore(scope).await.map(Finding::Restored),
        Job::ApplyMatrix => scope
            .access
            .apply_matrix(scope)
            .await
            .map(|(facts, identity)| Finding::Matrix(facts, identity)),
        Job::InspectHarness => cluster::harness(scope).await.map(Finding::Harness),
        Job::VerifyInputs => agents::verify_inputs(scope).await.map(Finding::Inputs),
        Job::ReleaseInputs => agents::release(scope, Object::HarnessPod, Containers::INPUTS).await,
        Job::Setup(index) => agents::setup(scope, index).await.map(Finding::Setup),
        Job::Baseline => scope.access.baseline(scope).await.map(Finding::Baseline),
        Job::Scenario(index) => scope
            .access
            .scenario(scope, index)
            .await
            .map(Finding::Scenario),
        Job::Verify => verify(scope).await,
        Job::Search => evidence::search(scope).await.map(Finding::Searched),
        Job::Seal => evidence::seal(scope)
            .await
            .map(|kept| Finding::Sealed(kept, None)),
        Job::SealPartly => evidence::seal_partly(scope)
            .await
            .map(|(kept, search)| Finding::Sealed(kept, Some(search))),
        Job::FingerprintProtected => {
            let found = cluster::protected(scope).await?;
            Ok(Finding::Protected(found.pods, found.errors))
        }
        Job::Identify => agents::identify(scope).await.map(Finding::Identified),
        Job::ProveNetZero => cluster::prove_net_zero(scope).await,
    }
}

/// C-11: the copy, the inputs, the pods and the objects, all at a time.
async fn verify(scope: &Scope) -> Result<Finding, Problem> {
    let (copy, inputs, config_maps, pod, objects) = futures::try_join!(
        scope.access.verify_copy(scope),
        agents::digest_inputs(scope),
        cluster::input_digests(scope),
        cluster::inspect(scope, Object::PostgresPod),
        leaks::objects(scope),
    )?;
    let facts = VerificationFacts {
        inputs,
        config_maps,
        objects,
        ..copy
    };
    Ok(Finding::Verified(Box::new(facts), pod))
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
