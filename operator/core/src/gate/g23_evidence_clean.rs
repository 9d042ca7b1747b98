//! G-23 EvidenceClean.

use super::{Evidence, Gate, NOT_EVALUATED, Verdict};
use crate::command::Command;

pub(super) static GATE: Gate = Gate {
    id: "G-23",
    name: "EvidenceClean",
    doc: "Nothing that is kept holds a credential, and all of it stands under one sha256 manifest.",
    command: Command::Evidence,
    needs: &[],
    reasons: &[],
    evaluate,
    #[cfg(test)]
    worlds: crate::testing::Worlds::none,
};

fn evaluate(_: &Evidence<'_>) -> Verdict {
    Verdict::unknown(NOT_EVALUATED, "this version does not judge what is kept")
}
