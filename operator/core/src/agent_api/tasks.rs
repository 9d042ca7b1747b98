//! Payloads of the agents' tasks.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::api::{Authentication, SqlStep, SslMode};
use crate::isolation::target::Target;

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
    /// Authentication methods that the server may ask for.
    pub authentication: Authentication,
    /// File name in [`SECRETS_DIR`](crate::run::layout::SECRETS_DIR) with certificates of
    /// authorities; public ones if absent.
    pub ca_file: Option<String>,
    /// File name in [`SECRETS_DIR`](crate::run::layout::SECRETS_DIR) that holds the password.
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
    /// Bytes of the data volume that the restore must leave free at every moment; it is stopped
    /// when they are not.
    pub minimum_free: u64,
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

/// Connection parameters for a login of the copy: the password travels over the control channel and
/// is written to a 0600 passfile in memory.
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
    /// True if additions and changes by earlier fresh commands are removed from the scratch
    /// directories first.
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

/// Locations of the run's output in the seal pod, and the credentials to search for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SearchTask {
    /// Directory with the parts of the evidence volume: `server/`, `harness/`, `dump/`. Files of
    /// all of them are searched.
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
    /// Paths to search, and credentials to search for.
    pub search: SearchTask,
    /// Texts of the operator that are kept beside the logs, by their path in the archive.
    pub documents: BTreeMap<String, String>,
    /// The harness's logs that are kept, by their names without `.log`: setup commands and
    /// scenarios that have ended, each with the sha256 that was claimed when it had, `sha256:…`.
    /// Other files, and logs that are something else by now, are searched and not kept.
    pub logs: BTreeMap<String, String>,
    /// The log of what was at work when the run was stopped: kept as far as it had come, with
    /// nothing to compare it with. Partial evidence alone has one.
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
    /// Targets to reach.
    pub targets: Vec<Target>,
    /// Number of attempts for each target.
    pub rounds: u32,
    /// Milliseconds from the begin of one round to that of the next; a round need not have ended by
    /// then.
    pub interval_ms: u64,
    /// Milliseconds that an answer is waited for.
    pub timeout_ms: u64,
    /// Nonce that an echo must send back: different in every task, so that no old answer can pass.
    pub nonce: String,
}

/// C-08 to C-11: targets, tried at intervals for as long as the agent lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchTask {
    /// Probes to try; `rounds` does not count.
    pub probe: ProbeTask,
    /// Flags, one for each of `probe.targets`: true if a connection is no breach.
    pub excused: Vec<bool>,
    /// Milliseconds that are added to the interval at random, at most.
    pub jitter_ms: u64,
}
