//! The problem that ends or delays a piece of work.

use serde::{Deserialize, Serialize};
use std::fmt::Display;

/// Bytes of a message: the report in which it ends is bounded.
const MESSAGE: usize = 1024;

/// The reason why something could not be done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}: {message}")]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// One CamelCase word, used as the reason of a condition.
    pub reason: String,
    /// The cause and the change that removes it; never a secret, never row data; at most 1 KiB.
    pub message: String,
    /// The same work may succeed later without a change. False for work that has left something
    /// behind.
    #[serde(default)]
    pub retry: bool,
}

impl Problem {
    /// A problem that stays until something is changed.
    pub fn permanent(reason: &str, message: impl Display) -> Self {
        Self {
            reason: reason.to_owned(),
            message: clip(message.to_string()),
            retry: false,
        }
    }

    /// A problem that may be gone at the next attempt.
    pub fn transient(reason: &str, message: impl Display) -> Self {
        Self {
            retry: true,
            ..Self::permanent(reason, message)
        }
    }

    /// The same problem, not to be tried again.
    #[must_use]
    pub fn for_good(self) -> Self {
        Self {
            retry: false,
            ..self
        }
    }
}

/// The first part of a text, cut between characters.
pub fn clip(mut text: String) -> String {
    if text.len() > MESSAGE {
        text.truncate(text.floor_char_boundary(MESSAGE - '…'.len_utf8()));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_between_characters() {
        let message = Problem::permanent("X", "é".repeat(MESSAGE)).message;
        assert!(
            message.len() <= MESSAGE && message.ends_with('…'),
            "{}",
            message.len()
        );
    }
}
