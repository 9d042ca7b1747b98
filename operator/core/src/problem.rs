//! Why something could not be done.

use serde::{Deserialize, Serialize};

/// Why a task could not be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}: {message}")]
#[serde(rename_all = "camelCase")]
pub struct TaskError {
    /// One CamelCase word, used as the reason of a condition.
    pub reason: String,
    /// What happened and what to change; never a secret, never row data; at most 1 KiB.
    pub message: String,
    /// Whether the same task may succeed when it is tried again without a change. Never said by one that has left something behind.
    pub transient: bool,
}
