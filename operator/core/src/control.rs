//! The control channel between operator and agents: what is asked and what is answered.
//!
//! An agent serves HTTP/1.1 on loopback of its pod, at [`PORT`] unless the pod spec says otherwise; the operator reaches it by port-forward,
//! which no NetworkPolicy sees. Every request carries `Authorization: Bearer` and the pod's own token.
//!
//! Every answer but that to `GET /v1/healthz` ends its connection: of two requests sent at once the second is never read.
//!
//! - `POST /v1/tasks/{id}` with a [`Task`] starts it and answers with its [`TaskResult`] when it has ended. The same id again joins the running
//!   task or repeats its result: a lost connection or a restarted operator loses nothing and runs nothing twice. Only a task that has ended with a
//!   transient failure is begun again. Another task under an id that is taken is refused (422).
//! - `POST /v1/exit` ends the agent with exit code 0.
//! - `GET /v1/archive` answers with the archive that the last [`Task::Seal`] made.
//! - `PUT /v1/watch` with a [`WatchTask`] begins to probe at intervals, beside whatever task runs; when one is at work already, it goes on as it is.
//! - `GET /v1/watch` answers at once with the [`Tally`] of each of its targets so far, in the task's order.
//! - `GET /v1/watch/breach` answers with the same, but only when an attempt at a target other than an excused one has connected.
//!
//! An agent that was started with `--echo` answers on that port of every address of its pod, over TCP and UDP, with what it is sent.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::api::{SqlStep, SslMode};
use crate::facts::{
    CopyFacts, DumpFacts, InputFacts, LeakFacts, ScenarioClaim, SealFacts, SourceIdentity,
    SourceRequirements,
};
use crate::probe::{Tally, Target};

/// Loopback port of the main agent of a pod.
pub const PORT: u16 = 7070;
/// Loopback port of the second agent of a pod, which looks at what the first one's container may have done.
pub const OBSERVER_PORT: u16 = 7071;
/// Directory in which a pod's keys of the run secret are mounted.
pub const SECRETS_DIR: &str = "/run/dryrun/secrets";
/// File in [`SECRETS_DIR`] with the pod's control token.
pub const TOKEN_FILE: &str = "token";
/// File in [`SECRETS_DIR`] with the password of the copy's bootstrap role.
pub const SUPERUSER_FILE: &str = "superuser";
/// Directory into which the init container copies the agent.
pub const AGENT_DIR: &str = "/run/dryrun/agent";
/// Directory of the harness's logs.
pub const HARNESS_LOGS_DIR: &str = "/evidence/harness";
/// Working directory and HOME of the harness's commands.
pub const SCRATCH_DIR: &str = "/scratch";
/// Environment variable with the [`PostgresConfig`] of `dryrun-agent postgres`, as JSON.
pub const POSTGRES_ENV: &str = "DRYRUN_POSTGRES";

/// What an agent is asked to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "camelCase")]
pub enum Task {
    /// C-03: check the source's rights, read its identity and catalog, count and dump inside one exported snapshot.
    Dump(DumpTask),
    /// C-05: restore the dump, then read the copy's catalog and counts and compare them with the source's.
    Restore(RestoreTask),
    /// C-09: verify and unpack the harness's inputs.
    VerifyInputs(VerifyInputsTask),
    /// C-09 and C-10: run one command in the harness.
    RunCommand(CommandTask),
    /// C-10: run SQL steps as a login.
    RunSql(SqlTask),
    /// C-13: read production's identity again.
    Identify(IdentifyTask),
    /// C-11: search all logs of the run for its credentials and production's.
    Search(SearchTask),
    /// C-12: redact, search what is left, and put all that is kept into one archive.
    Seal(SealTask),
    /// C-11: take the digests of the harness's inputs again.
    DigestInputs(VerifyInputsTask),
    /// C-04 to C-11: try to reach targets.
    Probe(ProbeTask),
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "camelCase")]
#[allow(clippy::large_enum_variant, reason = "one lives at a time")]
pub enum TaskResult {
    /// The dump was taken.
    Dump(DumpFacts),
    /// The restore ran; its errors are facts, not a failure of the task.
    Restore(RestoreClaim),
    /// The inputs were looked at.
    VerifyInputs(InputFacts),
    /// The command or the steps ran.
    Scenario(ScenarioClaim),
    /// Production's identity was read.
    Identify(SourceIdentity),
    /// The logs were searched.
    Search(LeakFacts),
    /// The archive was made.
    Seal(SealFacts),
    /// The targets were tried.
    Probe {
        /// One for each target, in the task's order.
        tallies: Vec<Tally>,
    },
    /// The task could not be done.
    Failed(TaskError),
}

