//! G-07 PostgresIsolated.

use super::{Evidence, Gate, NOT_PROBED, Verdict};
use crate::command::Command;

pub(super) static GATE: Gate = Gate {
    id: "G-07",
    name: "PostgresIsolated",
    doc: "The copy's pod could reach nothing and be reached by nobody before any of its containers that mount data or secrets began.",
    command: Command::Isolate,
    needs: &[],
    reasons: &[],
    evaluate,
    #[cfg(test)]
    worlds: crate::testing::Worlds::none,
};

fn evaluate(_: &Evidence<'_>) -> Verdict {
    Verdict::unknown(
        NOT_PROBED,
        "this version does not judge the isolation of the copy",
    )
}
