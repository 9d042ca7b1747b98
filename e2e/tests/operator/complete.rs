//! One run of the demo from its request to its end, shared by several cases: its gates, writes,
//! secrets and its final state.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use dryrun_core::{
    api::{DryRunReport, DryRunStatus},
    gate,
    run::{id, object::Object},
};
use dryrun_e2e::fixture::SYSTEM;
use futures::{AsyncReadExt, StreamExt, TryStreamExt, stream::select};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ContainerStatus, Pod, Secret},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, LogParams, Patch, PatchParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    audit,
    environment::{Environment, NAMESPACE},
    run::{Run, condition, status},
};

/// Name of the run.
const NAME: &str = "complete";
/// Maximum number of status writes of a run.
const WRITES: usize = 12;
/// Observation time of an ended run.
const REST: Duration = Duration::from_secs(10);

/// Deadline for logs to end after the run has ended and its pods are deleted.
const LOGS: Duration = Duration::from_secs(60);

/// Observations of the run.
pub(crate) struct Complete {
    uid: String,
    status: DryRunStatus,
    diagnostics: String,
    /// Credentials of the run and of production, by purpose.
    secrets: BTreeMap<String, String>,
    /// All texts of the run that users can read, by source.
    texts: Vec<(String, String)>,
}

impl Complete {
    async fn of(env: &Environment) -> Result<&Self> {
        env.complete
            .get_or_try_init(async || Self::record(env).await)
            .await
    }

    /// Runs the demo, and gathers all texts that users can read meanwhile.
    async fn record(env: &Environment) -> Result<Self> {
        let _slot = env.acquire().await?;
        let run = Run::request(env, env.demo(NAME)).await?;
        let mut seen = Seen::default();
        let ended = tokio::select! {
            ended = async {
                run.approve().await?;
                run.end().await
            } => ended?,
            gathered = seen.gather(&run) => match gathered? {},
        };
        run.left_nothing().await?;
        Ok(Self {
            uid: run.uid.clone(),
            status: status(&ended),
            diagnostics: run.diagnostics().await,
            texts: seen.texts(&run).await?,
            secrets: seen.secrets,
        })
    }
}

pub(crate) async fn passes_every_gate(env: &Environment) -> Result<()> {
    let complete = Complete::of(env).await?;
    for gate in gate::ALL {
        let found = condition(&complete.status, gate.name)?;
        ensure!(
            found.status == "True",
            "{} is {found:?}\n{}",
            gate.id,
            complete.diagnostics
        );
    }
    let isolated = condition(&complete.status, "PostgresIsolated")?;
    ensure!(
        env.audit_log().is_none() || !isolated.message.contains("without control"),
        "the local cluster has an outside: {}",
        isolated.message
    );
    env.note(
        "complete run: gates passed",
        complete.status.gates.clone().unwrap_or_default(),
    );
    Ok(())
}

pub(crate) async fn status_is_written_at_most_twelve_times(env: &Environment) -> Result<()> {
    Complete::of(env).await?;
    let Some(log) = env.audit_log() else {
        return Ok(());
    };
    let writes = audit::writes(&log, NAMESPACE, NAME, env.since)?;
    let of_status = writes
        .iter()
        .filter(|write| write.resource == "dryruns/status")
        .count();
    env.note("complete run: status writes", of_status.to_string());
    env.note("complete run: all writes", writes.len().to_string());
    ensure!(
        (1..=WRITES).contains(&of_status),
        "the status was written {of_status} times; all writes: {}",
        audit::summary(&writes)
    );
    Ok(())
}

/// The operator's sessions with the copy come through port-forwards, which end on the pod's
/// loopback: the pod network is closed to it, as G-07 and G-19 prove.
pub(crate) async fn sql_goes_through_port_forwards(env: &Environment) -> Result<()> {
    let complete = Complete::of(env).await?;
    for gate in ["PostgresIsolated", "IsolationHeld", "MatrixExact"] {
        let found = condition(&complete.status, gate)?;
        ensure!(found.status == "True", "{gate} is {found:?}");
    }
    let Some(log) = env.audit_log() else {
        return Ok(());
    };
    let copy = Object::PostgresPod.name(NAME, &complete.uid);
    let forwards = audit::forwards(&log, NAMESPACE, &copy, env.since)?;
    env.note(
        "complete run: port-forwards to the copy",
        forwards.to_string(),
    );
    ensure!(
        forwards > 0,
        "no port-forward to {copy} is in the audit log"
    );
    Ok(())
}

