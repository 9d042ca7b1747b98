//! What a job found becomes a fact.

use crate::commands::Command;
use crate::problem::Problem;
use crate::run::facts::{
    CopyIdentity, CopySummary, DUMP_ATTEMPTS, DumpFacts, EvidenceFacts, Facts, HarnessFacts,
    InputFacts, LeakFacts, Phase, PodFingerprint, PodInspection, PreflightFacts, Probe, REFUSALS,
    RestoreFacts, RolesFacts, ScenarioClaim, ScenarioFacts, SecretFacts, SourceIdentity, Stopped,
    TeardownFacts, VerificationFacts,
};
use crate::step::{Job, Moment};

/// How a job ended.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "one lives at a time")]
pub enum Finding {
    /// [`Job::Preflight`].
    Preflight(PreflightFacts),
    /// [`Job::WatchProtected`]: what happened to them.
    ProtectedChanged(Vec<String>),
    /// [`Job::InspectSecret`].
    Secret(SecretFacts),
    /// [`Job::Inspect`].
    Inspected(PodInspection),
    /// [`Job::ReadLogs`].
    LogsRead(LeakFacts),
    /// [`Job::Dump`].
    Dump(DumpFacts),
    /// [`Job::Probe`], with what the watch has tried so far.
    Probed(Box<Phase>, Vec<Probe>),
    /// [`Job::WatchIsolation`]: something was reached.
    Breached(Vec<Probe>),
    /// [`Job::ReleaseIsolate`] and [`Job::ReleaseInputs`]: the name of the init container.
    Released(&'static str),
    /// [`Job::PrepareCopy`].
    CopyPrepared(CopyIdentity),
    /// [`Job::Restore`].
    Restored(RestoreFacts),
    /// [`Job::ApplyMatrix`].
    Matrix(RolesFacts, CopyIdentity),
    /// [`Job::InspectHarness`].
    Harness(HarnessFacts),
    /// [`Job::VerifyInputs`].
    Inputs(InputFacts),
    /// [`Job::Setup`].
    Setup(ScenarioClaim),
    /// [`Job::Baseline`].
    Baseline(CopySummary),
    /// [`Job::Scenario`].
    Scenario(ScenarioFacts),
    /// [`Job::Verify`], with the copy's pod as it is now.
    Verified(Box<VerificationFacts>, PodInspection),
    /// [`Job::Search`].
    Searched(LeakFacts),
    /// [`Job::Seal`] and [`Job::SealPartly`], with a search that was made on the way.
    Sealed(EvidenceFacts, Option<LeakFacts>),
    /// [`Job::FingerprintProtected`]: the pods, or why they could not be read.
    Protected(Vec<PodFingerprint>, Vec<String>),
    /// [`Job::Identify`].
    Identified(SourceIdentity),
    /// [`Job::ProveNetZero`]: `Kind/name` of what was left.
    NetZero(Vec<String>),
    /// The job could not be done.
    Failed(Problem),
}

/// How many changes of protected workloads stand in the facts.
const CHANGES: usize = 20;

/// Writes what a job found into the facts. Twice is as good as once: when the answer to a written report is lost, the next pass reads facts that
/// hold the finding already, and has it still to take.
pub fn absorb(facts: &mut Facts, job: Job, finding: Finding) {
    match finding {
        Finding::Preflight(found) => facts.preflight = Some(found),
        Finding::ProtectedChanged(changes) => {
            for change in changes {
                if facts.protected_changes.len() < CHANGES {
                    once(&mut facts.protected_changes, change);
                }
            }
        }
        Finding::Secret(found) => facts.secrets = Some(found),
        Finding::Inspected(found) => {
            if let Job::Inspect(pod) = job {
                facts.inspections.insert(pod.role().to_owned(), found);
            }
        }
        Finding::LogsRead(found) => {
            if let Job::ReadLogs(pod) = job {
                facts.container_logs.insert(pod.role().to_owned(), found);
            }
        }
        Finding::Dump(found) => {
            if let Job::Dump(attempt) = job {
                facts.dump_attempts = attempt;
            }
            let again = found.problem.as_ref().is_some_and(|p| p.retry)
                && facts.dump_attempts < DUMP_ATTEMPTS;
            if !again {
                facts.dump = Some(found);
            }
        }
        Finding::Released(container) => drop(facts.released.insert(container.to_owned())),
        Finding::CopyPrepared(identity) => once(&mut facts.copy_identity, identity),
        Finding::Restored(found) => facts.restore = Some(found),
        Finding::Matrix(found, identity) => {
            facts.roles = Some(found);
            once(&mut facts.copy_identity, identity);
        }
        Finding::Probed(phase, during) => {
            let isolation = &mut facts.isolation;
            match job {
                Job::Probe(Moment::Before) => isolation.before = Some(*phase),
                Job::Probe(Moment::Harness) => isolation.harness = Some(*phase),
                _ => isolation.after = Some(*phase),
            }
            if !during.is_empty() {
                isolation.during = during;
            }
        }
        Finding::Breached(during) => facts.isolation.during = during,
        Finding::Harness(found) => facts.harness = Some(found),
        Finding::Inputs(found) => facts.inputs = Some(found),
        Finding::Setup(claim) => {
            if let Job::Setup(index) = job {
                nth(&mut facts.setup, index, claim);
            }
        }
        Finding::Baseline(found) => facts.before = Some(found),
        Finding::Scenario(found) => {
            if let Job::Scenario(index) = job {
                nth(&mut facts.scenarios, index, found);
            }
        }
        Finding::Verified(found, pod) => {
            facts.verification = Some(*found);
            facts.copy_pod_after = Some(pod);
        }
        Finding::Searched(found) => facts.search = Some(found),
        Finding::Sealed(found, search) => {
            facts.evidence = Some(found);
            facts.search = facts.search.take().or(search);
        }
        Finding::Protected(pods, errors) => {
            let teardown = teardown(facts);
            if errors.is_empty() {
                teardown.protected = Some(pods);
            }
            teardown.protected_errors = errors;
        }
        Finding::Identified(identity) => teardown(facts).identity = Some(identity),
        Finding::NetZero(left) => {
            let teardown = teardown(facts);
            teardown.proven = left.is_empty();
            teardown.left = left;
            teardown.proof_error = None;
        }
        Finding::Failed(error) => failed(facts, job, error),
    }
}

/// Adds what is not there yet.
fn once<T: PartialEq>(list: &mut Vec<T>, found: T) {
    if !list.contains(&found) {
        list.push(found);
    }
}

/// Adds what comes at this place, if it is not there yet.
fn nth<T>(list: &mut Vec<T>, place: usize, found: T) {
    if list.len() == place {
        list.push(found);
    }
}

fn failed(facts: &mut Facts, job: Job, error: Problem) {
    match job {
        Job::WatchProtected => facts.watch_error = Some(error),
        Job::WatchIsolation => facts.isolation.watch_error = Some(error),
        Job::SealPartly => {
            facts.evidence = Some(EvidenceFacts {
                partial: true,
                problem: Some(error),
                ..EvidenceFacts::default()
            });
        }
        Job::Identify => teardown(facts).identity_error = Some(error),
        Job::FingerprintProtected => teardown(facts).protected_errors = vec![error.to_string()],
        Job::ProveNetZero => teardown(facts).proof_error = Some(error.to_string()),
        // What the agent found of production comes as a dump's facts; this is what kept it from being asked.
        Job::Dump(_)
        | Job::Preflight
        | Job::InspectSecret
        | Job::Inspect(_)
        | Job::ReadLogs(_)
        | Job::Probe(_)
        | Job::ReleaseIsolate
        | Job::PrepareCopy
        | Job::Restore
        | Job::ApplyMatrix
        | Job::InspectHarness
        | Job::VerifyInputs
        | Job::ReleaseInputs
        | Job::Setup(_)
        | Job::Baseline
        | Job::Scenario(_)
        | Job::Verify
        | Job::Search
        | Job::Seal => {
            refused(facts, job.command(), &error.reason);
            facts.stopped = Some(Stopped {
                command: job.command(),
                problem: error,
            });
        }
    }
}

/// G-10 judges readings: that a server was refused for what it is becomes one.
pub(super) fn refused(facts: &mut Facts, command: Command, reason: &str) {
    if REFUSALS.iter().any(|(refusal, _)| *refusal == reason) {
        let before = if command <= Command::Restore {
            "restore"
        } else {
            "harness"
        };
        let refused = CopyIdentity {
            before: before.into(),
            refused: Some(reason.to_owned()),
            ..CopyIdentity::default()
        };
        once(&mut facts.copy_identity, refused);
    }
}

fn teardown(facts: &mut Facts) -> &mut TeardownFacts {
    facts.teardown.get_or_insert_default()
}
