//! Keys of the run's Secret. Each pod mounts only its own.

use super::container::Container;
use super::object::RunPod;

/// Password of the copy's bootstrap superuser.
pub const SUPERUSER: &str = "superuser";
/// Password of the superuser that restores.
pub const RESTORE: &str = "restore";
/// Planted in the copy's log, to be found there by the search for credentials.
pub const CANARY: &str = "canary";

/// Every key.
pub fn all() -> Vec<String> {
    let passwords = [SUPERUSER, RESTORE, CANARY].map(str::to_owned);
    let tokens = Container::ALL.into_iter().filter_map(Container::token);
    passwords.into_iter().chain(tokens).collect()
}

/// The keys that this pod may mount.
pub fn of(pod: RunPod) -> Vec<String> {
    let password = match pod {
        // It looks for all of them.
        RunPod::Seal => return all(),
        RunPod::Postgres => Some(SUPERUSER),
        RunPod::Restore => Some(RESTORE),
        RunPod::Dump
        | RunPod::Harness
        | RunPod::Identity
        | RunPod::Intruder
        | RunPod::Canary
        | RunPod::Listener => None,
    };
    let containers = Container::ALL.into_iter().filter(|c| c.pod() == pod);
    let tokens = containers.filter_map(Container::token);
    tokens.chain(password.map(str::to_owned)).collect()
}

/// This pod may mount production's password.
pub fn needs_source(pod: RunPod) -> bool {
    matches!(pod, RunPod::Dump | RunPod::Seal | RunPod::Identity)
}
