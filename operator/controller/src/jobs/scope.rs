//! Input of a job, and its access to the run's pods.

use dryrun_core::api::DryRunSpec;
use dryrun_core::commands::Facts;
use dryrun_core::problem::Problem;
use dryrun_core::run::container::Container;
use dryrun_core::run::facts::{
    CopyIdentity, CopySummary, DumpFacts, RestoreFacts, RolesFacts, ScenarioFacts,
    VerificationFacts,
};
use dryrun_core::run::id::RunRef;
use dryrun_core::run::key;
use dryrun_core::run::object::{Object, RunPod};
use futures::future::BoxFuture;
use hyper::body::Bytes;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{Api, Client};
use std::sync::Arc;
use tokio::sync::Semaphore;

use super::read;
use crate::agent_client::{self, Agent};
use crate::commands::{restore, roles, scenarios, verify};
use crate::copy::Endpoint;
use crate::objects::Plan;
use crate::pinned_operator::PinnedOperator;

pub use crate::agent_client::{AgentAddress, AgentRequest};

/// Result of one access to a pod.
pub type Access<'a, T> = BoxFuture<'a, Result<T, Problem>>;

/// Access to the programs in a run's pods: everything that a run does and that does not go through
/// objects of the apiserver.
///
/// [`PortForward`] is the one that works on a cluster.
pub trait PodAccess: Send + Sync + 'static {
    /// Sends one request to an agent. Returns nothing if no answer came in time: it may be sent
    /// again.
    fn request<'a>(
        &'a self,
        agent: &'a AgentAddress,
        request: &'a AgentRequest,
    ) -> Access<'a, Option<Bytes>>;
    /// C-05: reads the identity of the copy and makes the roles that the dump refers to.
    fn prepare_copy<'a>(&'a self, scope: &'a Scope) -> Access<'a, CopyIdentity>;
    /// C-05: restores the dump, and reads the copy's log of it.
    fn restore<'a>(&'a self, scope: &'a Scope) -> Access<'a, RestoreFacts>;
    /// C-06 and C-07: applies the matrix, reads it back, and reads the identity again.
    fn apply_matrix<'a>(&'a self, scope: &'a Scope) -> Access<'a, (RolesFacts, CopyIdentity)>;
    /// C-10: records the copy before the scenarios.
    fn baseline<'a>(&'a self, scope: &'a Scope) -> Access<'a, CopySummary>;
    /// C-10: runs the scenario at this index between two barriers.
    fn scenario<'a>(&'a self, scope: &'a Scope, index: usize) -> Access<'a, ScenarioFacts>;
    /// C-11: compares the copy with what it was.
    fn verify_copy<'a>(&'a self, scope: &'a Scope) -> Access<'a, VerificationFacts>;
    /// C-12: reads the changes of the catalog that C-11 has found.
    fn changes<'a>(&'a self, scope: &'a Scope) -> Access<'a, String>;
}

/// Access by port-forwards: HTTP to the agents, SQL to the copy.
pub struct PortForward;

impl PodAccess for PortForward {
    fn request<'a>(
        &'a self,
        agent: &'a AgentAddress,
        request: &'a AgentRequest,
    ) -> Access<'a, Option<Bytes>> {
        Box::pin(agent_client::send(agent, request))
    }

    fn prepare_copy<'a>(&'a self, scope: &'a Scope) -> Access<'a, CopyIdentity> {
        Box::pin(restore::prepare(scope))
    }

    fn restore<'a>(&'a self, scope: &'a Scope) -> Access<'a, RestoreFacts> {
        Box::pin(restore::restore(scope))
    }

    fn apply_matrix<'a>(&'a self, scope: &'a Scope) -> Access<'a, (RolesFacts, CopyIdentity)> {
        Box::pin(roles::apply_matrix(scope))
    }

    fn baseline<'a>(&'a self, scope: &'a Scope) -> Access<'a, CopySummary> {
        Box::pin(scenarios::baseline(scope))
    }

    fn scenario<'a>(&'a self, scope: &'a Scope, index: usize) -> Access<'a, ScenarioFacts> {
        Box::pin(scenarios::run(scope, index))
    }

    fn verify_copy<'a>(&'a self, scope: &'a Scope) -> Access<'a, VerificationFacts> {
        Box::pin(verify::verify_copy(scope))
    }

    fn changes<'a>(&'a self, scope: &'a Scope) -> Access<'a, String> {
        Box::pin(verify::changes(scope))
    }
}

