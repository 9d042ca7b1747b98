//! G-19 IsolationHeld.

use super::{Evidence, Gate, NOT_PROBED, Verdict, examples};
use crate::command::Command;
use crate::names::Object;

pub(super) static GATE: Gate = Gate {
    id: "G-19",
    name: "IsolationHeld",
    doc: "The copy's isolation held while the scenarios ran and after them.",
    command: Command::Verify,
    evidence: &["/inspectedAgain"],
    needs: &["G-07"],
    reasons: &[(
        "NotIsolated",
        "A Service, a port of the node, the node's network, an ephemeral container or a NetworkPolicy opens the copy's pod, or it is another pod than before.",
    )],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let Some(now) = &evidence.facts.inspected_again else {
        return Verdict::pending();
    };
    let before = evidence.facts.inspections.get(Object::PostgresPod.role());
    if before.is_some_and(|before| before.uid != now.uid) {
        return Verdict::fail("NotIsolated", "the copy's pod is another one than before");
    }
    if !now.openings.is_empty() {
        return Verdict::fail("NotIsolated", examples(&now.openings));
    }
    Verdict::unknown(
        NOT_PROBED,
        "the pod has no opening that can be seen; this version does not probe it",
    )
}

#[cfg(test)]
fn worlds() -> crate::testing::Worlds {
    use crate::testing::{World, Worlds};
    Worlds {
        fail: vec![
            (
                "NotIsolated",
                World::with(|f| {
                    f.inspected_again.as_mut().unwrap().openings =
                        vec!["NetworkPolicy hole allows it more".into()]
                }),
            ),
            (
                "NotIsolated",
                World::with(|f| f.inspected_again.as_mut().unwrap().uid = "other".into()),
            ),
        ],
        unknown: vec![("Pending", World::empty()), ("NotProbed", World::passing())],
    }
}
