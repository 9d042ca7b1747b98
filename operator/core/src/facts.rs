//! What a run has found out: the evidence that gates are judged from.
//!
//! Facts are written into the DryRunReport before the pod that gave them is deleted. They are small: large sets stay on the run's volumes, and
//! their digest, counts and three examples stand here. No fact holds a secret or row data.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::control::{RestoreClaim, TaskError};
use crate::isolation::IsolationFacts;

/// All facts of a run, each absent until its step has given it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Facts {
    /// C-01.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preflight: Option<PreflightFacts>,
    /// C-02.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<SecretFacts>,
    /// C-03.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dump: Option<DumpFacts>,
    /// C-05.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreFacts>,
    /// C-06.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<RolesFacts>,
    /// C-05 and C-07: readings of the copy's identity, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub copy_identity: Vec<CopyIdentity>,
    /// C-08.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub harness: Option<HarnessFacts>,
    /// C-09.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<InputFacts>,
    /// C-08: setup commands, in the spec's order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub setup: Vec<ScenarioClaim>,
    /// C-10: scenarios, in the spec's order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scenarios: Vec<ScenarioFacts>,
    /// C-11: the copy before the scenarios.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<CopySummary>,
    /// C-11.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<VerificationFacts>,
    /// C-11: the search of all logs on the evidence volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<LeakFacts>,
    /// C-03 to C-11: the searches of the logs of containers, by pod.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub container_logs: BTreeMap<String, LeakFacts>,
    /// C-12, or the best effort of C-13.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceFacts>,
    /// The run's pods as they were when they were needed, by the part that they play.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub inspections: BTreeMap<String, PodInspection>,
    /// C-11: the copy's pod once more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inspected_again: Option<PodInspection>,
    /// C-04 to C-11: what pods of the run tried to reach.
    #[serde(skip_serializing_if = "IsolationFacts::is_empty")]
    pub isolation: IsolationFacts,
    /// When the watch over the protected workloads began, and began again: between the last look and these times nobody watched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub watched_since: Vec<Timestamp>,
    /// Why nobody could watch them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch_error: Option<TaskError>,
    /// What the watch saw change, in order; at most 20 stand here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub protected_changes: Vec<String>,
    /// C-13.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teardown: Option<TeardownFacts>,
    /// When each step began, by its name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub began: BTreeMap<String, Timestamp>,
    /// Node that the scheduler chose for the dump pod: there the volumes are, so all later pods follow it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// Attempts at the dump so far.
    #[serde(skip_serializing_if = "is_zero")]
    pub dump_attempts: u8,
    /// UIDs of the run's claims: no PersistentVolume may be left that was made for one of them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub claims: BTreeSet<String>,
    /// PersistentVolumes that the run's claims were bound to.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub volumes: BTreeSet<String>,
    /// Waiting init containers that were told to go on.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub released: BTreeSet<String>,
    /// What stopped the run, when it was not a gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if takes a reference"
)]
fn is_zero(n: &u8) -> bool {
    *n == 0
}

/// Why a run was stopped early.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stopped {
    /// The step that could not go on.
    pub step: String,
    /// One CamelCase word.
    pub reason: String,
    /// What happened and what to change.
    pub message: String,
}

/// C-01: the cluster before anything is created.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PreflightFacts {
    /// Names of the run's objects that somebody else has, as `Kind/name`.
    pub taken: Vec<String>,
    /// Number of names that were looked at.
    pub names: u32,
    /// The StorageClass of the volumes.
    pub storage_class: Option<StorageClassFacts>,
    /// Why the volumes or pods could not be created here, such as an exceeded quota or an unprepared namespace.
    pub obstacles: Vec<String>,
    /// The protected workloads as they were.
    pub protected: Vec<PodFingerprint>,
    /// Why protected workloads could not be recorded.
    pub protected_errors: Vec<String>,
}

/// A StorageClass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageClassFacts {
    /// Name.
    pub name: String,
    /// Its reclaim policy: must be Delete.
    pub reclaim_policy: String,
}

/// A pod as it stood at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodFingerprint {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Its containers by name.
    pub containers: BTreeMap<String, ContainerFingerprint>,
}