/// Control for the cases of unapproved runs: the writes that must be absent from their audit log
/// are present for an approved run.
pub(crate) async fn audit_log_contains_its_writes(env: &Environment) -> Result<()> {
    Complete::of(env).await?;
    let Some(log) = env.audit_log() else {
        return Ok(());
    };
    let prefix = format!("{NAME}-");
    let mut requests = audit::requests(&log, env.since)?;
    requests.retain(|doing| doing.name == NAME || doing.name.starts_with(&prefix));
    for (verb, resource) in [
        ("create", "dryrunreports"),
        ("create", "secrets"),
        ("create", "persistentvolumeclaims"),
        ("create", "networkpolicies"),
        ("create", "pods"),
        ("get", "pods/portforward"),
        ("patch", "dryruns"),
        ("delete", "pods"),
    ] {
        ensure!(
            requests
                .iter()
                .any(|doing| doing.verb == verb && doing.resource == resource),
            "there is no {verb} {resource} among {}",
            audit::summary(&requests)
        );
    }
    Ok(())
}

/// No value of the run's Secret and no password of production appears in an object, an event or a
/// log, plain or in base64.
pub(crate) async fn no_secret_appears_anywhere(env: &Environment) -> Result<()> {
    let Complete {
        uid,
        secrets,
        texts,
        ..
    } = Complete::of(env).await?;
    // First checks that the search has something to search.
    let places: BTreeSet<_> = texts.iter().map(|(place, _)| place.as_str()).collect();
    let silent: BTreeSet<_> = texts
        .iter()
        .filter(|(place, text)| place.starts_with("log of ") && text.is_empty())
        // It only copies the agent, and has no output.
        .filter(|(place, _)| !place.ends_with("/install"))
        .map(|(place, _)| place.as_str())
        .collect();
    ensure!(
        silent.is_empty(),
        "these logs are empty or unreadable: {silent:?}"
    );
    for pod in Object::PODS.into_iter().filter(|pod| !pod.is_outside()) {
        let log = format!("log of {}/", pod.name(NAME, uid));
        ensure!(
            places.iter().any(|place| place.starts_with(&log)),
            "there is no {log} among {places:?}"
        );
    }
    for (what, needle) in [
        ("log of the operator", NAME),
        ("Pod", uid),
        ("Event", "G-08 RestoreClean"),
        ("DryRunReport", uid),
    ] {
        let found = texts
            .iter()
            .any(|(place, text)| place == what && text.contains(needle));
        ensure!(
            found,
            "{needle} is not in the {what}, so the absence of others proves nothing"
        );
    }
    ensure!(
        secrets.len() > Object::PODS.len() && secrets.values().all(|value| value.len() >= 12),
        "too few secrets: {:?}",
        secrets.keys()
    );
    let mut found = BTreeSet::new();
    for (key, value) in secrets {
        let encoded = serde_json::to_value(ByteString(value.clone().into_bytes()))?;
        let forms = [
            value.as_str(),
            encoded.as_str().unwrap_or_default().trim_end_matches('='),
        ];
        for (place, text) in texts {
            if forms.iter().any(|form| text.contains(form)) {
                found.insert(format!("{key} in {place}"));
            }
        }
    }
    ensure!(found.is_empty(), "secrets were found: {found:?}");
    env.note(
        "complete run: texts searched for secrets",
        texts.len().to_string(),
    );
    Ok(())
}

/// The operator writes nothing more, even when the DryRun is changed and its report is deleted.
pub(crate) async fn nothing_is_written_after_the_end(env: &Environment) -> Result<()> {
    let complete = Complete::of(env).await?;
    let Some(log) = env.audit_log() else {
        return Ok(());
    };
    let before = audit::writes(&log, NAMESPACE, NAME, env.since)?.len();
    let runs: Api<dryrun_core::api::DryRun> = Api::namespaced(env.client.clone(), NAMESPACE);
    let touch = async |value: &str| {
        runs.patch(
            NAME,
            &PatchParams::default(),
            &Patch::Merge(json!({"metadata": {"labels": {"touched": value}}})),
        )
        .await
    };
    touch("once").await?;
    let reports: Api<DryRunReport> = Api::namespaced(env.client.clone(), NAMESPACE);
    reports
        .delete(&id::report(NAME, &complete.uid), &DeleteParams::default())
        .await?;
    touch("twice").await?;
    // An absence of writes can only be shown by observing for a while.
    sleep(REST).await;
    let writes = audit::writes(&log, NAMESPACE, NAME, env.since)?;
    ensure!(
        writes.len() == before,
        "the operator wrote: {:?}",
        &writes[before..]
    );
    let now = status(&runs.get(NAME).await?);
    ensure!(now == complete.status, "the status changed");
    Ok(())
}

