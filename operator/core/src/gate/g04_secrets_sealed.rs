//! G-04 SecretsSealed.

use super::{Evidence, Gate, Verdict, all_inspected, count, examples};
use crate::commands::Command;
use crate::isolation::pod;
use crate::run::key;
use crate::run::object::RunPod;

pub(super) static GATE: Gate = Gate {
    id: "G-04",
    name: "SecretsSealed",
    doc: "The run's credentials are random, stand in one immutable Secret, of which the dump, copy, restore, harness, seal and identity pods mount only the keys that they need, readable for their group alone, and no other object of the run and no event holds one.",
    command: Command::Verify,
    evidence: &["/secrets", "/inspections", "/verification"],
    needs: &[],
    reasons: &[
        ("Mutable", "The Secret can be changed."),
        ("Malformed", "A value is not 32 random letters and digits."),
        (
            "ExcessSecretKeys",
            "A pod has a key of a Secret that it does not need.",
        ),
        (
            "FileModes",
            "A pod has a Secret's file with another mode than 0440.",
        ),
        (
            "Exposed",
            "A credential of the run or of production stands in an object or an event.",
        ),
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let facts = evidence.facts;
    let Some(secrets) = &facts.secrets else {
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
    for (which, pod) in &facts.inspections {
        let role = which.role();
        if let Some(key) = pod.secrets.iter().find(|key| !needs(*which, key)) {
            return Verdict::fail("ExcessSecretKeys", format!("the {role} pod mounts {key}"));
        }
        if !pod.modes.is_empty() {
            return Verdict::fail(
                "FileModes",
                format!("the {role} pod: {}", examples(&pod.modes)),
            );
        }
    }
    if let Some(leak) = facts
        .verification
        .as_ref()
        .and_then(|v| v.objects.found.first())
    {
        return Verdict::fail("Exposed", super::leak(leak));
    }
    if facts.verification.is_none() || !all_inspected(facts) {
        return Verdict::pending();
    }
    Verdict::pass(format!(
        "{} in one immutable Secret",
        count(secrets.keys.len() as u64, "value")
    ))
}

/// Returns true if the pod that plays this part needs this key.
fn needs(pod: RunPod, found: &str) -> bool {
    match found.split_once('/') {
        Some((pod::CREDENTIALS, wanted)) => key::of(pod).iter().any(|key| key == wanted),
        // Production's password has its own gate, which says more about it.
        Some((pod::SOURCE, _)) => true,
        _ => false,
    }
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::run::facts::PodInspection;
    use crate::test_support::{World, Worlds, leaking};
    let harness = |change: fn(&mut PodInspection)| {
        World::with(move |f| change(f.inspections.get_mut(&RunPod::Harness).unwrap()))
    };
    let mounting = |key: &str| {
        World::with(|f| {
            let pod = f.inspections.get_mut(&RunPod::Harness).unwrap();
            pod.secrets.insert(key.into());
        })
    };
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
            ("ExcessSecretKeys", mounting("credentials/superuser")),
            ("ExcessSecretKeys", mounting("credentials/*")),
            ("ExcessSecretKeys", mounting("somebody-elses/key")),
            (
                "FileModes",
                harness(|pod| pod.modes = vec!["secrets 0644".into()]),
            ),
            (
                "Exposed",
                World::with(|f| f.verification.as_mut().unwrap().objects = leaking("Event/demo.1")),
            ),
        ],
        unknown: vec![
            ("Pending", World::empty()),
            ("Pending", World::with(|f| f.inspections.clear())),
            (
                "Pending",
                World::with(|f| drop(f.inspections.remove(&RunPod::Seal))),
            ),
            ("Pending", World::with(|f| f.verification = None)),
        ],
    }
}