/// A container as it stood at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerFingerprint {
    /// Runtime ID.
    pub container_id: String,
    /// Image ID.
    pub image_id: String,
    /// When it started.
    pub started_at: String,
    /// Restarts so far.
    pub restarts: i32,
}

/// C-02: the run's Secret as it was read back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretFacts {
    /// UID of the Secret.
    pub uid: String,
    /// It can no longer be changed.
    pub immutable: bool,
    /// Its keys.
    pub keys: Vec<String>,
    /// Keys whose value is not 32 characters of `[A-Za-z0-9]`.
    pub malformed: Vec<String>,
}

/// C-03: how far the dump pod came. Each part is present once its stage was reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DumpFacts {
    /// Free space on the data volume.
    pub disk: Option<DiskFacts>,
    /// Who production is.
    pub identity: Option<SourceIdentity>,
    /// What the dump role may and may not do.
    pub rights: Option<RightsFacts>,
    /// The sessions in which production was read.
    pub sessions: Option<SessionFacts>,
    /// What the copy's server needs to be able to hold it.
    pub requirements: Option<SourceRequirements>,
    /// Roles that the database refers to, to be made before the restore.
    pub roles: Vec<SourceRole>,
    /// Memberships among them, as (role, member).
    pub memberships: Vec<(String, String)>,
    /// The dump itself.
    pub archive: Option<ArchiveFacts>,
    /// What stopped it before its end.
    pub problem: Option<TaskError>,
}

/// Free space on a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DiskFacts {
    /// Bytes that an unprivileged process may still write (`statvfs` f_bavail).
    pub free_bytes: u64,
    /// `pg_database_size` of the source; 0 when it could not be read.
    pub source_bytes: u64,
}

impl DiskFacts {
    /// Dump and copy together take less than this many times the size of the source: the compressed dump is a part of it, the copy has no bloat.
    const ROOM_PER_SOURCE_BYTE: u64 = 2;

    /// Bytes that must be free before the dump, of which `minimum_free` must also be free after the restore.
    pub fn needed(&self, minimum_free: u64) -> u64 {
        minimum_free.max(self.source_bytes.saturating_mul(Self::ROOM_PER_SOURCE_BYTE))
    }
}

/// Who a Postgres server is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceIdentity {
    /// `pg_control_system().system_identifier`, unsigned, as a decimal string.
    pub system_identifier: String,
    /// `server_version_num`.
    pub version_num: u32,
    /// `pg_postmaster_start_time()`, UTC, RFC 3339 with microseconds.
    pub started_at: String,
    /// `pg_control_checkpoint().timeline_id`.
    pub timeline: u32,
    /// `inet_server_addr()`, host part.
    pub address: String,
    /// `pg_is_in_recovery()`.
    pub in_recovery: bool,
}

/// What the dump role may and may not do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RightsFacts {
    /// Statements that would give it what the dump needs and it lacks; at most 20 stand here.
    pub missing: Vec<String>,
    /// How many are missing.
    pub missing_count: u64,
    /// Rights to write that it has; at most 20 stand here.
    pub writable: Vec<String>,
    /// How many rights to write it has.
    pub writable_count: u64,
}

/// The sessions in which production was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionFacts {
    /// `transaction_read_only` of the agent's session.
    pub read_only: bool,
    /// `pg_current_xact_id_if_assigned()` of the agent's session at its end: a transaction ID means that it wrote.
    pub xid_assigned: bool,
    /// The options that pg_dump's sessions were started with.
    pub dump_options: Vec<String>,
}

/// What the copy's server must offer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceRequirements {
    /// Server encoding.
    pub encoding: String,
    /// Locale provider: libc, icu or builtin.
    pub locale_provider: String,
    /// LC_COLLATE, or the provider's locale.
    pub collate: String,
    /// LC_CTYPE.
    pub ctype: String,
    /// Data checksums are on.
    pub data_checksums: bool,
    /// Extensions and their versions.
    pub extensions: BTreeMap<String, String>,
    /// Extensions that the copy's image does not have, as `name version`.
    pub unavailable: Vec<String>,
    /// The server's own values of [`crate::settings::MIRRORED`], before any role or database changes them.
    pub settings: BTreeMap<String, String>,
    /// Those of them that could not be seen, since the dump's role, its session or the database has a value of its own.
    pub settings_unseen: Vec<String>,
}

