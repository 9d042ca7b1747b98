//! Failures during a run: the copy has production's identity, its server crashes, a protected
//! workload restarts.

use anyhow::{Context, Result, ensure};
use dryrun_core::commands::Command;
use dryrun_core::run::object::RunPod;
use dryrun_e2e::{cluster::apply, fixture::PRODUCTION, images::Image};
use k8s_openapi::api::{core::v1::Pod, events::v1::Event};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use serde_json::json;

use crate::{
    audit,
    environment::{Environment, NAMESPACE, eventually, steps},
    evidence,
    gates::running,
    host,
    run::Run,
};

/// An image whose server has production's system identifier, as one on a copy of production's files
/// would: it is never started, and no harness is created.
pub(crate) async fn physical_copy_is_never_started(env: &Environment) -> Result<()> {
    let images = env
        .fixture
        .cluster
        .load_images(&[Image::PhysicalCopy])
        .await?;
    let image = images.first().context("no image was built")?;
    // The image reads the identifier from the name of its host, which is the pod's.
    let mut request = env.small("physical-copy");
    let identifier = &request["spec"]["source"]["systemIdentifier"];
    let name = format!("copy-of-{}", identifier.as_str().context("no identifier")?);
    request["metadata"]["name"] = json!(name);
    request["spec"]["postgres"]["image"] = json!(image.name);
    let run = Run::start(env, request).await?;
    run.ends_at(
        "G-10",
        "IsProduction",
        &["production's system identifier", "before restore"],
        Command::Restore,
    )
    .await?;
    let facts = run.report().await?.status.unwrap_or_default().facts;
    ensure!(
        facts.restore.is_none()
            && facts.roles.is_none()
            && !facts.inspections.contains_key(&RunPod::Harness),
        "the copy was used: {facts:?}"
    );
    if let Some(log) = env.audit_log() {
        let writes = audit::writes(&log, NAMESPACE, &run.name, env.since)?;
        let harness = run.id().name_of(RunPod::Harness);
        let made: Vec<_> = writes.iter().filter(|w| w.verb == "create").collect();
        ensure!(
            made.iter()
                .any(|w| w.name == run.id().name_of(RunPod::Postgres))
                && made.iter().all(|w| w.name != harness),
            "created objects: {made:?}"
        );
    }
    Ok(())
}

/// A backend is killed during a scenario, as by a segmentation fault: the server shuts down and the
/// run ends.
pub(crate) async fn server_crash_ends_the_run(env: &Environment) -> Result<()> {
    if !host::is_here(env, "crash in a scenario") {
        return Ok(());
    }
    let mut request = env.small("crash");
    request["spec"]["harness"]["scenarios"] = json!([
        steps("sleeps", "SELECT pg_sleep(300)"),
        steps("never", "SELECT FROM item LIMIT 1"),
    ]);
    let run = Run::start(env, request).await?;
    run.at(Command::Scenarios).await?;
    host::kill_by_title(&format!("postgres: {}: keeper ", run.uid)).await?;
    run.ends_at(
        "G-12",
        "Crashed",
        &["postgres ended with 1"],
        Command::Scenarios,
    )
    .await
}

/// User code writes production's data to the termination log and kills the runner: no status,
/// report or event repeats it.
pub(crate) async fn termination_log_is_not_repeated(env: &Environment) -> Result<()> {
    const WORDS: &str = "a row of production";
    // In two parts, so that the request itself does not contain the text.
    let code = "import os, time; print('so far', flush=True); time.sleep(1); open('/dev/termination-log', 'w').write('a row' ' of production'); os.kill(1, 15); time.sleep(300)";
    let mut request = env.small("last-words");
    request["spec"]["harness"]["scenarios"] = json!([
        {"name": "speaks", "as": {"login": "keeper"}, "command": ["python", "-c", code]},
    ]);
    let run = Run::start(env, request).await?;
    run.ends_unknown(
        &["ScenariosPassed"],
        &["PodEnded"],
        "harness ended with 143: Error",
        Command::Scenarios,
    )
    .await?;
    let files = evidence::read(env, &evidence::kept(&run).await?).await?;
    let output = files.get("harness/speaks.log");
    ensure!(
        output.is_some_and(|output| output == b"so far\n"),
        "what it had output by then is {output:?}"
    );
    let events: Api<Event> = Api::namespaced(env.client.clone(), NAMESPACE);
    let texts = [
        serde_json::to_string(&run.api().get(&run.name).await?)?,
        serde_json::to_string(&run.report().await?)?,
        serde_json::to_string(&events.list(&ListParams::default()).await?)?,
    ];
    ensure!(
        texts.iter().all(|text| !text.contains(WORDS)),
        "the text is repeated: {texts:?}"
    );
    Ok(())
}

/// A protected pod's container is killed: the pod stays, with a new container.
pub(crate) async fn protected_pod_restart_fails(env: &Environment) -> Result<()> {
    const NAME: &str = "bystander-restarting";
    if !host::is_here(env, "protected pod restarts") {
        return Ok(());
    }
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": NAME, "namespace": PRODUCTION, "labels": {"app": NAME}},
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "bystander", "image": "dryrun.local/pause:1", "imagePullPolicy": "Never",
                "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    });
    apply(&env.client, &pod.to_string()).await?;
    let pods: Api<Pod> = Api::namespaced(env.client.clone(), PRODUCTION);
    let id = eventually("the bystander is running", async || {
        let pod = pods.get(NAME).await?;
        let status = pod.status.clone().unwrap_or_default();
        let containers = status.container_statuses.unwrap_or_default();
        let id = containers
            .into_iter()
            .find_map(|container| container.container_id);
        Ok(id
            .filter(|_| running(&pod))
            .ok_or_else(|| "it is not".to_owned()))
    })
    .await?;
    let mut request = env.small("protects-restarting");
    request["spec"]["protected"] = json!([{"namespace": PRODUCTION, "selector": {"app": NAME}}]);
    let run = Run::start(env, request).await?;
    run.at(Command::Dump).await?;
    host::kill_container(&id).await?;
    run.ends_during_any_command(
        "G-24",
        "Changed",
        &[&format!("{PRODUCTION}/{NAME} restarted")],
    )
    .await?;
    pods.delete(NAME, &DeleteParams::default()).await?;
    Ok(())
}
