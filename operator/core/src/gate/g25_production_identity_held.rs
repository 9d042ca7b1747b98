//! G-25 ProductionIdentityHeld.

use super::{Evidence, Gate, Verdict};
use crate::commands::Command;

pub(super) static GATE: Gate = Gate {
    id: "G-25",
    name: "ProductionIdentityHeld",
    doc: "Production is the same server as at the dump: identifier, start time, timeline, address and version were read again and are equal.",
    command: Command::Teardown,
    evidence: &["/dump/identity", "/teardown/identity"],
    needs: &["G-06"],
    reasons: &[
        (
            "IdentityChanged",
            "Production has another system identifier than at the dump.",
        ),
        (
            "SourceRestarted",
            "Production was restarted during the run.",
        ),
        (
            "SourceMoved",
            "Production's timeline, address or version changed: a failover or an upgrade.",
        ),
        (
            "Unreachable",
            "Production's identity could not be read again.",
        ),
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let before = evidence
        .facts
        .dump
        .as_ref()
        .and_then(|dump| dump.identity.as_ref());
    let (Some(before), Some(teardown)) = (before, &evidence.facts.teardown) else {
        return Verdict::pending();
    };
    let Some(now) = &teardown.identity else {
        return match &teardown.identity_error {
            Some(error) => Verdict::unknown("Unreachable", error.to_string()),
            None => Verdict::pending(),
        };
    };
    if now.system_identifier != before.system_identifier {
        return Verdict::fail(
            "IdentityChanged",
            format!(
                "{} became {}",
                before.system_identifier, now.system_identifier
            ),
        );
    }
    if now.started_at != before.started_at {
        return Verdict::fail(
            "SourceRestarted",
            format!(
                "up since {}, before since {}",
                now.started_at, before.started_at
            ),
        );
    }
    if (now.timeline, &now.address, now.version_num, now.in_recovery)
        != (
            before.timeline,
            &before.address,
            before.version_num,
            before.in_recovery,
        )
    {
        return Verdict::fail(
            "SourceMoved",
            format!(
                "timeline {} at {} became {} at {}",
                before.timeline, before.address, now.timeline, now.address
            ),
        );
    }
    Verdict::pass(format!(
        "still {}, up since {}",
        now.system_identifier, now.started_at
    ))
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::problem::Problem;
    use crate::run::facts::SourceIdentity;
    use crate::test_support::{World, Worlds};
    let now = |change: fn(&mut SourceIdentity)| {
        World::with(move |f| change(f.teardown.as_mut().unwrap().identity.as_mut().unwrap()))
    };
    Worlds {
        fail: vec![
            ("IdentityChanged", now(|i| i.system_identifier = "1".into())),
            (
                "SourceRestarted",
                now(|i| i.started_at = "2026-01-01T00:00:01.000000Z".into()),
            ),
            ("SourceMoved", now(|i| i.timeline = 2)),
            ("SourceMoved", now(|i| i.address = "192.0.2.2".into())),
        ],
        unknown: vec![
            ("Pending", World::empty()),
            (
                "Unreachable",
                World::with(|f| {
                    let teardown = f.teardown.as_mut().unwrap();
                    teardown.identity = None;
                    teardown.identity_error =
                        Some(Problem::transient("ConnectFailed", "connection refused"));
                }),
            ),
        ],
    }
}