/// Why a task could not be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}: {message}")]
#[serde(rename_all = "camelCase")]
pub struct TaskError {
    /// One CamelCase word, used as the reason of a condition.
    pub reason: String,
    /// What happened and what to change; never a secret, never row data; at most 1 KiB.
    pub message: String,
    /// Whether the same task may succeed when it is tried again without a change. Never said by one that has left something behind.
    pub transient: bool,
}

/// Connection parameters of a Postgres server. The password is read from a file of the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// Name, for TLS verification and for people.
    pub host: String,
    /// Address to connect to; pods of a run have no DNS.
    pub address: String,
    /// TCP port.
    pub port: u16,
    /// Role to log in as.
    pub user: String,
    /// Database to connect to.
    pub database: String,
    /// TLS of the connection.
    pub sslmode: SslMode,
    /// File name in [`SECRETS_DIR`] that holds the password.
    pub password_file: String,
}

/// C-03.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DumpTask {
    /// Production.
    pub server: Server,
    /// `pg_dump --jobs`.
    pub jobs: u8,
    /// `pg_dump --lock-wait-timeout`, in milliseconds.
    pub lock_timeout_ms: u64,
    /// The identifier that production must have; anything else ends the task before the dump.
    pub system_identifier: String,
    /// Directory for the dump and its side files, empty at first.
    pub directory: String,
    /// Directory of the data volume whose free space is judged.
    pub data_directory: String,
    /// Bytes that must be free there before a byte is dumped.
    pub minimum_free: u64,
}

/// C-05.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoreTask {
    /// The copy, with a superuser of the run, connected to the maintenance database.
    pub server: Server,
    /// Name of the database that the dump creates.
    pub database: String,
    /// `pg_restore --jobs`.
    pub jobs: u8,
    /// Directory with the dump and its side files, read-only.
    pub directory: String,
    /// sha256 tree digest that the dump task reported; verified before the restore.
    pub dump_digest: String,
    /// Production's identifier: the copy's must differ, before the restore and after it.
    pub forbidden_system_identifier: String,
    /// Bytes of the data volume that the restore must leave free at every moment; it is stopped when they are not.
    pub minimum_free: u64,
}

/// What the restore pod says of the restore. The server's own log is the judge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RestoreClaim {
    /// Exit code of `pg_restore`.
    pub exit_code: i32,
    /// The first lines of `pg_restore`'s standard error that begin with `pg_restore: error:`, without row data.
    pub errors: Vec<String>,
    /// Number of the server's errors in `pg_restore`'s standard error: lines that begin with `pg_restore: error:` and hold `ERROR:`.
    pub error_lines: u64,
    /// Bytes free on the data volume after the restore, as the pod sees it under the dump directory (`statvfs` f_bavail).
    pub free_bytes: u64,
    /// The fewest bytes that were free there while `pg_restore` ran. Below the task's `minimum_free` it was stopped, and nothing after it was done.
    pub lowest_free_bytes: u64,
    /// Milliseconds that `pg_restore` took.
    pub milliseconds: u64,
    /// Milliseconds that ANALYZE took.
    pub analyze_milliseconds: u64,
    /// The copy right after the restore, compared with the source.
    pub copy: CopyFacts,
}

/// C-09: one input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyInput {
    /// The file as it is mounted from the ConfigMap.
    pub source: String,
    /// Directory that it is unpacked into (a `.tar`) or copied to.
    pub destination: String,
    /// sha256 that the file must have, in hex.
    pub sha256: String,
}

/// C-09.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyInputsTask {
    /// The inputs in the spec's order.
    pub inputs: Vec<VerifyInput>,
}

/// How a login of the copy is reached by a command: the password travels over the control channel and is written to a 0600 passfile in memory.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Login {
    /// Address of the copy.
    pub address: String,
    /// TCP port.
    pub port: u16,
    /// Database.
    pub database: String,
    /// Role.
    pub user: String,
    /// Its password, made for this scenario.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// C-10, and the setup of C-09.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandTask {
    /// Name of the scenario, or of the setup command: the name of its log in the evidence.
    pub name: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// The whole environment beside PATH, HOME, TMPDIR and the PG variables.
    pub env: BTreeMap<String, String>,
    /// The login, absent for setup.
    pub login: Option<Login>,
    /// Whether what fresh commands before it have added to the scratch directories, or changed in them, is removed first.
    pub fresh: bool,
    /// Milliseconds after which everything in the container but the agent is killed.
    pub timeout_ms: u64,
}

