//! Isolation: what pods try to reach, what the attempts prove, and what a pod may do as it really
//! is.

pub mod judge;
pub mod pod;
pub mod target;
