//! One pass over a DryRun: observe, decide, report, act.

mod act;
mod observe;
pub(crate) mod reconcile;
mod report;
pub(crate) mod resolve;