/// C-10, plain SQL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SqlTask {
    /// Name of the scenario.
    pub name: String,
    /// The steps.
    pub steps: Vec<SqlStep>,
    /// The login.
    pub login: Login,
    /// Milliseconds that all steps may take.
    pub timeout_ms: u64,
}

/// C-13.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IdentifyTask {
    /// Production.
    pub server: Server,
}

/// Where the seal pod finds what the run has written, and what it must look for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SearchTask {
    /// Directory with the parts of the evidence volume: `server/`, `harness/`, `dump/`. Files of all of them are searched.
    pub directory: String,
    /// UID of the run: scenarios' passwords are derived with it.
    pub run_uid: String,
    /// Number of scenarios whose derived passwords are looked for.
    pub scenarios: usize,
    /// Roles of production and copy, for the forms that hash a password with its role.
    pub roles: Vec<String>,
}

/// C-12, and the best effort of C-13.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealTask {
    /// Where to look, and what for.
    pub search: SearchTask,
    /// Texts of the operator that are kept beside the logs, by their path in the archive.
    pub documents: BTreeMap<String, String>,
    /// The harness's logs that are kept, by their names without `.log`: setup commands and scenarios that have ended, each with the sha256 that was
    /// claimed when it had, `sha256:…`. Other files, and logs that are something else by now, are searched and not kept.
    pub logs: BTreeMap<String, String>,
    /// The log of what was at work when the run was stopped: kept as far as it had come, with nothing to compare it with. Partial evidence alone
    /// has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<String>,
    /// Keep every statement of these roles from the copy's log; empty: keep no statement.
    pub trace_roles: Vec<String>,
    /// Bytes of all kept files together; the largest are cut beyond it.
    pub max_bytes: u64,
}

/// C-04 to C-11: targets, all tried at a time, several times over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeTask {
    /// What to reach.
    pub targets: Vec<Target>,
    /// How often each is tried.
    pub rounds: u32,
    /// Milliseconds from the begin of one round to that of the next; a round need not have ended by then.
    pub interval_ms: u64,
    /// Milliseconds that an answer is waited for.
    pub timeout_ms: u64,
    /// What an echo must send back: different in every task, so that no old answer can pass.
    pub nonce: String,
}

/// C-08 to C-11: targets, tried at intervals for as long as the agent lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchTask {
    /// What to try, and how; `rounds` does not count.
    pub probe: ProbeTask,
    /// Whether the target at the same place of `probe.targets` may be reached without a breach.
    pub excused: Vec<bool>,
    /// Milliseconds that are added to the interval at random, at most.
    pub jitter_ms: u64,
}

/// The copy's server, as `dryrun-agent postgres` sets it up. Holds no secret: the bootstrap role's password is [`SUPERUSER_FILE`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PostgresConfig {
    /// UID of the run: `cluster_name`, so that a connection knows which run's copy it has reached.
    pub run_uid: String,
    /// Name of the bootstrap superuser; it is let in from loopback alone, where the operator's port-forward ends.
    pub bootstrap_role: String,
    /// Name of the superuser that restores, let in from anywhere; NetworkPolicy limits the sources.
    pub restore_role: Option<String>,
    /// The database that the restore creates: the only one that declared roles are let into.
    pub database: String,
    /// Declared roles, also those that may not log in: what refuses them must be the server's own check of LOGIN.
    pub roles: Vec<String>,
    /// PGDATA; empty or absent.
    pub data_directory: String,
    /// Directory of `server.json` (jsonlog) and `server.log`.
    pub log_directory: String,
    /// `listen_addresses`.
    pub listen_addresses: String,
    /// TCP port.
    pub port: u16,
    /// `max_connections`.
    pub max_connections: u16,
    /// `shared_buffers`, in bytes.
    pub shared_buffers: u64,
    /// Production's identifier: a data directory that has it is never started.
    pub forbidden_system_identifier: String,
    /// Encoding, locale and checksums of the source.
    pub requirements: SourceRequirements,
}
