//! G-21 ProductionUntouched.

use super::{Evidence, Gate, NOT_EVALUATED, Verdict};
use crate::command::Command;

pub(super) static GATE: Gate = Gate {
    id: "G-21",
    name: "ProductionUntouched",
    doc: "No pod of the run but dump and identity could open a connection to production, and its password was mounted nowhere else but where leaks are looked for.",
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
        "this version does not judge what the run's pods could reach",
    )
}
