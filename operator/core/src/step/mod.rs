//! The step function: what is seen decides what is done next.
//!
//! [`decide`] is level-based: it looks at the facts and objects as they are, never at what it said before, so an operator that was restarted
//! goes on where the run is. It names actions and has no effect itself.
//!
//! A pass of the shell is: observe the cluster, [`absorb`] what jobs have found into the facts, decide, write the report with the facts, let go of the
//! findings, write the status if [`is_edge`] says so, and act. It may end after any of these steps, and the next pass begins at the first again: so a
//! finding may be absorbed twice, an action done twice, and one that fails keeps no other of the same pass from being done.

mod absorb;
mod decide;
mod forward;
mod job;
pub mod report;
mod snapshot;
mod status;
mod teardown;
#[cfg(test)]
mod tests;

pub use absorb::{Finding, absorb};
pub use decide::{Action, Decision, decide};
pub use job::{Job, Moment};
pub use snapshot::{Ended, Observed, PodView, ReportView, World};
pub use status::is_edge;