/// Everything that a job works with. It is the job's own copy, so that a job never sees half of a
/// pass.
pub struct Scope {
    pub(crate) client: Client,
    pub(crate) access: Arc<dyn PodAccess>,
    /// Turns of searches for credentials, which all runs share.
    pub(crate) scanners: Arc<Semaphore>,
    /// The DryRun.
    pub run: RunRef,
    pub(crate) operator: PinnedOperator,
    /// Spec of the DryRun.
    pub spec: Arc<DryRunSpec>,
    /// Facts of the run as the job begins.
    pub facts: Arc<Facts>,
    /// Time at which the job is given up.
    pub deadline: Timestamp,
}

impl Scope {
    /// Returns the inputs of the run's objects.
    pub(crate) fn plan(&self) -> Plan<'_> {
        Plan {
            run: &self.run,
            operator: &self.operator,
            spec: &self.spec,
            facts: &self.facts,
        }
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.run.namespace)
    }

    /// Pods where this one lives.
    pub(crate) fn pods_of(&self, pod: RunPod) -> Api<Pod> {
        let namespace = self
            .run
            .namespace_of(pod.into(), &self.operator.probes_namespace);
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(crate) fn dump(&self) -> Result<&DumpFacts, Problem> {
        self.facts.dump.as_ref().ok_or_else(|| {
            Problem::permanent("FactsMissing", "the dump's facts are not in the report")
        })
    }

    /// A credential of the run. Read when it is needed, and never kept.
    pub(crate) async fn credential(&self, key: &str) -> Result<String, Problem> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.run.namespace);
        let name = self.run.name_of(Object::Secret);
        let secret = read("SecretUnreadable", "the run's Secret", secrets.get(&name)).await?;
        let value = secret
            .data
            .as_ref()
            .and_then(|data| data.get(key))
            .and_then(|bytes| String::from_utf8(bytes.0.clone()).ok());
        value.ok_or_else(|| {
            Problem::permanent("SecretIncomplete", format!("the run's Secret has no {key}"))
        })
    }

    /// The agent in a container.
    pub(crate) async fn agent(&self, container: Container) -> Result<Agent, Problem> {
        let pod = container.pod();
        let token = match container.token() {
            Some(key) => self.credential(&key).await?,
            None => String::new(),
        };
        let address = AgentAddress {
            pods: self.pods_of(pod),
            pod: self.run.name_of(pod),
            port: container.port(),
            token,
        };
        Ok(Agent::new(Arc::clone(&self.access), address))
    }

    /// The copy, for the operator's sessions.
    pub(crate) async fn copy(&self) -> Result<Endpoint, Problem> {
        Ok(Endpoint {
            pods: self.pods(),
            pod: self.run.name_of(RunPod::Postgres),
            user: self.run.bootstrap_role(),
            password: self.credential(key::SUPERUSER).await?,
            uid: self.run.uid.clone(),
            forbidden: self.spec.source.system_identifier.clone(),
        })
    }

    /// Address of the copy's pod.
    pub(crate) async fn copy_address(&self) -> Result<String, Problem> {
        let (pods, name) = (self.pods(), self.run.name_of(RunPod::Postgres));
        let pod = read("PodUnreadable", "the copy's pod", pods.get(&name)).await?;
        let address = pod.status.and_then(|status| status.pod_ip);
        address.ok_or_else(|| Problem::transient("NoAddress", "the copy has no address yet"))
    }
}