/// A role of the source that the dump refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceRole {
    /// Name.
    pub name: String,
    /// It is the source's bootstrap superuser (OID 10).
    pub bootstrap: bool,
}

/// The dump.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArchiveFacts {
    /// Tree digest over the dump directory, `sha256:…`.
    pub digest: String,
    /// Bytes of the dump.
    pub bytes: u64,
    /// Version of `pg_dump`, as `pg_dump --version` prints it.
    pub pg_dump: String,
    /// The source's catalog before the dump; after it, it was the same.
    pub catalog: SetSummary,
    /// Exact row counts of the source's tables inside the dump's snapshot.
    pub counts: SetSummary,
    /// Rows of all tables.
    pub rows: u64,
    /// Milliseconds of `pg_dump`.
    pub milliseconds: u64,
}

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
    /// Catalog rows that differ from the source's and from those of a schema-only restore of the same dump.
    pub catalog_difference: SetDifference,
    /// The copy's row counts.
    pub counts: SetSummary,
    /// Counts that differ from the source's.
    pub counts_difference: SetDifference,
}

/// C-05.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RestoreFacts {
    /// What the restore pod says.
    pub claim: RestoreClaim,
    /// Errors that the copy's own log has of the restore, grouped.
    pub logged: Vec<LoggedError>,
    /// Roles that were made before the restore.
    pub roles_created: u32,
}

/// Errors of one kind in the copy's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoggedError {
    /// SQLSTATE.
    pub sqlstate: String,
    /// ERROR, FATAL or PANIC.
    pub severity: String,
    /// Leading keywords of the statement.
    pub statement: String,
    /// Role that was logged in, as the log names it.
    pub user: String,
    /// Function of the server that raised it.
    pub function: String,
    /// The message, only for SQLSTATE classes that speak of names and rights (42, 28, 53, 57), cut at 200 characters.
    pub message: String,
    /// How often.
    pub count: u32,
}

/// One row of the privilege catalog: class, object, grantee, privilege, grant option, sign.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PrivilegeRow {
    /// Class of the object: table, column, role_attr, membership, …
    pub class: String,
    /// The object.
    pub object: String,
    /// The grantee, `public` for everybody.
    pub grantee: String,
    /// The privilege or the attribute with its value.
    pub privilege: String,
    /// WITH GRANT OPTION, or ADMIN.
    pub grantable: bool,
    /// `+` there, `-` taken away from a built-in's initial privileges.
    pub sign: String,
}

/// The matrix compared with what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MatrixDifference {
    /// Declared rows.
    pub declared: u64,
    /// Found rows in scope.
    pub found: u64,
    /// Declared and not found, grouped.
    pub missing: Vec<RowGroup>,
    /// Found and not declared, grouped.
    pub unexpected: Vec<RowGroup>,
    /// Declarations that cannot hold: patterns that match nothing or the wrong number, unknown objects, expired waivers.
    pub errors: Vec<String>,
    /// Summary of all rows outside the scope: counted and hashed.
    pub rest: SetSummary,
    /// How declared roles could get more than these rows say.
    pub escalations: EscalationFacts,
}

/// How declared roles could get more than their rows say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EscalationFacts {
    /// Paths that declared roles have, those that are open to everybody included.
    pub found: u64,
    /// How many of them nobody has allowed.
    pub unexpected: u64,
    /// At most three of those, as `role: why: what`.
    pub examples: Vec<String>,
    /// Entries of the allow-list that match no path; at most 64 stand there.
    pub vain: Vec<String>,
}

/// Rows of one class, grantee and privilege.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RowGroup {
    /// Class of the objects.
    pub class: String,
    /// The grantee.
    pub grantee: String,
    /// The privilege.
    pub privilege: String,
    /// How many rows.
    pub rows: u64,
    /// At most three objects.
    pub examples: Vec<String>,
}

