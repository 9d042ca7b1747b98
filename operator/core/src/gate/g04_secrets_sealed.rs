//! G-04 SecretsSealed.

use super::{Evidence, Gate, Verdict, count, examples};
use crate::command::Command;

pub(super) static GATE: Gate = Gate {
    id: "G-04",
    name: "SecretsSealed",
    doc: "The run's credentials are random, stand in one immutable Secret, and each pod mounts only the keys that it needs.",
    command: Command::Secrets,
    needs: &[],
    reasons: &[
        ("Mutable", "The Secret can be changed."),
        ("Malformed", "A value is not 32 random letters and digits."),
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let Some(secrets) = &evidence.facts.secrets else {
        return Verdict::pending();
    };
    if !secrets.immutable {
        return Verdict::fail("Mutable", "the run's Secret is not immutable");
    }
    if !secrets.malformed.is_empty() || secrets.keys.is_empty() {
        return Verdict::fail(
            "Malformed",
            format!("malformed keys: {}", examples(&secrets.malformed)),
        );
    }
    Verdict::pass(format!(
        "{} in one immutable Secret",
        count(secrets.keys.len() as u64, "value")
    ))
}

#[cfg(test)]
fn worlds() -> crate::testing::Worlds {
    use crate::testing::{World, Worlds};
    Worlds {
        fail: vec![
            (
                "Mutable",
                World::with(|f| f.secrets.as_mut().unwrap().immutable = false),
            ),
            (
                "Malformed",
                World::with(|f| f.secrets.as_mut().unwrap().malformed = vec!["superuser".into()]),
            ),
            (
                "Malformed",
                World::with(|f| f.secrets.as_mut().unwrap().keys.clear()),
            ),
        ],
        unknown: vec![("Pending", World::empty())],
    }
}
