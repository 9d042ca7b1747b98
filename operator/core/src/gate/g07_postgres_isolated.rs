//! G-07 PostgresIsolated.

use super::{Evidence, Gate, NOT_PROBED, Verdict, examples};
use crate::command::Command;
use crate::names::Object;

pub(super) static GATE: Gate = Gate {
    id: "G-07",
    name: "PostgresIsolated",
    doc: "The copy's pod could reach nothing and be reached by nobody before any of its containers that mount data or secrets began.",
    command: Command::Isolate,
    evidence: &["/inspections/postgres"],
    needs: &[],
    reasons: &[(
        "NotIsolated",
        "A Service, a port of the node, the node's network, an ephemeral container or a NetworkPolicy opens the copy's pod.",
    )],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    match evidence.facts.inspections.get(Object::PostgresPod.role()) {
        None => Verdict::pending(),
        Some(pod) if !pod.openings.is_empty() => {
            Verdict::fail("NotIsolated", examples(&pod.openings))
        }
        Some(_) => Verdict::unknown(
            NOT_PROBED,
            "the pod has no opening that can be seen; this version does not probe it",
        ),
    }
}

#[cfg(test)]
fn worlds() -> crate::testing::Worlds {
    use crate::testing::{World, Worlds};
    Worlds {
        fail: vec![(
            "NotIsolated",
            World::with(|f| {
                f.inspections.get_mut("postgres").unwrap().openings =
                    vec!["Service db selects it".into()]
            }),
        )],
        unknown: vec![("Pending", World::empty()), ("NotProbed", World::passing())],
    }
}