/// C-06.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RolesFacts {
    /// What production had granted to the declared roles, compared with the matrix, before it was revoked.
    pub production: MatrixDifference,
    /// The matrix read back after it was applied.
    pub applied: MatrixDifference,
    /// Statements that were run.
    pub statements: u64,
    /// Milliseconds of reading back and comparing.
    pub milliseconds: u64,
    /// Production's settings of roles and databases that were taken away, since they decide what the copy logs; at most 20 stand here.
    pub log_settings_reset: Vec<String>,
}

/// One reading of the copy's identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CopyIdentity {
    /// The step before whose first write it was read.
    pub before: String,
    /// `pg_control_system().system_identifier`, unsigned, as a decimal string; empty when it could not be read.
    pub system_identifier: String,
    /// `cluster_name`: the run's UID.
    pub cluster_name: String,
    /// `pg_is_in_recovery()`.
    pub in_recovery: bool,
    /// Why whoever read it refused to work with the server: `CopyIsProduction`, `CopyUnreadable`, `CopyIsStranger`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// C-08: the harness pod as it really is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HarnessFacts {
    /// UID of the pod.
    pub pod_uid: String,
    /// What it may do and should not.
    pub violations: Vec<String>,
    /// Image IDs by container.
    pub image_ids: BTreeMap<String, String>,
}

/// C-09.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InputFacts {
    /// The inputs in the spec's order.
    pub inputs: Vec<InputFact>,
}

/// One input as the pod has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InputFact {
    /// Where it was unpacked to.
    pub destination: String,
    /// sha256 of the file, in hex; empty when it could not be read.
    pub sha256: String,
    /// Files after unpacking.
    pub files: u64,
    /// Tree digest after unpacking, `sha256:…`.
    pub tree_digest: String,
    /// Why it was refused, such as a link out of the tree.
    pub problem: Option<String>,
}

/// What the runner says of a scenario: a claim, never a proof.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScenarioClaim {
    /// Name.
    pub name: String,
    /// Exit code; absent when it was killed.
    pub exit_code: Option<i32>,
    /// It was killed at its timeout.
    pub timed_out: bool,
    /// Milliseconds.
    pub milliseconds: u64,
    /// Bytes of its output.
    pub log_bytes: u64,
    /// sha256 of its output, `sha256:…`.
    pub log_digest: String,
    /// Results of SQL steps, in order.
    pub steps: Vec<StepClaim>,
    /// Why it could not be started.
    pub problem: Option<String>,
}

/// What came of a SQL step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StepClaim {
    /// `00000` or the error's SQLSTATE; empty when the connection was lost.
    pub sqlstate: String,
    /// Rows returned or changed.
    pub rows: u64,
}

/// C-10: one scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScenarioFacts {
    /// What the runner says.
    pub claim: ScenarioClaim,
    /// What the copy's own log says between the markers.
    pub window: LogWindow,
}

/// The part of the copy's log that belongs to one scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogWindow {
    /// Both markers were found, in order.
    pub enclosed: bool,
    /// Byte in the log file behind the closing marker: where the next window begins.
    pub end_offset: u64,
    /// Sessions that declared roles began.
    pub sessions: u64,
    /// Statements that they ran.
    pub statements: u64,
    /// Errors of declared roles, grouped.
    pub errors: Vec<LoggedError>,
    /// Errors of anybody else, and crashes.
    pub foreign: Vec<LoggedError>,
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
    /// Tables whose row count moved, with the difference.
    pub moved: BTreeMap<String, i64>,
    /// Row counts of the tables that the spec names; absent when a table does not exist.
    pub tables: BTreeMap<String, Option<i64>>,
    /// Catalog rows that changed, as `kind identity`; at most 100 stand here.
    pub catalog_changed: Vec<String>,
    /// How many catalog rows changed.
    pub catalog_changed_count: u64,
    /// The matrix read again.
    pub matrix: MatrixDifference,
    /// Privilege rows outside the matrix's scope that changed.
    pub privileges_changed: SetDifference,
    /// The run's pods as they are now.
    pub pods: Vec<PodFingerprint>,
    /// Crashes and recoveries that the copy's log tells of.
    pub crashes: Vec<String>,
    /// The harness's inputs, looked at again by the pod's observer.
    pub inputs: InputFacts,
    /// sha256 of each ConfigMap key that holds an input, in hex, by `name/key`, read again; empty when it is gone.
    pub config_maps: BTreeMap<String, String>,
    /// The search of every object and event of the run.
    pub objects: LeakFacts,
    /// The copy's server settings, against the source's and those before the scenarios.
    pub settings: SettingsFacts,
}

