//! Credentials derived from the run's own secret, so that a restarted operator derives the same
//! ones again.

use hkdf::Hkdf;
use sha2::Sha256;

use crate::digest::hex;

/// Length of a derived credential in hex digits: 128 bits.
const LENGTH: usize = 32;

/// Derives the secret of a scenario, by its index in the spec, from the run's own superuser
/// password. The scenario's markers show half of it.
pub fn scenario_secret(superuser: &str, uid: &str, scenario: usize) -> String {
    derived(superuser, uid, &format!("scenario {scenario} secret"))
}

/// Derives the password of a scenario's login. It is not the scenario's secret, half of which
/// stands in the copy's log.
pub fn scenario_password(superuser: &str, uid: &str, scenario: usize) -> String {
    derived(superuser, uid, &format!("scenario {scenario} password"))
}

/// Derives the id of a scenario's task. An agent answers an id that it knows with the result that
/// it has, so code of an earlier scenario, which can read the agent's token, must not be able to
/// guess it.
pub fn scenario_task(superuser: &str, uid: &str, scenario: usize) -> String {
    let secret = derived(superuser, uid, &format!("scenario {scenario} task"));
    format!("scenario-{scenario}-{secret}")
}

/// Expands the run's secret by HKDF (RFC 5869), salted with the run's UID. Hex digits read the same
/// raw and in JSON, SQL, CSV, URLs and connection strings.
fn derived(superuser: &str, uid: &str, purpose: &str) -> String {
    let mut key = [0; LENGTH / 2];
    let info = ["dryrun.dev/v1alpha1 ", purpose];
    let expanded = Hkdf::<Sha256>::new(Some(uid.as_bytes()), superuser.as_bytes())
        .expand_multi_info(&info.map(str::as_bytes), &mut key);
    debug_assert!(expanded.is_ok(), "HKDF gives up to 255 digests");
    hex(&key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_its_own_password() {
        let passwords: std::collections::BTreeSet<String> = (0..64)
            .flat_map(|i| [scenario_secret("s", "u", i), scenario_password("s", "u", i)])
            .collect();
        assert_eq!(passwords.len(), 128);
        assert!(passwords.iter().all(|p| p.len() == 32));
        let task = scenario_task("s", "u", 7);
        let secret = task.strip_prefix("scenario-7-").unwrap_or_default();
        assert!(secret.len() == 32 && !passwords.contains(secret));
        assert_ne!(task, scenario_task("s", "other", 7));
        assert_ne!(
            scenario_password("s", "u", 0),
            scenario_password("s", "other", 0)
        );
    }
}
