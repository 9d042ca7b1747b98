//! G-10 NotProduction.

use super::{Evidence, Gate, Verdict, count};
use crate::commands::Command;
use crate::run::facts::{REFUSALS, Reading};

pub(super) static GATE: Gate = Gate {
    id: "G-10",
    name: "NotProduction",
    doc: "The copy's system identifier differs from production's before the first write, before the restore and before the harness; equal or unreadable stops the run at once.",
    command: Command::Identity,
    evidence: &["/copyIdentity"],
    needs: &["G-06"],
    reasons: &[
        (
            "IsProduction",
            "The copy has production's system identifier: it is production or a physical copy of it.",
        ),
        (
            "Unreadable",
            "The copy's system identifier could not be read.",
        ),
        (
            "UnexpectedServer",
            "The server that answered is not this run's copy.",
        ),
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let production = &evidence.spec.source.system_identifier;
    for reading in &evidence.facts.copy_identity {
        let when = reading.before.writer();
        if let Some(refused) = &reading.refused {
            return refusal(refused, when, production);
        }
        match reading.system_identifier.parse::<u64>() {
            Err(_) => {
                return refusal("CopyUnreadable", when, production);
            }
            Ok(found) if production.parse() == Ok(found) => {
                return refusal("CopyIsProduction", when, production);
            }
            Ok(_) => {}
        }
        if reading.cluster_name != evidence.uid || reading.in_recovery {
            return refusal("CopyIsUnexpected", when, production);
        }
    }
    if Reading::ALL.into_iter().all(|when| {
        evidence
            .facts
            .copy_identity
            .iter()
            .any(|r| r.before == when)
    }) {
        let found = evidence
            .facts
            .copy_identity
            .last()
            .map_or("", |r| r.system_identifier.as_str());
        return Verdict::pass(format!(
            "{found} is not {production}, {}",
            count(evidence.facts.copy_identity.len() as u64, "reading")
        ));
    }
    Verdict::pending()
}

/// The verdict on a server that was refused.
fn refusal(refused: &str, when: &str, production: &str) -> Verdict {
    let reason = REFUSALS
        .iter()
        .find(|(refusal, _)| *refusal == refused)
        .map_or("Unreadable", |(_, reason)| *reason);
    let message = match reason {
        "IsProduction" => {
            format!("the copy has production's system identifier {production} before {when}")
        }
        "UnexpectedServer" => {
            format!("the server that answered before {when} is not this run's copy")
        }
        _ => format!("the copy's identifier could not be read before {when}"),
    };
    Verdict::fail(reason, message)
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::test_support::{PRODUCTION, World, Worlds};
    let refused =
        |reason: &'static str| World::with(|f| f.copy_identity[1].refused = Some(reason.into()));
    Worlds {
        fail: vec![
            (
                "IsProduction",
                World::with(|f| f.copy_identity[0].system_identifier = PRODUCTION.into()),
            ),
            (
                "IsProduction",
                World::with(|f| f.copy_identity[1].system_identifier = PRODUCTION.into()),
            ),
            (
                "Unreadable",
                World::with(|f| f.copy_identity[0].system_identifier = String::new()),
            ),
            (
                "UnexpectedServer",
                World::with(|f| f.copy_identity[0].cluster_name = "another run".into()),
            ),
            (
                "UnexpectedServer",
                World::with(|f| f.copy_identity[0].in_recovery = true),
            ),
            ("IsProduction", refused("CopyIsProduction")),
            ("Unreadable", refused("CopyUnreadable")),
            ("UnexpectedServer", refused("CopyIsUnexpected")),
        ],
        unknown: vec![
            ("Pending", World::empty()),
            ("Pending", World::with(|f| drop(f.copy_identity.pop()))),
        ],
    }
}
