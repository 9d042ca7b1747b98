//! The commands of a run, in order.
//!
//! A command is one file: its definition, the jobs that it starts, its progress, and the effect of
//! what they find on the facts. To add one, write the file and put it into [`Command`], [`Job`],
//! [`ALL`] and, if it finds something, [`Facts`].

mod c01_preflight;
mod c02_secrets;
mod c03_dump;
mod c04_isolate;
mod c05_restore;
mod c06_roles;
mod c07_identity;
mod c08_harness;
mod c09_stage;
mod c10_scenarios;
mod c11_verify;
mod c12_evidence;
pub(crate) mod c13_teardown;
mod isolation;
mod pods;
mod progress;

pub use c01_preflight::ProtectedChanged;
pub(crate) use c01_preflight::watch as watch_protected;
pub use c03_dump::Dumped;
pub use c06_roles::MatrixApplied;
pub use c09_stage::SetUp;
pub use c10_scenarios::{Baseline, ScenarioRan};
pub use c11_verify::{Searched, Verified};
pub use c12_evidence::Sealed;
pub use c13_teardown::{FoundLeft, ProtectedAgain};
pub(crate) use isolation::watch as watch_isolation;
pub use isolation::{Breached, Moment, Probed};
pub use pods::{Inspected, LogsRead, Released};
pub use progress::Action;
pub(crate) use progress::{Progress, View, later};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crate::api::StepDeadlines;
use crate::problem::Problem;
use crate::run::container::Container;
use crate::run::facts::*;
use crate::run::object::RunPod;

/// Every command, in order.
pub static ALL: [&Definition; 13] = [
    &c01_preflight::COMMAND,
    &c02_secrets::COMMAND,
    &c03_dump::COMMAND,
    &c04_isolate::COMMAND,
    &c05_restore::COMMAND,
    &c06_roles::COMMAND,
    &c07_identity::COMMAND,
    &c08_harness::COMMAND,
    &c09_stage::COMMAND,
    &c10_scenarios::COMMAND,
    &c11_verify::COMMAND,
    &c12_evidence::COMMAND,
    &c13_teardown::COMMAND,
];

/// A command's definition.
#[derive(Debug)]
pub struct Definition {
    /// The command.
    pub command: Command,
    /// `C-01` … `C-13`; a new command takes the next free number, at any place in the order.
    pub id: &'static str,
    /// One sentence: the effect of the command.
    pub doc: &'static str,
    /// Time that it may take beyond the deadline of every start.
    pub(crate) budget: fn(&StepDeadlines) -> Duration,
    /// Pods that may explain why it is late, the first that waits for something.
    pub(crate) delayed_by: &'static [RunPod],
    /// Its progress. C-13 has its own procedure, which also works without a report.
    pub(crate) advance: fn(&View<'_>) -> Progress,
    /// The effect of the failure of one of its jobs on the facts. A problem that is returned stops
    /// the run.
    pub(crate) failed: fn(&mut Facts, Job, Problem) -> Option<Problem>,
    /// Returns the finding that a job of the command makes in a run with these facts.
    #[cfg(test)]
    pub(crate) found: fn(&Facts, Job) -> Option<Arc<dyn Finding>>,
}

/// Budget of a command that takes no longer than a start.
const NO_LONGER: fn(&StepDeadlines) -> Duration = |_| Duration::ZERO;

/// Any failure of its jobs stops the run.
const STOPS: fn(&mut Facts, Job, Problem) -> Option<Problem> = |_, _, problem| Some(problem);

/// A command of the run; the names are those of the command review that the product generalises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Command {
    /// C-01: names free, volumes possible, protected workloads recorded.
    #[serde(rename = "C-01")]
    Preflight,
    /// C-02: the run's credentials.
    #[serde(rename = "C-02")]
    Secrets,
    /// C-03: production is identified and dumped, read-only.
    #[serde(rename = "C-03")]
    Dump,
    /// C-04: the copy's pod, behind deny-all.
    #[serde(rename = "C-04")]
    Isolate,
    /// C-05: the dump is restored.
    #[serde(rename = "C-05")]
    Restore,
    /// C-06: the matrix is applied and read back.
    #[serde(rename = "C-06")]
    Roles,
    /// C-07: the copy is not production.
    #[serde(rename = "C-07")]
    Identity,
    /// C-08: the harness pod.
    #[serde(rename = "C-08")]
    Harness,
    /// C-09: its inputs are verified inside it.
    #[serde(rename = "C-09")]
    Stage,
    /// C-10: the scenarios.
    #[serde(rename = "C-10")]
    Scenarios,
    /// C-11: what they changed, and what they did not.
    #[serde(rename = "C-11")]
    Verify,
    /// C-12: what is kept.
    #[serde(rename = "C-12")]
    Evidence,
    /// C-13: nothing is left.
    #[serde(rename = "C-13")]
    Teardown,
}

