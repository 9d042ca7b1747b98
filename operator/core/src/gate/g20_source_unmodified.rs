//! G-20 SourceUnmodified.

use super::{Evidence, Gate, NOT_EVALUATED, Verdict};
use crate::command::Command;

pub(super) static GATE: Gate = Gate {
    id: "G-20",
    name: "SourceUnmodified",
    doc: "The harness's inputs have the same digests after the scenarios as before.",
    command: Command::Verify,
    needs: &[],
    reasons: &[],
    evaluate,
    #[cfg(test)]
    worlds: crate::testing::Worlds::none,
};

fn evaluate(_: &Evidence<'_>) -> Verdict {
    Verdict::unknown(
        NOT_EVALUATED,
        "this version does not judge the inputs after the scenarios",
    )
}
