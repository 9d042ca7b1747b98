//! Work that takes longer than an API call: it runs beside the reconciler, and its end wakes the reconciler.

mod agents;
mod cluster;
mod copy;
mod evidence;
mod leaks;
mod probe_targets;
mod probes;
mod scenario;
mod supervisor;
mod watch;

pub(crate) use supervisor::Supervisor;

use dryrun_core::api::DryRunSpec;
use dryrun_core::control::TaskError;
use dryrun_core::control::{OBSERVER_PORT, PORT};
use dryrun_core::facts::{DumpFacts, Facts, VerificationFacts};
use dryrun_core::names::{self, Object, key};
use dryrun_core::step::{Finding, Job};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{Api, Client};
use rand::distr::{Alphanumeric, SampleString};
use std::sync::Arc;
use std::time::Duration;

use crate::agent_client::Agent;
use crate::copy::Endpoint;
use crate::error::call;
use crate::objects::Containers;

/// Everything that a job works with; it is its own copy, so that a job never sees half of a pass.
#[derive(Clone)]
pub(crate) struct Scope {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) probes_namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) spec: Arc<DryRunSpec>,
    pub(crate) facts: Arc<Facts>,
    /// When the job is given up.
    pub(crate) deadline: Timestamp,
}

impl Scope {
    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Pods where this one lives.
    fn pods_of(&self, pod: Object) -> Api<Pod> {
        if pod.is_outside() {
            Api::namespaced(self.client.clone(), &self.probes_namespace)
        } else {
            self.pods()
        }
    }

    fn dump(&self) -> Result<&DumpFacts, TaskError> {
        self.facts
            .dump
            .as_ref()
            .ok_or_else(|| permanent("FactsMissing", "the dump's facts are not in the report"))
    }

    /// A credential of the run. Read when it is needed, and never kept.
    async fn credential(&self, key: &str) -> Result<String, TaskError> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let name = Object::Secret.name(&self.name, &self.uid);
        let secret = read("SecretUnreadable", "the run's Secret", secrets.get(&name)).await?;
        let value = secret
            .data
            .as_ref()
            .and_then(|data| data.get(key))
            .and_then(|bytes| String::from_utf8(bytes.0.clone()).ok());
        value.ok_or_else(|| permanent("SecretIncomplete", format!("the run's Secret has no {key}")))
    }

    /// The agent in a container of a pod.
    async fn agent(&self, pod: Object, container: &str) -> Result<Agent, TaskError> {
        let second = container == Containers::OBSERVER
            || pod == Object::PostgresPod && container == Containers::PROBE;
        let token = if Object::PROBERS.contains(&pod) {
            String::new()
        } else {
            self.credential(&key::token(container)).await?
        };
        Ok(Agent {
            pods: self.pods_of(pod),
            pod: pod.name(&self.name, &self.uid),
            port: if second { OBSERVER_PORT } else { PORT },
            token,
        })
    }

    /// The copy, for the operator's sessions.
    async fn copy(&self) -> Result<Endpoint, TaskError> {
        Ok(Endpoint {
            pods: self.pods(),
            pod: Object::PostgresPod.name(&self.name, &self.uid),
            user: names::bootstrap_role(&self.uid),
            password: self.credential(key::SUPERUSER).await?,
            uid: self.uid.clone(),
            forbidden: self.spec.source.system_identifier.clone(),
        })
    }

    /// Address of the copy's pod.
    async fn copy_address(&self) -> Result<String, TaskError> {
        let (pods, name) = (self.pods(), Object::PostgresPod.name(&self.name, &self.uid));
        let pod = read("PodUnreadable", "the copy's pod", pods.get(&name)).await?;
        let address = pod.status.and_then(|status| status.pod_ip);
        address.ok_or_else(|| TaskError {
            reason: "NoAddress".into(),
            message: "the copy has no address yet".into(),
            transient: true,
        })
    }
}

