//! Errors of a pass, and their classes.

#![deny(
    clippy::wildcard_enum_match_arm,
    reason = "a new error must be given a class"
)]

use std::time::Duration;
use thiserror::Error;

/// Reasons why a pass could not finish.
#[derive(Debug, Error)]
pub enum Error {
    /// The apiserver refused or did not answer.
    #[error("{doing}: {source}")]
    Kube {
        /// Purpose of the call.
        doing: String,
        /// The client's error.
        #[source]
        source: kube::Error,
    },
    /// A call took too long.
    #[error("{doing}: no answer in {} s", after.as_secs())]
    Timeout {
        /// Purpose of the call.
        doing: String,
        /// Timeout that has passed.
        after: Duration,
    },
    /// An object cannot be written as JSON.
    #[error("cannot serialise {0}")]
    Serialise(#[from] serde_json::Error),
}

/// Consequence of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The object that was read is old: look again at once.
    Stale,
    /// A user must change rights or a quota: look again slowly.
    Refused,
    /// It may go away by itself: try again, ever more slowly.
    Transient,
}

impl Error {
    /// Returns the class; every variant is named, so that a new one must be thought about.
    pub fn class(&self) -> Class {
        match self {
            Self::Kube {
                source: kube::Error::Api(status),
                ..
            } if status.is_conflict() || status.is_not_found() => Class::Stale,
            Self::Kube {
                source: kube::Error::Api(status),
                ..
            } if status.is_forbidden() || status.is_invalid() || status.code == TOO_LARGE => {
                Class::Refused
            }
            Self::Kube { .. } | Self::Timeout { .. } => Class::Transient,
            Self::Serialise(_) => Class::Refused,
        }
    }

    /// Returns true if the apiserver answered that the operator may not do this.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Kube { source: kube::Error::Api(status), .. } if status.is_forbidden())
    }

    /// Returns true if the apiserver answered that an object of this name exists already.
    pub fn is_already_exists(&self) -> bool {
        matches!(self, Self::Kube { source: kube::Error::Api(status), .. } if status.is_already_exists())
    }
}

/// Request Entity Too Large.
const TOO_LARGE: u16 = 413;

/// Timeout of one call to the apiserver. kube has no read timeout, and retries for minutes.
const CALL: Duration = Duration::from_secs(20);

/// One call to the apiserver, under a deadline and with its purpose in the error.
pub(crate) async fn call<T>(
    doing: impl Into<String> + Send,
    future: impl Future<Output = kube::Result<T>> + Send,
) -> Result<T, Error> {
    match tokio::time::timeout(CALL, future).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(Error::Kube {
            doing: doing.into(),
            source,
        }),
        Err(_) => Err(Error::Timeout {
            doing: doing.into(),
            after: CALL,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn api(code: u16, reason: &str) -> Error {
        let mut status = Status::failure("no", reason);
        status.code = code;
        Error::Kube {
            doing: "create Pod/x".into(),
            source: kube::Error::Api(Box::new(status)),
        }
    }

    #[test]
    fn every_class_has_its_errors() {
        assert_eq!(api(409, "Conflict").class(), Class::Stale);
        assert_eq!(api(404, "NotFound").class(), Class::Stale);
        assert_eq!(api(403, "Forbidden").class(), Class::Refused);
        assert_eq!(api(422, "Invalid").class(), Class::Refused);
        assert_eq!(api(503, "ServiceUnavailable").class(), Class::Transient);
        assert_eq!(
            Error::Timeout {
                doing: "x".into(),
                after: CALL
            }
            .class(),
            Class::Transient
        );
    }
}
