//! The API group `dryrun.dev/v1alpha1`.
//!
//! A [`DryRun`] asks for one run, a [`DryRunApproval`] lets exactly that run begin, and a [`DryRunReport`] carries what was found and
//! outlives both. The specs of all three are immutable: another intent is another object.

mod approval;
mod crds;
mod dryrun;
mod effects;
mod harness;
mod privileges;
mod report;
mod scalar;
mod schema;
mod source;
mod status;
mod target_class;
mod verification;

pub use approval::{DryRunApproval, DryRunApprovalSpec};
pub use crds::crds;
pub use dryrun::{
    ApprovalPolicy, DryRun, DryRunSpec, EvidencePolicy, Images, Isolation, OwnNode, PostgresSpec,
    ProtectedKind, ProtectedWorkloads, RestoreSpec, StepDeadlines, StorageSpec, ToleratedError,
};
pub use effects::{Figure, RowChange, SequenceChange};
pub use harness::{
    ConfigMapKey, Harness, HarnessInput, Identity, Scenario, ScenarioExpectation, SetupCommand,
    SqlExpectation, SqlStep,
};
pub use privileges::{
    Escalation, Grant, MatrixMode, MatrixRef, MembershipSpec, Privilege, PrivilegeScope,
    Privileges, Profile, ProfileGrant, RoleSpec, Waiver,
};
pub use report::{CommandTime, DryRunReport, DryRunReportSpec, DryRunReportStatus, KeptEvidence};
pub use scalar::{InvalidDuration, InvalidQuantity, Span, bytes_of};
pub use source::{
    Authentication, CaRef, DumpOptions, SecretKeyRef, Source, SourceNetwork, SslMode,
};
pub use status::{Child, DryRunStatus, Outcome, PlanSummary};
pub use target_class::TargetClass;
pub use verification::{CatalogChange, CatalogChanges, RowDelta, Verification};

/// The API group of the three kinds.
pub const GROUP: &str = "dryrun.dev";
/// The version of the three kinds.
pub const VERSION: &str = "v1alpha1";
