//! What a run has found out: the evidence that gates are judged from.
//!
//! Facts are written into the DryRunReport before the pod that gave them is deleted. They are small: large sets stay on the run's volumes, and
//! their digest, counts and three examples stand here. No fact holds a secret or row data.

mod cluster;
mod copy;
mod evidence;
mod isolation;
mod privileges;
mod scenarios;
mod source;

pub use cluster::{
    ContainerFingerprint, HarnessFacts, PodFingerprint, PodInspection, PreflightFacts, SecretFacts,
    StorageClassFacts, TeardownFacts, protected_changes,
};
pub use copy::{
    CRASHED, CopyFacts, CopyIdentity, CopySummary, REFUSALS, RestoreClaim, RestoreFacts,
    SetDifference, SetSummary, SettingsFacts, VerificationFacts,
};
pub use evidence::{EvidenceFacts, Leak, LeakFacts, SealFacts, SealedFile};
pub use isolation::{IsolationFacts, Phase, Probe};
pub use privileges::{EscalationFacts, MatrixDifference, PrivilegeRow, RolesFacts, RowGroup};
pub use scenarios::{
    Access, InputFact, InputFacts, LogWindow, LoggedError, ScenarioClaim, ScenarioFacts, StepClaim,
};
pub use source::{
    ArchiveFacts, DUMP_ATTEMPTS, DiskFacts, DumpFacts, LockFacts, RightsFacts, SessionFacts,
    SourceIdentity, SourceRequirements, SourceRole,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::problem::Problem;
use crate::run::command::Command;

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
    /// C-08.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub harness: Option<HarnessFacts>,
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
    pub container_logs: BTreeMap<String, LeakFacts>,
    /// C-12, or the best effort of C-13.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceFacts>,
    /// The run's pods as they were when they were needed, by the part that they play.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub inspections: BTreeMap<String, PodInspection>,
    /// C-11: the copy's pod once more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy_pod_after: Option<PodInspection>,
    /// C-04 to C-11: what pods of the run tried to reach.
    #[serde(skip_serializing_if = "IsolationFacts::is_empty")]
    pub isolation: IsolationFacts,
    /// When the watch over the protected workloads began, and began again: between the last look and these times nobody watched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub watched_since: Vec<Timestamp>,
    /// Why nobody could watch them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch_error: Option<Problem>,
    /// What the watch saw change, in order; at most 20 stand here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub protected_changes: Vec<String>,
    /// C-13.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teardown: Option<TeardownFacts>,
    /// When each step began, by its name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub began: BTreeMap<Command, Timestamp>,
    /// Node that the scheduler chose for the dump pod: there the volumes are, so all later pods follow it.
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
    /// Waiting init containers that were told to go on.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub released: BTreeSet<String>,
    /// What stopped the run, when it was not a gate.
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

/// Why a run was stopped early.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stopped {
    /// The command that could not go on.
    pub command: Command,
    /// The cause, and what to change.
    #[serde(flatten)]
    pub problem: Problem,
}
