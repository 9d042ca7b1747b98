//! The request for one run.

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::{DryRunStatus, Harness, Privileges, Source, Span, Verification, schema};
use crate::api::TargetClass;

/// One rehearsal of a tool, a migration or an agent on a copy of production.
///
/// The spec is immutable and bounded: everything that decides what will run is in it or pinned by it, so that one hash covers it.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dryrun.dev",
    version = "v1alpha1",
    kind = "DryRun",
    namespaced,
    status = "DryRunStatus",
    derive = "PartialEq",
    shortname = "dr",
    doc = "A rehearsal on a copy of production, run once after a second person approved its exact plan.",
    validation = kube::core::Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$')").message("metadata.name may have at most 40 characters, of a-z, 0-9 and -: the names of the run's objects begin with it"),
    selectable = ".status.outcome",
    printcolumn(name = "Approved", type_ = "string", json_path = ".status.approved"),
    printcolumn(name = "Step", type_ = "string", json_path = ".status.step"),
    printcolumn(name = "Gates", type_ = "string", json_path = ".status.gates"),
    printcolumn(name = "Failed", type_ = "string", json_path = ".status.failedGate"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".status.outcome"),
    printcolumn(name = "NetZero", type_ = "string", json_path = ".status.netZero"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Requested-By", type_ = "string", json_path = ".spec.requestedBy", priority = 1),
    printcolumn(name = "Plan", type_ = "string", json_path = ".status.plan.hash", priority = 1)
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("spec is immutable: a new run is a new DryRun"))]
#[x_kube(validation = kube::core::Rule::new("(has(self.images) && has(self.images.allowTags) && self.images.allowTags) || (self.postgres.image.contains('@sha256:') && self.harness.image.contains('@sha256:'))")
    .message("images must be pinned by digest (name@sha256:…), or images.allowTags must be true"))]
#[x_kube(validation = kube::core::Rule::new("self.harness.scenarios.all(s, s.__as__.login in self.privileges.roles)")
    .message("as.login of every scenario must be one of privileges.roles"))]
#[x_kube(validation = kube::core::Rule::new("!has(self.privileges.grants) || self.privileges.grants.all(g, g.to == 'public' || g.to in self.privileges.roles)")
    .message("grants may only be made to privileges.roles or to public"))]
#[x_kube(validation = kube::core::Rule::new("!has(self.isolation.mayBeInconclusive) || self.isolation.mayBeInconclusive.all(c, c in ['ApiServer', 'Dns', 'RemoteNode', 'Metadata', 'Outside'])")
    .message("isolation.mayBeInconclusive may name ApiServer, Dns, RemoteNode, Metadata and Outside: the others must be proven"))]
pub struct DryRunSpec {
    /// Who asks for the run: the user that creates this object.
    #[schemars(length(min = 1, max = 253))]
    pub requested_by: String,
    /// Production.
    pub source: Source,
    /// How images may be named.
    #[serde(default)]
    pub images: Images,
    /// The copy's server.
    pub postgres: PostgresSpec,
    /// How the dump is restored.
    #[serde(default)]
    pub restore: RestoreSpec,
    /// The frozen privilege matrix.
    pub privileges: Privileges,
    /// The user's scenarios.
    pub harness: Harness,
    /// What must have changed after the scenarios.
    #[serde(default)]
    pub verification: Verification,
    /// How isolation is judged.
    pub isolation: Isolation,
    /// Workloads that must neither restart, nor change, nor vanish while the run goes on.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub protected: Vec<ProtectedWorkloads>,
    /// What is kept, and how long.
    #[serde(default)]
    pub evidence: EvidencePolicy,
    /// How long the plan waits for approval.
    #[serde(default)]
    pub approval: ApprovalPolicy,
    /// How long each step may take, from the first create on.
    #[serde(default)]
    pub deadlines: StepDeadlines,
}

/// How images may be named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Images {
    /// Accept tags. Otherwise every image must be pinned by digest.
    pub allow_tags: bool,
}

/// The copy's Postgres server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresSpec {
    /// A Debian-based Postgres image, 15 to 18, of production's major version.
    #[schemars(length(min = 1, max = 512))]
    pub image: String,
    /// User that the server runs as; the image's /etc/passwd must have it (999 in the official images).
    #[serde(default = "default_postgres_user")]
    #[schemars(range(min = 1, max = 2147483647))]
    pub run_as_user: i64,
    /// The run's volumes.
    pub storage: StorageSpec,
    /// Resources of the server container; the dump pod requests at least as much, so that the node it binds to has room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::resources")]
    pub resources: Option<ResourceRequirements>,
}

fn default_postgres_user() -> i64 {
    999
}

/// The run's volumes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StorageSpec {
    /// Size of the data volume: the dump and the copy.
    #[schemars(schema_with = "schema::bytes")]
    pub size: Quantity,
    /// Bytes that must be free on the data volume before the dump, and still be free after the restore.
    #[schemars(schema_with = "schema::bytes")]
    pub minimum_free: Quantity,
    /// StorageClass of the volumes; its reclaim policy must be Delete. The cluster's default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,
}

