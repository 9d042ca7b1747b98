//! C-09: the inputs and the setup commands.

use dryrun_core::agent_api::protocol::{Task, TaskResult};
use dryrun_core::agent_api::tasks::{CommandTask, VerifyInput, VerifyInputsTask};
use dryrun_core::problem::Problem;
use dryrun_core::run::container::Container;
use dryrun_core::run::facts::{InputFacts, ScenarioClaim};
use dryrun_core::run::layout::{INPUTS_DIR, UNPACKED_DIR};
use std::time::Duration;

use crate::jobs::{Scope, confused, millis};

/// Verifies and unpacks the inputs.
pub(super) async fn verify_inputs(scope: &Scope) -> Result<InputFacts, Problem> {
    look_at_inputs(scope, Container::Inputs, Task::VerifyInputs).await
}

/// The inputs once more for C-11, by the sidecar that the user's code cannot touch.
pub(super) async fn digest_inputs(scope: &Scope) -> Result<InputFacts, Problem> {
    look_at_inputs(scope, Container::Observer, Task::DigestInputs).await
}

async fn look_at_inputs(
    scope: &Scope,
    container: Container,
    task: fn(VerifyInputsTask) -> Task,
) -> Result<InputFacts, Problem> {
    let inputs = scope
        .spec
        .harness
        .inputs
        .iter()
        .enumerate()
        .map(|(i, input)| VerifyInput {
            source: format!("{INPUTS_DIR}/{i}/{}", input.config_map_ref.key),
            destination: format!("{UNPACKED_DIR}/{i}"),
            sha256: input.sha256.clone(),
        });
    let task = task(VerifyInputsTask {
        inputs: inputs.collect(),
    });
    let agent = scope.agent(container).await?;
    let TaskResult::VerifyInputs(facts) = agent.run("inputs", &task).await? else {
        return Err(confused());
    };
    Ok(facts)
}

/// Name of a setup command's log: no scenario can have it, since theirs begin with a letter or a
/// digit.
pub(super) fn setup_log(index: usize) -> String {
    format!("_setup-{index}")
}

/// Runs a setup command.
pub(super) async fn setup(scope: &Scope, index: usize) -> Result<ScenarioClaim, Problem> {
    let command = scope
        .spec
        .harness
        .setup
        .get(index)
        .ok_or_else(|| Problem::permanent("NoSuchCommand", "there is no such setup command"))?;
    let task = Task::RunCommand(CommandTask {
        name: setup_log(index),
        command: command.command.clone(),
        env: scope.spec.harness.env.clone(),
        login: None,
        fresh: false,
        timeout_ms: millis(command.timeout.or(Duration::from_secs(120))),
    });
    claim(scope, &format!("setup-{index}"), &setup_log(index), &task).await
}

/// Lets the harness's runner do a command or SQL steps. What it says in words goes no further
/// ([`ScenarioClaim::wordless`]).
pub(super) async fn claim(
    scope: &Scope,
    id: &str,
    name: &str,
    task: &Task,
) -> Result<ScenarioClaim, Problem> {
    let runner = scope.agent(Container::Harness).await?;
    match runner.ask(id, task).await? {
        TaskResult::Scenario(claim) => Ok(claim.wordless(name)),
        TaskResult::Failed(error) => Err(Problem {
            reason: "RunnerFailed".into(),
            message: format!("the harness's runner could not do {name}"),
            retry: error.retry,
        }),
        TaskResult::Dump(_)
        | TaskResult::Restore(_)
        | TaskResult::VerifyInputs(_)
        | TaskResult::Identify(_)
        | TaskResult::Search(_)
        | TaskResult::Seal(_)
        | TaskResult::Probe { .. } => Err(confused()),
    }
}
