//! Errors of a session, in classes by what the caller can do about them.

use std::{error::Error as _, io};

use tokio_postgres::error::SqlState;

use crate::login::{self, Refused};

/// Result of everything that talks to a server.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// SQLSTATE classes whose messages speak of connections, names, rights and resources. All others
/// may quote row data.
const SPEAKING_CLASSES: [&str; 11] = [
    "08", "0A", "25", "28", "3D", "3F", "42", "53", "54", "55", "57",
];

/// Meaning of an error for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The connection is gone; a new session may succeed.
    Lost,
    /// The server admits no session now: it starts, stops, or has no free slot.
    Unavailable,
    /// Another session held a lock for longer than `lock_timeout`.
    Locked,
    /// The transaction lost against another one, or against recovery on a standby.
    Conflict,
    /// The same request fails again.
    Refused,
}

impl Class {
    /// Returns true if the same request may succeed later without a change.
    pub fn is_transient(self) -> bool {
        match self {
            Self::Lost | Self::Unavailable | Self::Locked | Self::Conflict => true,
            Self::Refused => false,
        }
    }

    fn of(error: &tokio_postgres::Error) -> Self {
        match error.code() {
            Some(state) => Self::of_state(state),
            None if error.is_closed() || error.source().is_some_and(is_broken) => Self::Lost,
            // A wrong type or number of rows, columns or parameters, TLS or a login that is not
            // supported: all of them are as wrong the next time.
            None => Self::Refused,
        }
    }

    fn of_state(state: &SqlState) -> Self {
        match *state {
            SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN => Self::Lost,
            SqlState::IDLE_SESSION_TIMEOUT | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => {
                Self::Lost
            }
            SqlState::CANNOT_CONNECT_NOW | SqlState::TOO_MANY_CONNECTIONS => Self::Unavailable,
            SqlState::LOCK_NOT_AVAILABLE => Self::Locked,
            SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => Self::Conflict,
            _ => Self::Refused,
        }
    }
}

/// Returns an SQLSTATE if it has the form of one: a server can send any text in its place.
pub(crate) fn known(state: &SqlState) -> Option<&str> {
    let code = state.code();
    let is_code = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
    (code.len() == 5 && code.bytes().all(is_code)).then_some(code)
}

/// Returns true if the cause is the connection itself. tokio-postgres also reports a message that
/// it cannot encode or parse as an I/O error; the next one would be the same.
fn is_broken(cause: &(dyn std::error::Error + 'static)) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput};
    cause
        .downcast_ref::<io::Error>()
        .is_some_and(|error| !matches!(error.kind(), InvalidInput | InvalidData))
}

/// A request to a server that failed. Its text holds no row data.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}: {said}")]
pub struct Error {
    doing: String,
    class: Class,
    sqlstate: Option<String>,
    said: String,
    refused: Option<Refused>,
}

impl Error {
    /// Classifies an error of `doing`, which reads on from "cannot".
    pub fn new(doing: impl Into<String>, error: &tokio_postgres::Error) -> Self {
        Self {
            doing: doing.into(),
            class: Class::of(error),
            sqlstate: error.code().and_then(known).map(str::to_owned),
            said: describe(error),
            refused: None,
        }
    }

    /// Classifies an error of a login. No word of the server is repeated.
    pub fn of_login(doing: impl Into<String>, error: &tokio_postgres::Error) -> Self {
        Self {
            said: login::explain(error),
            refused: Refused::among(error),
            ..Self::new(doing, error)
        }
    }

    /// An error that no server reported.
    pub fn other(doing: impl Into<String>, class: Class, said: impl Into<String>) -> Self {
        Self {
            doing: doing.into(),
            class,
            sqlstate: None,
            said: said.into(),
            refused: None,
        }
    }

    /// Returns the meaning of the error for the caller.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Returns what the server asked for or lacks, if the login was ended for it.
    pub fn refused(&self) -> Option<Refused> {
        self.refused
    }

    /// Returns the SQLSTATE, if the server gave one.
    pub fn sqlstate(&self) -> Option<&str> {
        self.sqlstate.as_deref()
    }

    /// Returns the text without the server's words.
    pub fn terse(&self) -> String {
        match &self.sqlstate {
            Some(sqlstate) => format!("cannot {}: SQLSTATE {sqlstate}", self.doing),
            None => self.to_string(),
        }
    }
}

/// Text of an error without row data.
fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db)
            if SPEAKING_CLASSES
                .iter()
                .any(|class| db.code().code().starts_with(class)) =>
        {
            format!("{} {}: {}", db.severity(), db.code().code(), db.message())
        }
        Some(db) => format!("{} {}", db.severity(), db.code().code()),
        None => {
            let causes = std::iter::successors(error.source(), |cause: &&dyn std::error::Error| {
                (*cause).source()
            })
            .map(|cause| format!(": {cause}"));
            std::iter::once(error.to_string()).chain(causes).collect()
        }
    }
}
