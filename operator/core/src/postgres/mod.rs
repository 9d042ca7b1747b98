//! Postgres: its rows, settings, log and SQL, and the privilege matrix.

pub mod changes;
pub mod effects;
pub mod matrix;
pub mod row_set;
pub mod server_log;
pub mod settings;
pub mod sql;
