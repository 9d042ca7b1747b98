//! C-07 Identity.

use super::progress::Progress;
use super::{Command, Definition, NO_LONGER, STOPS};
#[cfg(test)]
use super::{Facts, Finding, Job};

pub(super) static COMMAND: Definition = Definition {
    command: Command::Identity,
    id: "C-07",
    doc: "Proves that the copy is not production.",
    budget: NO_LONGER,
    delayed_by: &[],
    // Read with the matrix, on the same connection.
    advance: |_| Progress::Done,
    failed: STOPS,
    #[cfg(test)]
    found,
};

#[cfg(test)]
fn found(known: &Facts, job: Job) -> Option<std::sync::Arc<dyn Finding>> {
    let _ = (known, job);
    None
}
