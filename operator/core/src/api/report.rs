//! What a run found. It outlives the run.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Outcome, schema};
use crate::commands::Facts;

/// The report of one approved run: who asked, who approved, what ran, each gate with its facts.
///
/// It is the first object that a run creates and has no ownerReference to the DryRun, so that it survives it.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dryrun.dev",
    version = "v1alpha1",
    kind = "DryRunReport",
    namespaced,
    status = "DryRunReportStatus",
    derive = "PartialEq",
    shortname = "drr",
    doc = "The report of one approved run; it outlives the DryRun.",
    printcolumn(name = "DryRun", type_ = "string", json_path = ".spec.dryRunName"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".status.outcome"),
    printcolumn(
        name = "Requested-By",
        type_ = "string",
        json_path = ".spec.requestedBy"
    ),
    printcolumn(name = "Approved-By", type_ = "string", json_path = ".spec.approvedBy"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("a report's spec is immutable"))]
pub struct DryRunReportSpec {
    /// Name of the DryRun.
    #[schemars(length(min = 1, max = 40))]
    pub dry_run_name: String,
    /// UID of the DryRun.
    #[serde(rename = "dryRunUID")]
    #[schemars(length(min = 36, max = 36))]
    pub dry_run_uid: String,
    /// Hash of the plan that was approved and run.
    #[schemars(length(min = 71, max = 71), regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub plan_hash: String,
    /// The whole plan: what was asked for, and what the operator resolved beside it. `planHash` is over its canonical JSON.
    #[schemars(schema_with = "schema::plan")]
    pub plan: serde_json::Value,
    /// Who asked for the run.
    #[schemars(length(max = 253))]
    pub requested_by: String,
    /// Who approved it.
    #[schemars(length(max = 253))]
    pub approved_by: String,
    /// Name of the approval that was used.
    #[schemars(length(max = 253))]
    pub approval_name: String,
    /// UID of the approval that was used.
    #[serde(rename = "approvalUID")]
    #[schemars(length(max = 36))]
    pub approval_uid: String,
}

/// What the run found so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DryRunReportStatus {
    /// When the run began: the first create.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When teardown was proven complete, or given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// When this report and its evidence are deleted: `evidence.retain` after the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// How the run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The gates and summaries as they stood last.
    #[schemars(length(max = 48))]
    pub conditions: Vec<Condition>,
    /// When each command began and how long it took, in order.
    #[schemars(length(max = 16))]
    pub commands: Vec<CommandTime>,
    /// What is kept beside this report, once it is sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<KeptEvidence>,
    /// The facts that the gates were judged from.
    /// Versioned with the operator that wrote them: a schema of every field would be larger than most reports.
    #[schemars(schema_with = "schema::any_object")]
    pub facts: Facts,
    /// One line per gate, as in the DryRun.
    #[schemars(length(max = 64), inner(length(max = 512)))]
    pub verdict: Vec<String>,
}

/// A command of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommandTime {
    /// `C-01` … `C-13`.
    #[schemars(length(max = 8))]
    pub command: String,
    /// When it began.
    pub began_at: Time,
    /// Milliseconds until the next one began, or until the end of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<u64>,
}

/// The evidence that is kept beside the report, in ConfigMaps that are deleted with it.
///
/// Put together in order, their `archive` keys are a tar, compressed with zstd, whose `MANIFEST.sha256` `sha256sum --check` reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeptEvidence {
    /// The ConfigMaps, in order.
    #[schemars(length(max = 64), inner(length(max = 253)))]
    pub config_maps: Vec<String>,
    /// sha256 of the archive, `sha256:…`.
    #[schemars(length(max = 71))]
    pub archive: String,
    /// sha256 of the manifest in it, `sha256:…`.
    #[schemars(length(max = 71))]
    pub manifest: String,
    /// The run ended before C-12: this was sealed on the way out.
    pub partial: bool,
    /// Files that were cut for `evidence.maxSize`, with the number of bytes, and what is not kept at all.
    #[schemars(length(max = 256), inner(length(max = 512)))]
    pub cut: Vec<String>,
}
