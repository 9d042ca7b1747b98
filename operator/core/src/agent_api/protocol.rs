//! Requests to an agent and its answers.

use serde::{Deserialize, Serialize};

use super::tasks::{
    CommandTask, DumpTask, IdentifyTask, ProbeTask, RestoreTask, SealTask, SearchTask, SqlTask,
    VerifyInputsTask,
};
use crate::isolation::target::Tally;
use crate::problem::Problem;
use crate::run::facts::{
    DumpFacts, InputFacts, LeakFacts, RestoreClaim, ScenarioClaim, SealFacts, SourceIdentity,
};

/// A request to an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "camelCase")]
pub enum Task {
    /// C-03: check the source's rights, read its identity and catalog, count and dump inside one
    /// exported snapshot.
    Dump(DumpTask),
    /// C-05: restore the dump, then read the copy's catalog and counts and compare them with the
    /// source's.
    Restore(RestoreTask),
    /// C-09: verify and unpack the harness's inputs.
    VerifyInputs(VerifyInputsTask),
    /// C-09 and C-10: run one command in the harness.
    RunCommand(CommandTask),
    /// C-10: run SQL steps as a login.
    RunSql(SqlTask),
    /// C-13: read production's identity again.
    Identify(IdentifyTask),
    /// C-11: search all logs of the run for its credentials and production's.
    Search(SearchTask),
    /// C-12: redact, search the remaining files, and store what is kept in one archive.
    Seal(SealTask),
    /// C-11: take the digests of the harness's inputs again.
    DigestInputs(VerifyInputsTask),
    /// C-04 to C-11: try to reach targets.
    Probe(ProbeTask),
}

/// Outcome of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "camelCase")]
#[allow(clippy::large_enum_variant, reason = "one lives at a time")]
pub enum TaskResult {
    /// The dump was taken.
    Dump(DumpFacts),
    /// The restore ran; its errors are facts, not a failure of the task.
    Restore(RestoreClaim),
    /// The inputs were looked at.
    VerifyInputs(InputFacts),
    /// The command or the steps ran.
    Scenario(ScenarioClaim),
    /// Production's identity was read.
    Identify(SourceIdentity),
    /// The logs were searched.
    Search(LeakFacts),
    /// The archive was made.
    Seal(SealFacts),
    /// The targets were tried.
    Probe {
        /// One for each target, in the task's order.
        tallies: Vec<Tally>,
    },
    /// The task could not be done.
    Failed(Problem),
}
