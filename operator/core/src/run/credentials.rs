//! Credentials that are made from others, so that whoever holds the first can make the second again.

use sha2::{Digest, Sha256};

/// Letters and digits alone: such a credential reads the same raw and in JSON, SQL, CSV, URLs and connection strings.
const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What the marker and the password of a scenario are made from, by its index in the spec; `superuser` is the run's own secret.
pub fn scenario_secret(superuser: &str, uid: &str, scenario: usize) -> String {
    derived(superuser, uid, scenario)
}

/// Password of a scenario's login. The markers show a half of the scenario's secret, so the password is made from the whole of it.
pub fn scenario_password(superuser: &str, uid: &str, scenario: usize) -> String {
    derived(&scenario_secret(superuser, uid, scenario), uid, scenario)
}

fn derived(secret: &str, uid: &str, scenario: usize) -> String {
    let digest = Sha256::digest(format!("dryrun.dev scenario\n{uid}\n{scenario}\n{secret}"));
    digest
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]))
        .collect()
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
        assert_ne!(
            scenario_password("s", "u", 0),
            scenario_password("s", "other", 0)
        );
    }
}
