//! G-06 SourceIdentified.

use super::{Evidence, Gate, Verdict};
use crate::commands::Command;

pub(super) static GATE: Gate = Gate {
    id: "G-06",
    name: "SourceIdentified",
    doc: "The server that was dumped has the declared system identifier; its start time, timeline, address and version are recorded.",
    command: Command::Dump,
    evidence: &["/dump/identity"],
    needs: &[],
    reasons: &[
        (
            "IdentityMismatch",
            "The server has another system identifier than the spec declares.",
        ),
        (
            "Unreachable",
            "Production could not be reached or did not let the role in.",
        ),
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let Some(dump) = &evidence.facts.dump else {
        return Verdict::pending();
    };
    let Some(identity) = &dump.identity else {
        return match (&dump.disk, &dump.problem) {
            // Too little disk is another gate's business; the server was never asked.
            (_, Some(problem)) if problem.reason != "InsufficientSpace" => {
                Verdict::fail("Unreachable", problem.to_string())
            }
            _ => Verdict::pending(),
        };
    };
    let declared: Option<u64> = evidence.spec.source.system_identifier.parse().ok();
    let found: Option<u64> = identity.system_identifier.parse().ok();
    if declared.is_none() || declared != found {
        return Verdict::fail(
            "IdentityMismatch",
            format!(
                "system identifier {} is not the declared {}",
                identity.system_identifier, evidence.spec.source.system_identifier
            ),
        );
    }
    Verdict::pass(format!(
        "system identifier {}, up since {}, timeline {}, at {}, version {}",
        identity.system_identifier,
        identity.started_at,
        identity.timeline,
        identity.address,
        identity.version_num
    ))
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::problem::Problem;
    use crate::test_support::{World, Worlds};
    let identified = |id: &str| {
        World::with(|f| {
            f.dump
                .as_mut()
                .unwrap()
                .identity
                .as_mut()
                .unwrap()
                .system_identifier = id.into()
        })
    };
    let problem = |reason: &str| {
        World::with(|f| {
            let dump = f.dump.as_mut().unwrap();
            dump.identity = None;
            dump.problem = Some(Problem::transient(reason, "connection refused"));
        })
    };
    Worlds {
        fail: vec![
            ("IdentityMismatch", identified("7611578671664259112")),
            ("IdentityMismatch", identified("")),
            // As a float both are the same number.
            ("IdentityMismatch", identified("7611578671664259000")),
            ("Unreachable", problem("ConnectFailed")),
        ],
        unknown: vec![
            ("Pending", World::empty()),
            ("Pending", problem("InsufficientSpace")),
        ],
    }
}
