//! Tasks that the operator requests, one file for each, named after it: `inputs` for `VerifyInputs`
//! and `DigestInputs`, `command` for `RunCommand`, `sql` for `RunSql`; `Probe` is a matter of
//! [`crate::probe`].

mod archive_entry;
mod command;
mod dump;
mod identify;
mod inputs;
mod log;
mod restore;
mod seal;
mod search;
mod sql;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use dryrun_core::{
    agent_api::{
        protocol::{Task, TaskResult},
        tasks::{ProbeTask, SealTask},
    },
    run::facts::SealFacts,
};
use hyper::body::Bytes;

use crate::{children::Children, failure::Result, probe, scratch::Scratch};

/// `application_name` of the sessions that read production.
const READING: &str = "dryrun-dump";

/// State that tasks work with.
pub(crate) struct Agent {
    /// Every process below this one.
    pub(crate) children: Arc<Children>,
    /// The pod's keys of the run secret.
    pub(crate) secrets: PathBuf,
    /// Directory of the output of commands.
    pub(crate) logs: PathBuf,
    /// Working directory of commands.
    pub(crate) scratch: Scratch,
    /// The archive that was sealed last.
    pub(crate) archive: Mutex<Option<Bytes>>,
}

impl Agent {
    /// Does the task.
    pub(crate) async fn run(self: Arc<Self>, task: Task) -> TaskResult {
        match task {
            // How far it came is a fact, also when it did not come to its end.
            Task::Dump(task) => TaskResult::Dump(dump::run(&self, &task).await),
            Task::Restore(task) => restore::run(&self, &task)
                .await
                .map_or_else(TaskResult::Failed, TaskResult::Restore),
            Task::VerifyInputs(task) => inputs::run(task)
                .await
                .map_or_else(TaskResult::Failed, TaskResult::VerifyInputs),
            Task::DigestInputs(task) => inputs::digest_again(task)
                .await
                .map_or_else(TaskResult::Failed, TaskResult::VerifyInputs),
            Task::RunCommand(task) => command::run(&self, task)
                .await
                .map_or_else(TaskResult::Failed, TaskResult::Scenario),
            Task::RunSql(task) => sql::run(&self, task)
                .await
                .map_or_else(TaskResult::Failed, TaskResult::Scenario),
            Task::Identify(task) => identify::run(&self, &task)
                .await
                .map_or_else(TaskResult::Failed, TaskResult::Identify),
            Task::Search(task) => search::run(&self.secrets, task)
                .await
                .map_or_else(TaskResult::Failed, TaskResult::Search),
            Task::Seal(task) => self
                .seal(task)
                .await
                .map_or_else(TaskResult::Failed, TaskResult::Seal),
            Task::Probe(task) => Self::probe(task).await,
        }
    }

    /// Tries to reach targets; it needs no state of the agent.
    pub(crate) async fn probe(task: ProbeTask) -> TaskResult {
        probe::run(task)
            .await
            .map_or_else(TaskResult::Failed, |tallies| TaskResult::Probe { tallies })
    }

    /// The archive that was sealed last, if there is one.
    pub(crate) fn archive(&self) -> Option<Bytes> {
        let archive = self.archive.lock().unwrap_or_else(PoisonError::into_inner);
        archive.clone()
    }

    async fn seal(&self, task: SealTask) -> Result<SealFacts> {
        let (facts, archive) = seal::run(&self.secrets, task).await?;
        *self.archive.lock().unwrap_or_else(PoisonError::into_inner) = Some(archive);
        Ok(facts)
    }
}
