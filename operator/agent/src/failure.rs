//! Why a task could not be done: words for people that hold neither secrets nor row data.

use std::{error::Error, io, path::Path};

use dryrun_core::problem::TaskError;
use tokio_postgres::error::SqlState;

pub(crate) type Result<T, E = TaskError> = std::result::Result<T, E>;

/// Bytes of a message; the report that it ends in is bounded.
const MESSAGE: usize = 1024;

/// SQLSTATE classes whose messages speak of connections, names, rights and resources. All others may quote row data.
const SPEAKING_CLASSES: [&str; 11] = [
    "08", "0A", "25", "28", "3D", "3F", "42", "53", "54", "55", "57",
];

/// Ends of server messages that speak of names alone.
const SPEAKING_ENDS: [&str; 4] = [
    "does not exist",
    "already exists",
    "is not available",
    ": No space left on device",
];

/// A failure that stays until somebody changes something.
pub(crate) fn lasting(reason: &str, message: impl AsRef<str>) -> TaskError {
    TaskError {
        reason: reason.to_owned(),
        message: cut(message.as_ref()),
        transient: false,
    }
}

/// A failure that may be gone the next time.
pub(crate) fn passing(reason: &str, message: impl AsRef<str>) -> TaskError {
    TaskError {
        transient: true,
        ..lasting(reason, message)
    }
}

/// The same failure of a task that must not be begun again: what it has done until then stays.
pub(crate) fn for_good(error: TaskError) -> TaskError {
    TaskError {
        transient: false,
        ..error
    }
}

/// A file of the pod could not be used.
pub(crate) fn file(path: impl AsRef<Path>, error: &io::Error) -> TaskError {
    lasting(
        "FileUnusable",
        format!("{}: {error}", path.as_ref().display()),
    )
}

/// A query failed.
pub(crate) fn query(what: &str, error: &tokio_postgres::Error) -> TaskError {
    let message = format!("{what}: {}", describe(error));
    let lost = error.is_closed() || error.source().is_some_and(|cause| cause.is::<io::Error>());
    match error.code().map(SqlState::code) {
        // The server was told to shut down, or the session was ended.
        Some(state) if state.starts_with("57P") => passing("ConnectionLost", message),
        // lock_not_available
        Some("55P03") => passing("SourceLocked", message),
        None if lost => passing("ConnectionLost", message),
        _ => lasting("QueryFailed", message),
    }
}

/// No session came about.
pub(crate) fn connect(what: &str, error: &tokio_postgres::Error) -> TaskError {
    let message = format!("{what}: {}", describe(error));
    match error.code() {
        Some(&SqlState::CANNOT_CONNECT_NOW | &SqlState::TOO_MANY_CONNECTIONS) | None => {
            passing("ConnectFailed", message)
        }
        Some(_) => lasting("ConnectFailed", message),
    }
}

/// What an error of a session says, without row data.
pub(crate) fn describe(error: &tokio_postgres::Error) -> String {
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
            let causes =
                std::iter::successors(error.source(), |cause: &&dyn Error| (*cause).source())
                    .map(|cause| format!(": {cause}"));
            std::iter::once(error.to_string()).chain(causes).collect()
        }
    }
}

/// A line of `pg_dump`'s or `pg_restore`'s standard error without what a server message may quote from a row.
pub(crate) fn without_rows(line: &str) -> String {
    let Some((head, message)) = line.split_once("ERROR:") else {
        return cut(line);
    };
    let message = message.trim_start();
    if message.starts_with("permission denied")
        || message.starts_with("must be ")
        || SPEAKING_ENDS.iter().any(|end| message.ends_with(end))
    {
        cut(line)
    } else {
        format!("{}ERROR:  (not shown: it may quote a row)", cut(head))
    }
}

/// The text's first part, cut between characters.
fn cut(text: &str) -> String {
    if text.len() <= MESSAGE {
        text.to_owned()
    } else {
        format!(
            "{}…",
            &text[..text.floor_char_boundary(MESSAGE - '…'.len_utf8())]
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_between_characters() {
        let message = lasting("X", "é".repeat(MESSAGE)).message;
        assert!(
            message.len() <= MESSAGE && message.ends_with('…'),
            "{}",
            message.len()
        );
    }

    #[test]
    fn names_are_shown_and_rows_are_not() {
        let missing =
            r#"pg_restore: error: could not execute query: ERROR:  role "ops" does not exist"#;
        assert_eq!(without_rows(missing), missing);
        assert_eq!(
            without_rows(
                r#"pg_restore: error: COPY failed for table "t": ERROR:  invalid input syntax for type integer: "alice@example.com""#
            ),
            r#"pg_restore: error: COPY failed for table "t": ERROR:  (not shown: it may quote a row)"#
        );
        assert_eq!(
            without_rows("pg_restore: error: connection to server lost"),
            "pg_restore: error: connection to server lost"
        );
    }
}
