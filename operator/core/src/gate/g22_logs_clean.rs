//! G-22 LogsClean.

use super::{Evidence, Gate, NOT_EVALUATED, Verdict};
use crate::command::Command;

pub(super) static GATE: Gate = Gate {
    id: "G-22",
    name: "LogsClean",
    doc: "No log of the run holds a credential of the run or of production.",
    command: Command::Verify,
    needs: &[],
    reasons: &[],
    evaluate,
    #[cfg(test)]
    worlds: crate::testing::Worlds::none,
};

fn evaluate(_: &Evidence<'_>) -> Verdict {
    Verdict::unknown(NOT_EVALUATED, "this version does not judge the logs")
}
