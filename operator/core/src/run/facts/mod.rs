//! Facts of a run: the evidence that gates are judged from.
//!
//! Facts are written into the DryRunReport before the pod that gave them is deleted. They are
//! small: large sets stay on the run's volumes, and their digest, counts and three examples stand
//! here. No fact holds a secret or row data.

mod cluster;
mod copy;
mod effects;
mod evidence;
mod isolation;
mod privileges;
mod scenarios;
mod source;

pub use cluster::{
    ContainerFingerprint, PodFingerprint, PodInspection, PreflightFacts, SecretFacts,
    StorageClassFacts, TeardownFacts, protected_changes,
};
pub use copy::{
    CRASHED, ChangeFacts, CopyFacts, CopyIdentity, CopySummary, REFUSALS, Reading, RestoreClaim,
    RestoreFacts, SetDifference, SetSummary, SettingsFacts, VerificationFacts,
};
pub use effects::{CopyEffects, RowEffects, ScenarioEffects};
pub use evidence::{EvidenceFacts, Leak, LeakFacts, SealFacts, SealedFile};
pub use isolation::{IsolationFacts, Phase, Probe};
pub use privileges::{EscalationFacts, MatrixDifference, PrivilegeRow, RolesFacts, RowGroup};
pub use scenarios::{
    Access, InputFact, InputFacts, LogWindow, LoggedError, ScenarioClaim, ScenarioFacts, StepClaim,
};
pub use source::{
    ArchiveFacts, DUMP_ATTEMPTS, DiskFacts, DumpFacts, LockFacts, RightsFacts, SessionFacts,
    SourceIdentity, SourceRequirements,
};
