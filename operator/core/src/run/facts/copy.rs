//! Facts about the copy.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::scenarios::is_zero;
use super::{CopyEffects, InputFacts, LeakFacts, LoggedError, MatrixDifference, PodFingerprint};

/// A large set of rows: its size and digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SetSummary {
    /// Number of rows.
    pub rows: u64,
    /// sha256 over the sorted, tab-separated lines, `sha256:…`.
    pub digest: String,
}

/// Two sets compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SetDifference {
    /// Number of rows that differ.
    pub rows: u64,
    /// At most three of them, identities only.
    pub examples: Vec<String>,
}

/// The copy right after the restore, compared with the source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CopyFacts {
    /// `server_version_num`.
    pub version_num: u32,
    /// The copy's identifier before the restore's first statement and after its last.
    pub system_identifiers: Vec<String>,
    /// The copy's catalog.
    pub catalog: SetSummary,
    /// Catalog rows that differ from the source's, other than expressions that every restore of the
    /// same dump prints so.
    pub catalog_difference: SetDifference,
    /// Further ones, of entries of the dump whose restore failed: G-08 judges whether that is
    /// tolerated.
    pub catalog_tolerated: SetDifference,
    /// The copy's row counts.
    pub counts: SetSummary,
    /// Counts that differ from the source's.
    pub counts_difference: SetDifference,
}

/// C-05.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RestoreFacts {
    /// The restore pod's claim.
    pub claim: RestoreClaim,
    /// Errors that the copy's own log has of the restore, grouped.
    pub logged: Vec<LoggedError>,
    /// Errors that are not among these, because there are too many different ones.
    #[serde(skip_serializing_if = "is_zero")]
    pub overflow: u64,
    /// Roles that were made before the restore.
    pub roles_created: u32,
}

/// The moments at which the copy's identity is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reading {
    /// Before the restore writes.
    #[default]
    #[serde(rename = "restore")]
    BeforeRestore,
    /// Before the harness writes.
    #[serde(rename = "harness")]
    BeforeHarness,
}

impl Reading {
    /// All of them: the proof needs each.
    pub const ALL: [Self; 2] = [Self::BeforeRestore, Self::BeforeHarness];

    /// Name of the writer in messages.
    pub fn writer(self) -> &'static str {
        match self {
            Self::BeforeRestore => "restore",
            Self::BeforeHarness => "harness",
        }
    }
}

/// One reading of the copy's identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CopyIdentity {
    /// The write before which it was read.
    pub before: Reading,
    /// `pg_control_system().system_identifier`, unsigned, as a decimal string; empty when it could
    /// not be read.
    pub system_identifier: String,
    /// `cluster_name`: the run's UID.
    pub cluster_name: String,
    /// `pg_is_in_recovery()`.
    pub in_recovery: bool,
    /// Reason why the reader refused to work with the server: `CopyIsProduction`, `CopyUnreadable`,
    /// `CopyIsUnexpected`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// Sets of the copy at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CopySummary {
    /// Row counts.
    pub counts: SetSummary,
    /// Catalog.
    pub catalog: SetSummary,
    /// Every privilege row.
    pub privileges: SetSummary,
}

/// C-11.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VerificationFacts {
    /// The copy after the scenarios.
    pub after: CopySummary,
    /// Effects of the scenarios that only the copy as a whole shows.
    pub effects: CopyEffects,
    /// Row counts of the tables that the spec names; absent when a table does not exist.
    pub tables: BTreeMap<String, Option<i64>>,
    /// Catalog objects that changed.
    pub catalog_changes: ChangeFacts,
    /// Privileges that changed.
    pub privilege_changes: ChangeFacts,
    /// sha256 of `catalog.diff`, which has both, in hex.
    pub changes_digest: String,
    /// The matrix read again, as it were without the changes of privileges that are declared.
    pub matrix: MatrixDifference,
    /// The run's pods as they are now.
    pub pods: Vec<PodFingerprint>,
    /// Crashes and recoveries in the copy's log; at most 20 are listed.
    pub crashes: Vec<String>,
    /// The harness's inputs, looked at again by the pod's observer.
    pub inputs: InputFacts,
    /// sha256 of each ConfigMap key that holds an input, in hex, by `name/key`, read again; empty
    /// when it is gone.
    pub config_maps: BTreeMap<String, String>,
    /// The search of every object and event of the run.
    pub objects: LeakFacts,
    /// The copy's server settings, against the source's and those before the scenarios.
    pub settings: SettingsFacts,
}

/// Changes of the scenarios against those that are declared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChangeFacts {
    /// Number of changed objects.
    pub changed: u64,
    /// Those that are not declared, as `kind identity`; at most 100 stand here.
    pub undeclared: Vec<String>,
    /// Number of undeclared objects.
    pub undeclared_count: u64,
    /// Declarations that match no change, or another number than they must; at most 20 stand here.
    pub missing: Vec<String>,
    /// Number of missing objects.
    pub missing_count: u64,
}

/// Server settings compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SettingsFacts {
    /// Settings of the source that were compared.
    pub compared: u64,
    /// Settings that differ from the source or changed while the scenarios ran, in a few words
    /// each; at most 20 stand here.
    pub differing: Vec<String>,
    /// Number of differences.
    pub differing_count: u64,
}

/// The restore pod's claim about the restore. The server's own log is the judge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RestoreClaim {
    /// Exit code of `pg_restore`.
    pub exit_code: i32,
    /// The first lines of `pg_restore`'s standard error that begin with `pg_restore: error:`,
    /// without row data.
    pub errors: Vec<String>,
    /// Entries of the dump whose restore failed, as `INDEX public c_key`; at most 20 stand here.
    pub failed: Vec<String>,
    /// Number of failed items.
    pub failed_count: u64,
    /// Number of the server's errors in `pg_restore`'s standard error: lines that begin with
    /// `pg_restore: error:` and hold `ERROR:`.
    pub error_lines: u64,
    /// Bytes free on the data volume after the restore, as the pod sees it under the dump directory
    /// (`statvfs` f_bavail).
    pub free_bytes: u64,
    /// The fewest bytes that were free there while `pg_restore` ran. Below the task's
    /// `minimum_free` it was stopped, and nothing after it was done.
    pub lowest_free_bytes: u64,
    /// Milliseconds that `pg_restore` took.
    pub milliseconds: u64,
    /// Milliseconds that ANALYZE took.
    pub analyze_milliseconds: u64,
    /// The copy right after the restore, compared with the source.
    pub copy: CopyFacts,
}

/// Reasons for which an agent or a session refuses to work with a server, each with the reason that
/// it is here.
pub const REFUSALS: [(&str, &str); 3] = [
    ("CopyIsProduction", "IsProduction"),
    ("CopyUnreadable", "Unreadable"),
    ("CopyIsUnexpected", "UnexpectedServer"),
];

/// Reason of a run that was stopped because the copy's server has broken down: it does not start
/// again, so its log cannot be asked.
pub const CRASHED: &str = "Crashed";
