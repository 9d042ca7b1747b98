//! The commands of a run.

pub use crate::run::command::Command;
