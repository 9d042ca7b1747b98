//! The second person's word.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// Lets exactly one plan of exactly one DryRun begin, once, until it expires.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dryrun.dev",
    version = "v1alpha1",
    kind = "DryRunApproval",
    namespaced,
    derive = "PartialEq",
    shortname = "dra",
    doc = "The approval of one exact plan by a second person.",
    printcolumn(name = "DryRun", type_ = "string", json_path = ".spec.dryRunName"),
    printcolumn(name = "Approved-By", type_ = "string", json_path = ".spec.approvedBy"),
    printcolumn(name = "Expires", type_ = "date", json_path = ".spec.expiresAt"),
    printcolumn(
        name = "Plan",
        type_ = "string",
        json_path = ".spec.planHash",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = kube::core::Rule::new("self == oldSelf").message("an approval is immutable: make another one"))]
pub struct DryRunApprovalSpec {
    /// Name of the DryRun in the same namespace.
    #[schemars(length(min = 1, max = 40))]
    pub dry_run_name: String,
    /// UID of the DryRun: an approval does not carry over to a later object of the same name.
    #[serde(rename = "dryRunUID")]
    #[schemars(length(min = 36, max = 36))]
    pub dry_run_uid: String,
    /// `status.plan.hash` of the DryRun.
    #[schemars(length(min = 71, max = 71), regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub plan_hash: String,
    /// The approving user; must be the creator of this object and not the requester of the DryRun.
    #[schemars(length(min = 1, max = 253))]
    pub approved_by: String,
    /// From when on it no longer lets a run begin: at most 7 days after this object is made. A run that has begun goes on.
    pub expires_at: Time,
}
