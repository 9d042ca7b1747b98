//! Agents and a copy that answer at once with what a complete run finds.

use dryrun_controller::jobs::{Access, AgentAddress, AgentRequest, PodAccess, Scope};
use dryrun_core::agent_api::protocol::{Task, TaskResult};
use dryrun_core::agent_api::tasks::WatchTask;
use dryrun_core::api::TargetClass;
use dryrun_core::commands::Facts;
use dryrun_core::digest;
use dryrun_core::isolation::target::{Tally, Target};
use dryrun_core::problem::Problem;
use dryrun_core::run::container::Container;
use dryrun_core::run::facts::{
    CopyIdentity, CopySummary, RestoreFacts, RolesFacts, ScenarioClaim, ScenarioFacts,
    VerificationFacts,
};
use dryrun_core::run::object::RunPod;
use hyper::body::Bytes;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

use crate::cluster::{NAME, NAMESPACE};
use crate::model_apiserver::Model;
use crate::model_apiserver::store::Key;

/// The archive that the seal pod hands out.
const ARCHIVE: &[u8] = b"an archive";

/// The answers of agents and copy.
#[derive(Clone)]
pub struct Scripted {
    model: Model,
    facts: Facts,
    script: Arc<Mutex<Script>>,
    begun: Arc<Notify>,
}

#[derive(Default)]
struct Script {
    /// Words that name what never ends: tasks by their path, jobs on the copy by their names.
    stuck: BTreeSet<String>,
    /// The same, of what fails.
    failing: BTreeMap<String, Problem>,
    /// Targets that pods watch, by name.
    watched: BTreeMap<String, Vec<Target>>,
}

impl Scripted {
    /// Answers that make up a run with these facts.
    pub fn new(model: Model, mut facts: Facts) -> Self {
        let evidence = facts.evidence.as_mut().unwrap();
        evidence.seal.archive = digest::prefixed(&Sha256::digest(ARCHIVE));
        Self {
            model,
            facts,
            script: Arc::default(),
            begun: Arc::default(),
        }
    }

    /// Keeps this task or job from ending; `""` releases all.
    pub fn stick(&self, word: &str) {
        let mut script = self.script.lock().unwrap();
        if word.is_empty() {
            script.stuck.clear();
        } else {
            script.stuck.insert(word.into());
        }
    }

    /// Waits until something is at work that does not end.
    pub async fn stuck(&self) {
        self.begun.notified().await;
    }

    /// Lets this task or job fail.
    pub fn fail(&self, word: &str, reason: &str) {
        let error = Problem::permanent(reason, "as scripted");
        let mut script = self.script.lock().unwrap();
        script.failing.insert(word.into(), error);
    }

    /// Ends now, or never, or with a failure.
    async fn play<T>(&self, word: &str, found: T) -> Result<T, Problem> {
        let (stuck, failing) = {
            let script = self.script.lock().unwrap();
            let met = |name: &&String| word.starts_with(name.as_str());
            let stuck = script.stuck.iter().any(|name| met(&name));
            let failing = script.failing.iter().find(|(name, _)| met(name));
            (stuck, failing.map(|(_, error)| error.clone()))
        };
        if stuck {
            self.begun.notify_one();
            std::future::pending::<()>().await;
        }
        failing.map_or(Ok(found), Err)
    }

    async fn answer(&self, agent: &AgentAddress, request: &AgentRequest) -> Result<Bytes, Problem> {
        let path = request.path.as_str();
        self.play(path, ()).await?;
        Ok(match path {
            "/v1/exit" => {
                self.release(&agent.pod);
                Bytes::new()
            }
            "/v1/archive" => Bytes::from_static(ARCHIVE),
            "/v1/watch" if request.method == "PUT" => {
                let task: WatchTask = serde_json::from_slice(&request.body).unwrap();
                let mut script = self.script.lock().unwrap();
                // A running one continues unchanged.
                script
                    .watched
                    .entry(agent.pod.clone())
                    .or_insert(task.probe.targets);
                Bytes::new()
            }
            "/v1/watch" => {
                let script = self.script.lock().unwrap();
                let targets = script.watched.get(&agent.pod).into_iter().flatten();
                let tallies: Vec<Tally> = targets.map(|target| tally(&agent.pod, target)).collect();
                json(&tallies)
            }
            "/v1/watch/breach" => std::future::pending().await,
            _ => {
                let task: Task = serde_json::from_slice(&request.body).unwrap();
                let id = path.strip_prefix("/v1/tasks/").unwrap();
                json(
                    &self
                        .play(id, self.result(agent, task))
                        .await
                        .unwrap_or_else(TaskResult::Failed),
                )
            }
        })
    }

