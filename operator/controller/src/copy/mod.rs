//! The operator's sessions with the copy: through a port-forward, as the bootstrap role that is let in from loopback alone.

pub(crate) mod log;
pub(crate) mod matrix;
pub(crate) mod reading;
mod session;
pub(crate) mod settings;
mod statements;

pub(crate) use session::{Endpoint, Session};