impl Command {
    /// Its definition.
    pub fn definition(self) -> &'static Definition {
        ALL[self as usize]
    }

    /// `C-01` … `C-13`.
    pub fn id(self) -> &'static str {
        self.definition().id
    }
}

/// Work that takes longer than an API call. It runs beside the reconciler and ends with a
/// [`JobResult`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Job {
    /// C-01: look at names, volumes and protected workloads.
    Preflight,
    /// C-01 to C-13: watch the protected workloads until something happens to them.
    WatchProtected,
    /// C-02: read the Secret back.
    InspectSecret,
    /// C-03, C-04, C-08 or C-11: look at a pod as it is, before its agent is given anything to do.
    Inspect(RunPod),
    /// Read and search the logs of a pod's containers, before it is deleted.
    ReadLogs(RunPod),
    /// C-03: dump; counted from 1.
    Dump(u8),
    /// C-04, C-08 or C-11: try to reach what must be out of reach, between positive controls.
    Probe(Moment),
    /// C-08 to C-11: wait until the copy or the harness reaches what must be out of reach.
    WatchIsolation,
    /// C-04: let the copy's init container end.
    ReleaseIsolate,
    /// C-05: read the copy's identity and make the roles that the dump refers to.
    PrepareCopy,
    /// C-05: restore, and read the copy's log of it.
    Restore,
    /// C-06 and C-07: apply the matrix, read it back, read the identity again.
    ApplyMatrix,
    /// C-09: verify and unpack the inputs.
    VerifyInputs,
    /// C-09: let the harness's init container end.
    ReleaseInputs,
    /// C-09: a setup command, by its index.
    Setup(usize),
    /// C-10: record the copy before the scenarios.
    Baseline,
    /// C-10: a scenario, by its index.
    Scenario(usize),
    /// C-11: compare the copy with what it was.
    Verify,
    /// C-11: search all logs of the run.
    Search,
    /// C-12: redact, search and seal what is kept, and store it.
    Seal,
    /// C-13: the same as far as it can be had, when C-12 was not reached.
    SealPartly,
    /// C-13: look at the protected workloads again.
    FingerprintProtected,
    /// C-13: read production's identity again.
    Identify,
    /// C-13: look twice, by name and by label, for anything that is left.
    ProveNetZero,
}

impl Job {
    /// Jobs that continue when a run is stopped.
    pub fn is_teardown(self) -> bool {
        self == Self::WatchProtected || self.command() == Command::Teardown
    }

    /// The command that it belongs to.
    pub fn command(self) -> Command {
        match self {
            Self::Preflight | Self::WatchProtected => Command::Preflight,
            Self::InspectSecret => Command::Secrets,
            Self::Inspect(pod) => pods::inspected_in(pod),
            Self::ReadLogs(pod) => pods::dismissed_in(pod),
            Self::Dump(_) => Command::Dump,
            Self::Probe(moment) => moment.command(),
            Self::WatchIsolation => Command::Harness,
            Self::ReleaseIsolate => Command::Isolate,
            Self::PrepareCopy | Self::Restore => Command::Restore,
            Self::ApplyMatrix => Command::Roles,
            Self::VerifyInputs | Self::ReleaseInputs | Self::Setup(_) => Command::Stage,
            Self::Baseline | Self::Scenario(_) => Command::Scenarios,
            Self::Verify | Self::Search => Command::Verify,
            Self::Seal => Command::Evidence,
            Self::FingerprintProtected | Self::Identify | Self::SealPartly | Self::ProveNetZero => {
                Command::Teardown
            }
        }
    }
}

