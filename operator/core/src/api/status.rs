//! What the operator says of a DryRun.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// Status of a DryRun. Written at one place of the operator, and only when it changed.
///
/// `verdict` sorts last on purpose, so that `kubectl describe` shows the table of gates right above the events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DryRunStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The 25 gates and the summaries ApprovalEnforced, Approved, Succeeded and NetZero, all present from the first visit; Reconciling and Stalled only while true.
    #[serde(default)]
    #[schemars(length(max = 48))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The plan that waits for approval, or runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanSummary>,
    /// Every object of the run: names from before the first create, UIDs as they become known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub children: Vec<Child>,
    /// The step that the run is at: Plan, Approval, C-01 … C-13, Done. For display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// How the run ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Gates that passed, of all: `23/25`. For display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gates: Option<String>,
    /// The first gate that failed. For display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_gate: Option<String>,
    /// `Approved` as a word, for the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<String>,
    /// `NetZero` as a word, for the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net_zero: Option<String>,
    /// Name of the DryRunReport.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
    /// One line per gate: failed ones first, then unknown, then passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 512)))]
    pub verdict: Vec<String>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// All gates are True.
    Passed,
    /// A gate is False.
    Failed,
    /// No gate is False, some are Unknown.
    Inconclusive,
    /// Nobody approved it in time; nothing was created.
    Expired,
    /// Somebody let go of it by force.
    Abandoned,
}

impl Outcome {
    /// The word in `status.outcome` and in condition reasons.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "Passed",
            Self::Failed => "Failed",
            Self::Inconclusive => "Inconclusive",
            Self::Expired => "Expired",
            Self::Abandoned => "Abandoned",
        }
    }
}

/// The resolved plan: what the approver approves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PlanSummary {
    /// `sha256:` and 64 hex digits over the canonical JSON of the whole plan.
    pub hash: String,
    /// What the operator resolved beside the spec; spec and this together are the plan.
    #[schemars(schema_with = "schema::any_object")]
    pub resolved: serde_json::Value,
}

/// One object of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Child {
    /// Kind of the object.
    #[schemars(length(max = 63))]
    pub kind: String,
    /// Namespace of the object.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Name of the object.
    #[schemars(length(max = 253))]
    pub name: String,
    /// UID of the object once it exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36))]
    pub uid: Option<String>,
}