/// Texts gathered during the run.
#[derive(Default)]
struct Seen {
    secrets: BTreeMap<String, String>,
    objects: Vec<(String, String)>,
    followed: BTreeSet<(String, String)>,
    logs: JoinSet<(String, String)>,
}

impl Seen {
    /// Records all objects of the namespace at every change of the run, and the logs of all
    /// containers from their start.
    async fn gather(&mut self, run: &Run<'_>) -> Result<Infallible> {
        // Matched by name, since the intruder has the labels of another run.
        let own =
            watcher::Config::default().labels(&format!("app.kubernetes.io/instance={}", run.name));
        let pods = watcher(pods(run), own)
            .default_backoff()
            .applied_objects()
            .map_ok(Some);
        let this = watcher::Config::default().fields(&format!("metadata.name={}", run.name));
        let states = watcher(run.api(), this)
            .default_backoff()
            .applied_objects()
            .map_ok(|_| None);
        let mut changes = select(pods.boxed(), states.boxed());
        while let Some(change) = changes.try_next().await? {
            match change {
                Some(pod) => {
                    self.follow(run, &pod);
                    self.credentials(run).await?;
                }
                None => self.objects(run).await?,
            }
        }
        bail!("the watches ended")
    }

    /// Follows the logs of containers that have started since the last call.
    fn follow(&mut self, run: &Run<'_>, pod: &Pod) {
        let begun = |container: &&ContainerStatus| {
            container
                .state
                .as_ref()
                .is_some_and(|state| state.running.is_some() || state.terminated.is_some())
        };
        let status = pod.status.clone().unwrap_or_default();
        let containers = status
            .container_statuses
            .iter()
            .flatten()
            .chain(status.init_container_statuses.iter().flatten());
        for container in containers.filter(begun) {
            let (pod, container) = (pod.name_any(), container.name.clone());
            if !self.followed.insert((pod.clone(), container.clone())) {
                continue;
            }
            let pods = pods(run);
            self.logs.spawn(async move {
                let place = format!("log of {pod}/{container}");
                let parameters = LogParams {
                    container: Some(container),
                    follow: true,
                    ..LogParams::default()
                };
                let mut text = Vec::new();
                // The log ends with its pod; the text read until then is kept.
                if let Ok(stream) = pods.log_stream(&pod, &parameters).await {
                    drop(Box::pin(stream).read_to_end(&mut text).await);
                }
                (place, String::from_utf8_lossy(&text).into_owned())
            });
        }
    }

    /// Records the run's credentials, which exist before its first pod, and production's.
    async fn credentials(&mut self, run: &Run<'_>) -> Result<()> {
        if !self.secrets.is_empty() {
            return Ok(());
        }
        let secrets: Api<Secret> = Api::namespaced(run.env.client.clone(), &run.namespace);
        for name in [
            &*Object::Secret.name(&run.name, &run.uid),
            "directus-production",
        ] {
            let data = secrets.get(name).await?.data.unwrap_or_default();
            for (key, value) in data {
                self.secrets.insert(
                    format!("{name}/{key}"),
                    String::from_utf8(value.0).context("a credential is no text")?,
                );
            }
        }
        Ok(())
    }

    /// Records all objects of the namespace except Secrets.
    async fn objects(&mut self, run: &Run<'_>) -> Result<()> {
        for kind in run.env.kinds().iter().filter(|kind| kind.kind != "Secret") {
            let api: Api<DynamicObject> =
                Api::namespaced_with(run.env.client.clone(), &run.namespace, kind);
            for object in api.list(&ListParams::default()).await? {
                self.objects
                    .push((kind.kind.clone(), serde_json::to_string(&object)?));
            }
        }
        Ok(())
    }

    /// All recorded texts, with a final snapshot and the operator's log.
    async fn texts(&mut self, run: &Run<'_>) -> Result<Vec<(String, String)>> {
        self.objects(run).await?;
        let mut texts = std::mem::take(&mut self.objects);
        let logs = std::mem::take(&mut self.logs).join_all();
        texts.extend(
            timeout(LOGS, logs)
                .await
                .context("a log does not end with its pod")?,
        );
        let operator: Api<Pod> = Api::namespaced(run.env.client.clone(), SYSTEM);
        for pod in operator.list(&ListParams::default()).await? {
            texts.push((
                "log of the operator".into(),
                operator
                    .logs(&pod.name_any(), &LogParams::default())
                    .await?,
            ));
        }
        Ok(texts)
    }
}

fn pods(run: &Run<'_>) -> Api<Pod> {
    Api::namespaced(run.env.client.clone(), &run.namespace)
}
