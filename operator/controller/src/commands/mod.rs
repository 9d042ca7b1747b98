//! The jobs of the commands, one file a command, named as in `dryrun_core::commands`: `restore` is
//! C-05. A command whose jobs have no body of their own (C-04, C-07, C-08) has no file: see
//! [`pods`] and [`isolation`].

mod dump;
mod evidence;
mod isolation;
pub(crate) mod pods;
mod preflight;
mod protected;
pub(crate) mod restore;
pub(crate) mod roles;
pub(crate) mod scenarios;
mod secrets;
mod stage;
mod teardown;
pub(crate) mod verify;

use dryrun_core::commands::{
    Baseline, Breached, Dumped, Finding, Inspected, Job, JobResult, LogsRead, MatrixApplied,
    ProtectedAgain, ProtectedChanged, ScenarioRan, Sealed, Searched, SetUp, Verified,
};
use dryrun_core::run::container::Container;
use std::sync::Arc;

use crate::jobs::{Scope, leaks};

/// Does the work of a job once.
pub(crate) async fn attempt(job: Job, scope: &Scope) -> JobResult {
    let access = &scope.access;
    match job {
        Job::Preflight => found(preflight::preflight(scope).await?),
        Job::WatchProtected => found(ProtectedChanged(protected::watch(scope).await?)),
        Job::InspectSecret => found(secrets::inspect(scope).await?),
        Job::Inspect(pod) => found(Inspected(pod, pods::inspect(scope, pod).await?)),
        Job::ReadLogs(pod) => found(LogsRead(pod, leaks::container_logs(scope, pod).await?)),
        Job::Dump(attempt) => found(Dumped(attempt, dump::dump(scope, attempt).await?)),
        Job::Probe(moment) => found(isolation::probe(scope, moment).await?),
        Job::WatchIsolation => found(Breached(isolation::watch(scope).await?)),
        Job::ReleaseIsolate => found(pods::release(scope, Container::Isolate).await?),
        Job::PrepareCopy => found(access.prepare_copy(scope).await?),
        Job::Restore => found(access.restore(scope).await?),
        Job::ApplyMatrix => {
            let (facts, identity) = access.apply_matrix(scope).await?;
            found(MatrixApplied(facts, identity))
        }
        Job::VerifyInputs => found(stage::verify_inputs(scope).await?),
        Job::ReleaseInputs => found(pods::release(scope, Container::Inputs).await?),
        Job::Setup(index) => found(SetUp(index, stage::setup(scope, index).await?)),
        Job::Baseline => found(Baseline(access.baseline(scope).await?)),
        Job::Scenario(index) => found(ScenarioRan(index, access.scenario(scope, index).await?)),
        Job::Verify => {
            let (facts, pod) = verify::verify(scope).await?;
            found(Verified(facts, pod))
        }
        Job::Search => found(Searched(verify::search(scope).await?)),
        Job::Seal => found(Sealed(evidence::seal(scope).await?, None)),
        Job::SealPartly => {
            let (kept, search) = evidence::seal_partly(scope).await?;
            found(Sealed(kept, Some(search)))
        }
        Job::FingerprintProtected => {
            let look = protected::look(scope).await?;
            found(ProtectedAgain(look.pods, look.errors))
        }
        Job::Identify => found(teardown::identify(scope).await?),
        Job::ProveNetZero => found(teardown::prove_net_zero(scope).await?),
    }
}

/// A finding with its own type.
fn found(finding: impl Finding + 'static) -> JobResult {
    Ok(Arc::new(finding))
}
