//! The step function: what is seen decides what is done next.
//!
//! [`decide`] is level-based: it looks at the facts and objects as they are, never at what it said
//! before, so an operator that was restarted continues where the run is. It names actions and has
//! no effect itself.
//!
//! A pass of the shell is: observe the cluster, [`absorb`](crate::commands::absorb) what jobs have
//! found into the facts, decide, write the report with the facts, drop the findings, write the
//! status if [`is_edge`] says so, and act. It may end after any of these steps, and the next pass
//! begins at the first again: so a finding may be absorbed twice, an action done twice, and one
//! that fails keeps no other of the same pass from being done.

mod decide;
pub mod report;
mod snapshot;
mod status;
#[cfg(test)]
mod tests;

pub use decide::{Decision, decide};
pub use snapshot::{ReportView, Snapshot};
pub use status::is_edge;
