//! Paths and ports in the pods of a run.

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
