//! Paths and ports in the pods of a run.

/// Loopback port of the main agent of a pod.
pub const PORT: u16 = 7070;
/// Loopback port of the second agent of a pod, which looks at what the first one's container may
/// have done.
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
/// File in [`SECRETS_DIR`] with production's password.
pub const SOURCE_FILE: &str = "source";
/// File in [`SECRETS_DIR`] with the authority of production's certificate.
pub const SOURCE_CA_FILE: &str = "source-ca.crt";
/// Port of the copy.
pub const POSTGRES_PORT: u16 = 5432;
/// Port of listeners that answer probes: the one in the namespace of probes, and the copy's
/// sidecar, which no pod may reach.
pub const ECHO_PORT: u16 = 7072;
/// Directory of the dump in the pods that write or read it.
pub const DUMP_DIR: &str = "/data/dump";
/// Mount of the copy's part of the data volume.
pub const PGDATA_MOUNT: &str = "/data/pgdata";
/// PGDATA of the copy.
pub const PGDATA: &str = "/data/pgdata/data";
/// Directory of the inputs as they are mounted from ConfigMaps, one directory each.
pub const INPUTS_DIR: &str = "/inputs";
/// Directory of the unpacked inputs, one directory each.
pub const UNPACKED_DIR: &str = "/unpacked";
/// Mount of the evidence volume's parts in the seal pod.
pub const EVIDENCE_DIR: &str = "/evidence";
/// Directory of the copy's logs.
pub const SERVER_LOGS_DIR: &str = "/evidence/server";
/// Directory of the dump's logs.
pub const DUMP_LOGS_DIR: &str = "/evidence/dump";
/// Temporary directory of every container.
pub const TMP_DIR: &str = "/tmp";