/// Server settings compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SettingsFacts {
    /// Settings of the source that were compared.
    pub compared: u64,
    /// Settings that differ from the source or changed while the scenarios ran, in a few words each; at most 20 stand here.
    pub differing: Vec<String>,
    /// How many differ.
    pub differing_count: u64,
}

/// What a search for credentials found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeakFacts {
    /// Texts that were searched: files, containers' logs, objects.
    pub texts: u64,
    /// Bytes that were searched.
    pub bytes: u64,
    /// Credentials that were found; at most 20 stand here.
    pub found: Vec<Leak>,
    /// How many occurrences of credentials there were.
    pub found_count: u64,
    /// Texts of the shape of somebody's token or key, by the name of the shape: a warning, not a proof.
    pub shapes: BTreeMap<String, u64>,
    /// What could not be searched, and why; at most 20 stand here.
    pub unread: Vec<String>,
    /// The canary was found where it had been planted: the search finds what is there.
    pub canary: bool,
}

/// A credential where none may be.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Leak {
    /// Name of the credential, never its value.
    pub credential: String,
    /// The form in which it stood there: `raw`, `base64`, `hex`, `scram`, …
    pub form: String,
    /// The file, container or object.
    pub place: String,
    /// How often.
    pub count: u64,
}

/// C-12: what the seal pod has put together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SealFacts {
    /// sha256 of the archive, `sha256:…`.
    pub archive: String,
    /// Bytes of the archive.
    pub archive_bytes: u64,
    /// sha256 of the manifest in it, `sha256:…`.
    pub manifest: String,
    /// The files in it, in the manifest's order.
    pub files: Vec<SealedFile>,
    /// What is not kept, and why.
    pub dropped: Vec<String>,
    /// The search of what is kept, after the redaction. Its canary was put among it for this search.
    pub search: LeakFacts,
}

/// A file of the archive.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SealedFile {
    /// Path in the archive.
    pub path: String,
    /// Bytes.
    pub bytes: u64,
    /// sha256, `sha256:…`.
    pub sha256: String,
    /// Occurrences of credentials that were blotted out.
    pub redacted: u64,
    /// Bytes at its end that were cut for `evidence.maxSize`.
    pub cut_bytes: u64,
}

/// C-12: the evidence as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EvidenceFacts {
    /// What the seal pod says.
    pub seal: SealFacts,
    /// C-12 was not reached: this was sealed on the way out, from whatever there was.
    pub partial: bool,
    /// The ConfigMaps that hold the archive, in order.
    pub config_maps: Vec<String>,
    /// sha256 over what was read back from them, `sha256:…`.
    pub stored: String,
    /// Why nothing could be sealed.
    pub problem: Option<TaskError>,
}

/// A pod of the run as the apiserver has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodInspection {
    /// UID of the pod.
    pub uid: String,
    /// Keys of Secrets that it mounts or has in its environment, as `secret/key`; `secret/*` for a whole one.
    pub secrets: BTreeSet<String>,
    /// Files of Secrets whose mode is not 0440, as `volume mode`.
    pub modes: Vec<String>,
    /// Image references and the image IDs that they meant, by container.
    pub images: BTreeMap<String, (String, String)>,
    /// What lets it be reached or reach more than it should.
    pub openings: Vec<String>,
}

/// C-13.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TeardownFacts {
    /// The protected workloads as they are now.
    pub protected: Option<Vec<PodFingerprint>>,
    /// Why they could not be looked at.
    pub protected_errors: Vec<String>,
    /// Production's identity, read again.
    pub identity: Option<SourceIdentity>,
    /// Why it could not be read.
    pub identity_error: Option<TaskError>,
    /// Objects of the run that were still found by the last look, as `Kind/name`.
    pub left: Vec<String>,
    /// Both looks, by name and by label, found nothing.
    pub proven: bool,
    /// Why the proof could not be made.
    pub proof_error: Option<String>,
}