/// How the dump is restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RestoreSpec {
    /// Parallel jobs of `pg_restore`.
    #[schemars(range(min = 1, max = 16))]
    pub jobs: u8,
    /// Roles to create (NOLOGIN) before the restore, beside those that the dump refers to.
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)))]
    pub create_roles: Vec<String>,
    /// Errors of the restore that are accepted.
    #[schemars(length(max = 32))]
    pub tolerate: Vec<ToleratedError>,
}

impl Default for RestoreSpec {
    fn default() -> Self {
        Self {
            jobs: 2,
            create_roles: Vec::new(),
            tolerate: Vec::new(),
        }
    }
}

/// An error of the restore that is accepted, at most so many times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = kube::core::Rule::new("!self.sqlstate.matches('^(08|22|23|53|57|58|XX)') && !(self.statement in ['CREATE POLICY', 'ALTER POLICY', 'GRANT', 'REVOKE', 'ALTER DEFAULT', 'COPY']) && (self.sqlstate != '42704' || self.statement in ['ALTER DATABASE', 'COMMENT', 'SECURITY', 'SET'])")
    .message("this class of error can never be tolerated: data, a policy, a grant or an object would be missing from the copy"))]
pub struct ToleratedError {
    /// The error's SQLSTATE.
    #[schemars(length(min = 5, max = 5), regex(pattern = r"^[0-9A-Z]{5}$"))]
    pub sqlstate: String,
    /// The statement's class: its leading keywords, such as `COMMENT` or `CREATE EXTENSION`.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Z]+( [A-Z]+)*$"))]
    pub statement: String,
    /// Text that the message must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub matching: Option<String>,
    /// How often it may occur.
    #[schemars(range(min = 1, max = 1000))]
    pub at_most: u32,
}

/// How isolation is judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Isolation {
    /// What a reachable address of the pod's own node means; NetworkPolicy cannot block it in general.
    #[serde(default)]
    pub own_node: OwnNode,
    /// Address and TCP port outside the cluster that an unrestricted pod can reach and the run's pods must not. Which that is, only you know. In a
    /// cluster from which nothing can be reached it is any address, such as 192.0.2.1:443 (RFC 5737), with Outside under `mayBeInconclusive`.
    #[schemars(
        length(min = 3, max = 64),
        regex(pattern = r"^[0-9a-fA-F.:\[\]]+:[0-9]{1,5}$")
    )]
    pub outside_address: String,
    /// Classes of targets that may lack a positive control without making the gates Unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub may_be_inconclusive: Vec<TargetClass>,
}

#[cfg(test)]
impl Default for Isolation {
    fn default() -> Self {
        Self {
            own_node: OwnNode::Report,
            outside_address: "192.0.2.1:443".into(),
            may_be_inconclusive: Vec::new(),
        }
    }
}

/// What a reachable address of the pod's own node means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OwnNode {
    /// It is reported.
    #[default]
    Report,
    /// It fails the gate.
    Deny,
}

/// Workloads that the run must leave alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProtectedWorkloads {
    /// Kind of the objects.
    #[serde(default)]
    pub kind: ProtectedKind,
    /// Their namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Their labels; must match at least one object.
    #[schemars(schema_with = "schema::labels")]
    pub selector: BTreeMap<String, String>,
}

/// Kind of a protected object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProtectedKind {
    /// Pods: UID, container IDs, start times, restart counts and image IDs are held.
    #[default]
    Pod,
}

/// What is kept of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EvidencePolicy {
    /// How long the report and its evidence are kept after the run.
    pub retain: Span,
    /// Size of the kept evidence; the largest parts beyond it are cut and named.
    #[schemars(schema_with = "schema::bytes")]
    pub max_size: Quantity,
}

impl Default for EvidencePolicy {
    fn default() -> Self {
        Self {
            retain: Span::from("30d"),
            max_size: Quantity("4Mi".into()),
        }
    }
}

/// How long a plan waits for approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApprovalPolicy {
    /// From the creation of the DryRun on; then it ends as Expired.
    pub expires_after: Span,
}

impl Default for ApprovalPolicy {
    fn default() -> Self {
        Self {
            expires_after: Span::from("24h"),
        }
    }
}

/// How long a run and its steps may take. A step that has not ended at its deadline ends the run, and gates that lack its facts stay Unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StepDeadlines {
    /// The whole run, from the first create on.
    pub total: Span,
    /// Pods being scheduled and images pulled, per step, before what the step may take by itself. A step that has no deadline of its own must end
    /// within this one: the probes (C-04, C-08), the matrix (C-06), inputs and all setup commands together (C-09), the evidence (C-12), and the last
    /// look at production (C-13). It also limits how long a plan may wait for what it names.
    pub start: Span,
    /// The dump (C-03).
    pub dump: Span,
    /// The restore (C-05).
    pub restore: Span,
    /// All scenarios together (C-10).
    pub scenarios: Span,
    /// All that is looked at after the scenarios (C-11): catalog, counts, privileges, probes and the search for credentials.
    pub verify: Span,
}

impl Default for StepDeadlines {
    fn default() -> Self {
        Self {
            total: Span::from("2h"),
            start: Span::from("5m"),
            dump: Span::from("30m"),
            restore: Span::from("30m"),
            scenarios: Span::from("30m"),
            verify: Span::from("30m"),
        }
    }
}
