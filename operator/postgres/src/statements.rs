//! Statements of one line, as constants: a list of columns and conditions is a query and stands in
//! a `.sql` file.

use dryrun_core::postgres::sql::Template;

/// Versions of the database's extensions.
pub(crate) const EXTENSIONS: &str = "SELECT extname::text, extversion FROM pg_extension";

/// Exports the snapshot of the transaction.
pub(crate) const EXPORT_SNAPSHOT: &str = "SELECT pg_export_snapshot()";
/// Puts the transaction into an exported snapshot.
pub(crate) const SNAPSHOT: Template<1> =
    Template::new("SET TRANSACTION SNAPSHOT {snapshot}", ["snapshot"]);
/// Identity of this transaction, queried at its end.
pub(crate) const TRANSACTION: &str = "SELECT current_setting('transaction_read_only')::bool, \
     pg_current_xact_id_if_assigned() IS NOT NULL";
/// Milliseconds that the session waits for a table that another session has locked.
pub(crate) const LOCK_TIMEOUT: &str = "SELECT set_config('lock_timeout', $1, false)";

/// Roles of this name.
pub(crate) const ROLE_EXISTS: &str = "SELECT count(*) FROM pg_roles WHERE rolname = $1";
/// Backends of these roles.
pub(crate) const BACKENDS: &str = "SELECT count(*) FROM pg_stat_activity WHERE usename = ANY ($1)";
/// Ends every backend of these roles; returns how many there were.
pub(crate) const TERMINATE: &str = "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) \
     FROM pg_stat_activity WHERE usename = ANY ($1)";

/// Size of a file of the server.
pub(crate) const FILE_SIZE: &str = "SELECT size FROM pg_stat_file($1)";
/// A piece of a file of the server.
pub(crate) const FILE_PIECE: &str = "SELECT pg_read_binary_file($1, $2, $3)";

/// Makes room in the maintenance database for what the copy was before the scenarios. No declared
/// role may enter that database.
pub(crate) const BASELINE_CREATE: &str = "
    REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;
    CREATE SCHEMA IF NOT EXISTS dryrun;
    CREATE TABLE IF NOT EXISTS dryrun.baseline (kind text PRIMARY KEY, rows text NOT NULL)";
/// Keeps a text under a name.
pub(crate) const BASELINE_WRITE: &str = "INSERT INTO dryrun.baseline (kind, rows) VALUES ($1, $2) \
     ON CONFLICT (kind) DO UPDATE SET rows = excluded.rows";
/// Keeps a text under a name, unless there is one.
pub(crate) const BASELINE_WRITE_FIRST: &str = "INSERT INTO dryrun.baseline (kind, rows) \
     VALUES ($1, $2) ON CONFLICT (kind) DO NOTHING";
/// Reads a text.
pub(crate) const BASELINE_READ: &str = "SELECT rows FROM dryrun.baseline WHERE kind = $1";

/// Drops a replication slot, if it is there.
pub(crate) const DROP_SLOT: &str = "SELECT count(pg_drop_replication_slot(slot_name)) \
     FROM pg_replication_slots WHERE slot_name = $1";
/// Makes a replication slot of this database; the log is kept from here on.
pub(crate) const CREATE_SLOT: &str =
    "SELECT lsn::text FROM pg_create_logical_replication_slot($1, 'test_decoding')";
/// Lets the server forget the log up to here, if the slot is not there yet.
pub(crate) const ADVANCE_SLOT: &str = "SELECT count(pg_replication_slot_advance(slot_name, \
     $2::text::pg_lsn)) FROM pg_replication_slots \
     WHERE slot_name = $1 AND confirmed_flush_lsn < $2::text::pg_lsn";
/// Writes the log to its file up to here: it is decoded from there, and commits of the copy do not
/// wait for it.
pub(crate) const FLUSH_LOG: &str = "BEGIN; SET LOCAL synchronous_commit = on; \
     SELECT pg_logical_emit_message(true, 'dryrun', ''); COMMIT";

/// Collects statistics for the planner, since autovacuum is off in a copy. Functions of expression
/// indexes run as the table's owner, for every caller: Postgres switches roles for it.
pub const ANALYZE: &str = "ANALYZE";
/// The version of each extension that the server installs if none is named; names are quoted.
pub(crate) const DEFAULT_VERSIONS: &str =
    "SELECT quote_ident(name), default_version FROM pg_available_extensions";
/// Installs an extension in a version; its name and its schema are quoted.
pub(crate) const EXTENSION: Template<3> = Template::new(
    "CREATE EXTENSION {name} SCHEMA {schema} VERSION {version}",
    ["name", "schema", "version"],
);
/// Logs every statement from the next reload on.
pub const TRACE: &str = "ALTER SYSTEM SET log_statement = 'all'";
/// Makes the server read its configuration again.
pub const RELOAD: &str = "SELECT pg_reload_conf()";
/// Keeps an event trigger of production on GRANT from stopping the matrix, but not one that is
/// enabled ALWAYS: it would fire in production as well, and G-09 judges what it adds. The sessions
/// of the copy switch all of them off from Postgres 17 on.
pub const MATRIX_SESSION: &str = "\
SET LOCAL session_replication_role = replica; \
SELECT set_config(name, 'on', true) FROM pg_settings WHERE name = 'event_triggers'";
/// Begins a transaction whose statements are never logged, also not when they fail. It must be sent
/// by itself: a text of several statements is logged before its first one runs.
pub const UNLOGGED: &str = "
    BEGIN;
    SET LOCAL log_statement = 'none';
    SET LOCAL log_min_error_statement = 'panic';
    SET LOCAL log_min_duration_statement = -1";

/// Covers what the session said before: a role that may read `pg_stat_activity` sees its last
/// statement, and a marker of the log is to be known to the operator alone.
pub const COVER: &str = "SELECT";
/// Sets a password by its SCRAM verifier. Only in a transaction of [`UNLOGGED`].
pub const PASSWORD: Template<2> = Template::new(
    "ALTER ROLE {role} PASSWORD {verifier}",
    ["role", "verifier"],
);
/// Lets a role in no more. Only in a transaction of [`UNLOGGED`].
pub const NO_PASSWORD: Template<1> = Template::new("ALTER ROLE {role} PASSWORD NULL", ["role"]);
/// Makes the superuser that restores over the network. Only in a transaction of [`UNLOGGED`].
pub const RESTORE_ROLE: Template<2> = Template::new(
    "CREATE ROLE {role} SUPERUSER LOGIN PASSWORD {verifier}",
    ["role", "verifier"],
);
/// Takes every right from the superuser that restored.
pub const LOCK_ROLE: Template<1> = Template::new(
    "ALTER ROLE {role} NOLOGIN NOSUPERUSER PASSWORD NULL",
    ["role"],
);
