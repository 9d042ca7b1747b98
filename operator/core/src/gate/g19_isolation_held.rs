//! G-19 IsolationHeld.

use super::{Evidence, Gate, NOT_PROBED, Verdict};
use crate::command::Command;

pub(super) static GATE: Gate = Gate {
    id: "G-19",
    name: "IsolationHeld",
    doc: "The copy's isolation held while the scenarios ran and after them.",
    command: Command::Verify,
    needs: &[],
    reasons: &[],
    evaluate,
    #[cfg(test)]
    worlds: crate::testing::Worlds::none,
};

fn evaluate(_: &Evidence<'_>) -> Verdict {
    Verdict::unknown(
        NOT_PROBED,
        "this version does not judge the isolation during the scenarios",
    )
}
