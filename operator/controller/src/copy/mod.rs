//! The operator's sessions with the copy: through a port-forward, as the bootstrap role that is let
//! in from loopback alone.

pub(crate) mod baseline;
pub(crate) mod effects;
pub(crate) mod log;
pub(crate) mod matrix;
mod session;
pub(crate) mod settings;

pub(crate) use session::{Endpoint, Session, failed};
