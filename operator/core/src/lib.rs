//! The pure core of the DryRun operator: no client, no clock, no socket.
//!
//! Data flows one way: the shell observes a world, the step function decides, the shell acts and reports. The same core serves the operator
//! and its agents.

pub mod admission;
pub mod api;
pub mod approval;
pub mod command;
pub mod conditions;
pub mod control;
pub mod credential;
pub mod evidence;
pub mod facts;
pub mod gate;
pub mod inspect;
pub mod isolation;
pub mod leak;
pub mod log;
pub mod matrix;
pub mod names;
pub mod plan;
pub mod probe;
pub mod report;
pub mod rows;
pub mod settings;
pub mod sql;
pub mod step;
#[cfg(test)]
mod testing;
pub mod tree;