/// Runs a job to its end. What may go away by itself is tried again, ever more slowly, until the job's deadline.
pub(crate) async fn run(job: Job, scope: Scope) -> Finding {
    let mut pause = Duration::from_millis(20);
    loop {
        let left = scope.deadline.duration_since(Timestamp::now());
        let Ok(left) = Duration::try_from(left) else {
            return Finding::Failed(permanent(
                "DeadlineExceeded",
                format!("{} did not end in time", job.command().id()),
            ));
        };
        match tokio::time::timeout(left, attempt(job, &scope)).await {
            Ok(Ok(finding)) => return finding,
            Ok(Err(error)) if !error.transient => return Finding::Failed(error),
            Ok(Err(error))
                if scope.deadline.duration_since(Timestamp::now())
                    < pause.try_into().unwrap_or_default() =>
            {
                return Finding::Failed(error);
            }
            Ok(Err(error)) => {
                tracing::debug!(?job, %error, "trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(longest_pause(&error.reason));
            }
            Err(_) => {
                return Finding::Failed(permanent(
                    "DeadlineExceeded",
                    format!("{} did not end in time", job.command().id()),
                ));
            }
        }
    }
}

/// A program that is just starting in a pod answers within moments, and asking it costs little; anything else is left alone for longer.
fn longest_pause(reason: &str) -> Duration {
    match reason {
        "CopyUnreachable" | "AgentUnreachable" => Duration::from_millis(200),
        _ => Duration::from_secs(5),
    }
}

async fn attempt(job: Job, scope: &Scope) -> Result<Finding, TaskError> {
    match job {
        Job::Preflight => cluster::preflight(scope).await.map(Finding::Preflight),
        Job::WatchProtected => watch::protected(scope).await.map(Finding::ProtectedChanged),
        Job::Inspect(pod) => cluster::inspect(scope, pod).await.map(Finding::Inspected),
        Job::ReadLogs(pod) => leaks::container_logs(scope, pod)
            .await
            .map(Finding::LogsRead),
        Job::InspectSecret => cluster::secret(scope).await.map(Finding::Secret),
        Job::Dump(attempt) => agents::dump(scope, attempt).await.map(Finding::Dump),
        Job::Probe(moment) => probes::probe(scope, moment).await,
        Job::WatchIsolation => probes::watch(scope).await.map(Finding::Breached),
        Job::ReleaseIsolate => {
            agents::release(scope, Object::PostgresPod, Containers::ISOLATE).await
        }
        Job::PrepareCopy => copy::prepare(scope).await.map(Finding::CopyPrepared),
        Job::Restore => copy::restore(scope).await.map(Finding::Restored),
        Job::ApplyMatrix => copy::apply_matrix(scope)
            .await
            .map(|(facts, identity)| Finding::Matrix(facts, identity)),
        Job::InspectHarness => cluster::harness(scope).await.map(Finding::Harness),
        Job::VerifyInputs => agents::verify_inputs(scope).await.map(Finding::Inputs),
        Job::ReleaseInputs => agents::release(scope, Object::HarnessPod, Containers::INPUTS).await,
        Job::Setup(index) => agents::setup(scope, index).await.map(Finding::Setup),
        Job::Baseline => copy::baseline(scope).await.map(Finding::Baseline),
        Job::Scenario(index) => scenario::run(scope, index).await.map(Finding::Scenario),
        Job::Verify => verify(scope).await,
        Job::Search => evidence::search(scope).await.map(Finding::Searched),
        Job::Seal => evidence::seal(scope)
            .await
            .map(|kept| Finding::Sealed(kept, None)),
        Job::SealPartly => evidence::seal_partly(scope)
            .await
            .map(|(kept, search)| Finding::Sealed(kept, Some(search))),
        Job::FingerprintProtected => {
            let found = cluster::protected(scope).await?;
            Ok(Finding::Protected(found.pods, found.errors))
        }
        Job::Identify => agents::identify(scope).await.map(Finding::Identified),
        Job::ProveNetZero => cluster::prove_net_zero(scope).await,
    }
}

/// C-11: the copy, the inputs, the pods and the objects, all at a time.
async fn verify(scope: &Scope) -> Result<Finding, TaskError> {
    let (copy, inputs, config_maps, pod, objects) = futures::try_join!(
        copy::verify(scope),
        agents::digest_inputs(scope),
        cluster::input_digests(scope),
        cluster::inspect(scope, Object::PostgresPod),
        leaks::objects(scope),
    )?;
    let facts = VerificationFacts {
        inputs,
        config_maps,
        objects,
        ..copy
    };
    Ok(Finding::Verified(Box::new(facts), pod))
}

/// A word that was never said before.
fn nonce() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), 16)
}

/// One reading of the cluster, under the deadline of a single call: that of the job is far longer, and a lost answer is soon asked for again.
async fn read<T>(
    reason: &str,
    what: &str,
    reading: impl Future<Output = kube::Result<T>> + Send,
) -> Result<T, TaskError> {
    call(format!("read {what}"), reading)
        .await
        .map_err(|e| transient(reason, &e))
}

fn transient(reason: &str, cause: &dyn std::fmt::Display) -> TaskError {
    TaskError {
        reason: reason.into(),
        message: cause.to_string(),
        transient: true,
    }
}

fn permanent(reason: &str, message: impl Into<String>) -> TaskError {
    TaskError {
        reason: reason.into(),
        message: message.into(),
        transient: false,
    }
}

/// An agent answered with the result of another task.
fn confused() -> TaskError {
    permanent(
        "InvalidAnswer",
        "the agent answered another task than it was given",
    )
}
