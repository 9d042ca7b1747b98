//! Jobs that agents in the run's pods do.

use dryrun_core::agent_api::protocol::{Task, TaskResult};
use dryrun_core::agent_api::tasks::{
    CommandTask, DumpTask, IdentifyTask, Server, VerifyInput, VerifyInputsTask,
};
use dryrun_core::api::{Source, bytes_of};
use dryrun_core::commands::Released;
use dryrun_core::problem::Problem;
use dryrun_core::run::container::Container;
use dryrun_core::run::facts::{DumpFacts, InputFacts, ScenarioClaim, SourceIdentity};
use dryrun_core::run::layout::{DUMP_DIR, INPUTS_DIR, SOURCE_CA_FILE, SOURCE_FILE, UNPACKED_DIR};
use std::net::IpAddr;
use std::time::Duration;

use super::{Scope, confused, nonce};

/// Production, as a pod without names must be told of it.
pub(super) async fn source(source: &Source) -> Result<Server, Problem> {
    let address = match source.host.parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) => resolve(&source.host).await?,
    };
    Ok(Server {
        host: source.host.clone(),
        address: address.to_string(),
        port: source.port,
        user: source.user.clone(),
        database: source.database.clone(),
        sslmode: source.sslmode,
        authentication: source.authentication,
        ca_file: source.ca_ref.is_some().then(|| SOURCE_CA_FILE.into()),
        password_file: SOURCE_FILE.into(),
    })
}

async fn resolve(host: &str) -> Result<IpAddr, Problem> {
    let resolver = hickory_resolver::TokioResolver::builder_tokio()
        .map_err(|e| Problem::transient("ResolverUnavailable", e))?
        .build();
    let found = resolver
        .lookup_ip(host)
        .await
        .map_err(|e| Problem::transient("HostUnknown", e))?;
    chosen(found.iter())
        .ok_or_else(|| Problem::transient("HostUnknown", format_args!("{host} has no address")))
}

/// Of several addresses always the same, whichever a name server tells first: all pods of the run must mean one server. IPv4 comes before IPv6.
fn chosen(addresses: impl Iterator<Item = IpAddr>) -> Option<IpAddr> {
    addresses.min()
}

pub(super) async fn dump(scope: &Scope, attempt: u8) -> Result<DumpFacts, Problem> {
    let spec = &scope.spec;
    let task = Task::Dump(DumpTask {
        server: source(&spec.source).await?,
        jobs: spec.source.dump.jobs,
        lock_timeout_ms: millis(spec.source.dump.lock_timeout.or(Duration::from_secs(5))),
        system_identifier: spec.source.system_identifier.clone(),
        directory: format!("{DUMP_DIR}/{attempt}"),
        data_directory: DUMP_DIR.into(),
        minimum_free: bytes_of(&spec.postgres.storage.minimum_free)
            .map_err(|e| Problem::permanent("InvalidQuantity", e.to_string()))?,
    });
    let agent = scope.agent(Container::Dump).await?;
    let TaskResult::Dump(facts) = agent.run(&format!("dump-{attempt}"), &task).await? else {
        return Err(confused());
    };
    Ok(facts)
}

pub(super) async fn release(scope: &Scope, container: Container) -> Result<Released, Problem> {
    scope.agent(container).await?.release().await?;
    Ok(Released(container))
}

pub(super) async fn verify_inputs(scope: &Scope) -> Result<InputFacts, Problem> {
    look_at_inputs(scope, Container::Inputs, Task::VerifyInputs).await
}

/// C-11: the inputs once more, by the sidecar that the user's code cannot touch.
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
    match scope.agent(container).await?.run("inputs", &task).await? {
        TaskResult::VerifyInputs(facts) => Ok(facts),
        _ => Err(confused()),
    }
}

/// Name of a setup command's log: no scenario can have it, since theirs begin with a letter or a digit.
pub(super) fn setup_log(index: usize) -> String {
    format!("_setup-{index}")
}

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

/// Lets the harness's runner do a command or SQL steps. What it says in words goes no further ([`ScenarioClaim::wordless`]).
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
        _ => Err(confused()),
    }
}

pub(super) async fn identify(scope: &Scope) -> Result<SourceIdentity, Problem> {
    let task = Task::Identify(IdentifyTask {
        server: source(&scope.spec.source).await?,
    });
    // An id of its own each time: it is read what production is now, and an agent repeats what it has read before.
    let id = format!("identify-{}", nonce());
    match scope
        .agent(Container::Identity)
        .await?
        .run(&id, &task)
        .await?
    {
        TaskResult::Identify(identity) => Ok(identity),
        _ => Err(confused()),
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_an_answer_does_not_matter() {
        let all = ["fd00::1", "10.0.0.20", "10.0.0.3"].map(|a| a.parse::<IpAddr>().unwrap());
        let smallest = Some(all[2]);
        assert_eq!(chosen(all.into_iter()), smallest);
        assert_eq!(chosen(all.into_iter().rev()), smallest);
        assert_eq!(chosen([].into_iter()), None);
    }
}
