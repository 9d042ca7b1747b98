//! One pass over a DryRun: observe, decide, report, act.

mod act;
mod observe;
mod reconcile;
mod report;
pub(crate) mod resolve;
mod watch;

pub use reconcile::reconcile;
pub use watch::run;