/// All facts of a run, each absent until its step has given it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Facts {
    /// C-01.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preflight: Option<PreflightFacts>,
    /// C-02.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<SecretFacts>,
    /// C-03.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dump: Option<DumpFacts>,
    /// C-05.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreFacts>,
    /// C-06.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<RolesFacts>,
    /// C-05 and C-07: readings of the copy's identity, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub copy_identity: Vec<CopyIdentity>,
    /// C-09.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<InputFacts>,
    /// C-09: setup commands, in the spec's order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub setup: Vec<ScenarioClaim>,
    /// C-10: scenarios, in the spec's order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scenarios: Vec<ScenarioFacts>,
    /// C-10: the copy before the scenarios.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<CopySummary>,
    /// C-11.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<VerificationFacts>,
    /// C-11: the search of all logs on the evidence volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<LeakFacts>,
    /// C-03 to C-11: the searches of the logs of containers, by pod.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub container_logs: BTreeMap<RunPod, LeakFacts>,
    /// C-12, or the best effort of C-13.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceFacts>,
    /// The run's pods as they were when they were needed, by the part that they play.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub inspections: BTreeMap<RunPod, PodInspection>,
    /// C-11: the copy's pod once more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy_pod_after: Option<PodInspection>,
    /// C-04 to C-11: what pods of the run tried to reach.
    #[serde(skip_serializing_if = "IsolationFacts::is_empty")]
    pub isolation: IsolationFacts,
    /// Times at which the watch over the protected workloads began or began again: between the last
    /// look and these times there was no watch.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub watched_since: Vec<Timestamp>,
    /// Reason why the protected workloads could not be watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch_error: Option<Problem>,
    /// Changes that the watch saw, in order; at most 20 stand here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub protected_changes: Vec<String>,
    /// C-13.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teardown: Option<TeardownFacts>,
    /// Start time of each command.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub began: BTreeMap<Command, Timestamp>,
    /// Node that the scheduler chose for the dump pod: there the volumes are, so all later pods
    /// follow it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// Attempts at the dump so far.
    #[serde(skip_serializing_if = "is_zero")]
    pub dump_attempts: u8,
    /// UIDs of the run's claims: no PersistentVolume may be left that was made for one of them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub claims: BTreeSet<String>,
    /// PersistentVolumes that the run's claims were bound to.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub volumes: BTreeSet<String>,
    /// Waiting init containers that were released.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub released: BTreeSet<Container>,
    /// Reason why the run stopped, when it was not a gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if takes a reference"
)]
fn is_zero(n: &u8) -> bool {
    *n == 0
}

/// Reason why a run was stopped early.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stopped {
    /// The command that could not continue.
    pub command: Command,
    /// The cause, and what to change.
    #[serde(flatten)]
    pub problem: Problem,
}

/// A job's finding.
pub trait Finding: Debug + Send + Sync {
    /// Writes it into the facts. Idempotent: if the response to the report write was lost, the next
    /// pass merges the same finding again.
    fn absorb(&self, facts: &mut Facts);
}

/// The end of a job.
pub type JobResult = Result<Arc<dyn Finding>, Problem>;

/// Returns the finding that a job makes in a run with these facts.
#[cfg(test)]
pub(crate) fn found(known: &Facts, job: Job) -> Option<Arc<dyn Finding>> {
    pods::found(known, job)
        .or_else(|| isolation::found(known, job))
        .or_else(|| (job.command().definition().found)(known, job))
}

/// Writes the end of a job into the facts.
pub fn absorb(facts: &mut Facts, job: Job, result: &JobResult) {
    match result {
        Ok(finding) => finding.absorb(facts),
        Err(problem) => {
            let definition = job.command().definition();
            if let Some(problem) = (definition.failed)(facts, job, problem.clone()) {
                stop(facts, definition.command, problem);
            }
        }
    }
}

/// Stops the run at a command. G-10 judges readings of the copy's identity: that a server was
/// refused for what it is becomes one.
pub(crate) fn stop(facts: &mut Facts, command: Command, problem: Problem) {
    let refusal = |(refusal, _): &(&str, &str)| *refusal == problem.reason;
    if REFUSALS.iter().any(refusal) {
        let before = if command <= Command::Restore {
            Reading::BeforeRestore
        } else {
            Reading::BeforeHarness
        };
        let refused = CopyIdentity {
            before,
            refused: Some(problem.reason.clone()),
            ..CopyIdentity::default()
        };
        once(&mut facts.copy_identity, refused);
    }
    facts.stopped = Some(Stopped { command, problem });
}

/// Adds what is not there yet.
fn once<T: PartialEq>(list: &mut Vec<T>, found: T) {
    if !list.contains(&found) {
        list.push(found);
    }
}

/// Adds what comes at this place, if it is not there yet.
fn nth<T: Clone>(list: &mut Vec<T>, place: usize, found: &T) {
    if list.len() == place {
        list.push(found.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_in_order() {
        for (i, definition) in ALL.iter().enumerate() {
            assert_eq!(definition.command as usize, i);
            let written = serde_json::to_value(definition.command).unwrap();
            assert_eq!(written, definition.id, "facts name commands by their id");
            assert!(definition.doc.ends_with('.'), "{}", definition.id);
        }
        // A new command takes the next free number, at any place in the order: ids are part of the
        // API.
        let ids: BTreeSet<&str> = ALL.iter().map(|definition| definition.id).collect();
        assert_eq!(ids.len(), ALL.len());
    }
}
