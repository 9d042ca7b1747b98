//! The copy's server, as its agent sets it up.

use serde::{Deserialize, Serialize};

use crate::run::facts::SourceRequirements;

/// Environment variable with the [`PostgresConfig`] of `dryrun-agent postgres`, as JSON.
pub const POSTGRES_ENV: &str = "DRYRUN_POSTGRES";

/// The copy's server, as `dryrun-agent postgres` sets it up. Holds no secret: the bootstrap role's
/// password is [`SUPERUSER_FILE`](crate::run::layout::SUPERUSER_FILE).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PostgresConfig {
    /// UID of the run: `cluster_name`, so that a connection knows which run's copy it has reached.
    pub run_uid: String,
    /// Name of the bootstrap superuser; it may log in from loopback only, where the operator's
    /// port-forward ends.
    pub bootstrap_role: String,
    /// Name of the superuser that restores, which may log in from any address; NetworkPolicy limits
    /// the sources.
    pub restore_role: Option<String>,
    /// The database that the restore creates: the only one that declared roles are let into.
    pub database: String,
    /// Declared roles, also those that may not log in: what refuses them must be the server's own
    /// check of LOGIN.
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