    /// Ends the init container that waits in this pod.
    fn release(&self, pod: &str) {
        let container = if pod.ends_with(RunPod::Postgres.role()) {
            Container::Isolate
        } else {
            Container::Inputs
        };
        let mut state = self.model.state();
        let state = &mut *state;
        let key = Key::new("pods", NAMESPACE, pod);
        state
            .pods
            .finish(&mut state.store, &key, container.name(), 0);
    }

    fn result(&self, agent: &AgentAddress, task: Task) -> TaskResult {
        let facts = self.facts.clone();
        match task {
            Task::Dump(_) => TaskResult::Dump(facts.dump.unwrap()),
            Task::Restore(_) => TaskResult::Restore(facts.restore.unwrap().claim),
            Task::VerifyInputs(_) | Task::DigestInputs(_) => {
                TaskResult::VerifyInputs(facts.inputs.unwrap())
            }
            Task::RunCommand(_) | Task::RunSql(_) => TaskResult::Scenario(ScenarioClaim {
                exit_code: Some(0),
                ..ScenarioClaim::default()
            }),
            Task::Identify(_) => TaskResult::Identify(facts.teardown.unwrap().identity.unwrap()),
            Task::Search(_) => TaskResult::Search(facts.search.unwrap()),
            Task::Seal(_) => TaskResult::Seal(facts.evidence.unwrap().seal),
            Task::Probe(task) => {
                let targets = task.targets.iter();
                let tallies = targets.map(|target| tally(&agent.pod, target)).collect();
                TaskResult::Probe { tallies }
            }
        }
    }

    /// The copy's identity at this reading.
    fn identity(&self, scope: &Scope, place: usize) -> CopyIdentity {
        CopyIdentity {
            cluster_name: scope.run.uid.clone(),
            ..self.facts.copy_identity[place].clone()
        }
    }
}

fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap().into()
}

/// Reachability: the positive controls reach their targets, and nothing else reaches any.
fn tally(pod: &str, target: &Target) -> Tally {
    use TargetClass::{Copy, CopyOtherPort, Production};
    let is = |object: RunPod| {
        let name = format!("{NAME}-{}", object.role());
        pod == name || object.is_outside() && pod.starts_with(&name)
    };
    let reached = match target.class {
        Production => is(RunPod::Dump) || is(RunPod::Identity),
        Copy => is(RunPod::Restore) || is(RunPod::Harness),
        CopyOtherPort => is(RunPod::Postgres),
        _ => is(RunPod::Canary),
    };
    if reached {
        Tally {
            attempts: 2,
            connected: 2,
            answered: 2,
            ..Tally::default()
        }
    } else {
        Tally {
            attempts: 3,
            silent: 3,
            ..Tally::default()
        }
    }
}

impl PodAccess for Scripted {
    fn request<'a>(
        &'a self,
        agent: &'a AgentAddress,
        request: &'a AgentRequest,
    ) -> Access<'a, Option<Bytes>> {
        Box::pin(async move { self.answer(agent, request).await.map(Some) })
    }

    fn prepare_copy<'a>(&'a self, scope: &'a Scope) -> Access<'a, CopyIdentity> {
        Box::pin(self.play("prepare-copy", self.identity(scope, 0)))
    }

    fn restore<'a>(&'a self, _: &'a Scope) -> Access<'a, RestoreFacts> {
        Box::pin(self.play("restore", self.facts.restore.clone().unwrap()))
    }

    fn apply_matrix<'a>(&'a self, scope: &'a Scope) -> Access<'a, (RolesFacts, CopyIdentity)> {
        let found = (self.facts.roles.clone().unwrap(), self.identity(scope, 1));
        Box::pin(self.play("apply-matrix", found))
    }

    fn baseline<'a>(&'a self, _: &'a Scope) -> Access<'a, CopySummary> {
        Box::pin(self.play("baseline", CopySummary::default()))
    }

    fn scenario<'a>(&'a self, _: &'a Scope, index: usize) -> Access<'a, ScenarioFacts> {
        let found = self.facts.scenarios[index].clone();
        let word = format!("scenario-{index}");
        Box::pin(async move { self.play(&word, found).await })
    }

    fn verify_copy<'a>(&'a self, _: &'a Scope) -> Access<'a, VerificationFacts> {
        Box::pin(self.play("verify-copy", self.facts.verification.clone().unwrap()))
    }

    fn changes<'a>(&'a self, _: &'a Scope) -> Access<'a, String> {
        Box::pin(async { Ok(String::new()) })
    }
}
