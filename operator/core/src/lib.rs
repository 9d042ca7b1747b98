//! The pure core of the DryRun operator: no client, no clock, no socket.
//!
//! Data flows one way: the shell observes a world, the step function decides, the shell acts and
//! reports. The same core serves the operator and its agents.

pub mod agent_api;
pub mod api;
pub mod commands;
pub mod conditions;
pub mod digest;
pub mod gate;
pub mod isolation;
pub mod leak;
pub mod plan;
pub mod postgres;
pub mod problem;
pub mod run;
pub mod step;
#[cfg(any(test, feature = "test-support"))]
pub mod test_support;
