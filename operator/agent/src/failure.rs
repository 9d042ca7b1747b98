//! Why a task could not be done: words for people that hold neither secrets nor row data.

use std::{io, path::Path};

use dryrun_core::problem::TaskError;
use dryrun_postgres::Class;

pub(crate) type Result<T, E = TaskError> = std::result::Result<T, E>;

/// Bytes of a message; the report that it ends in is bounded.
const MESSAGE: usize = 1024;

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

/// A request to a server failed.
pub(crate) fn query(error: dryrun_postgres::Error) -> TaskError {
    let class = error.class();
    let reason = match class {
        Class::Lost | Class::Unavailable => "ConnectionLost",
        Class::Locked => "SourceLocked",
        Class::Conflict => "TransactionConflict",
        Class::Refused => "QueryFailed",
    };
    of_server(reason, class, &error)
}

/// A session could not be opened.
pub(crate) fn connect(error: dryrun_postgres::Error) -> TaskError {
    of_server("ConnectFailed", error.class(), &error)
}

fn of_server(reason: &str, class: Class, error: &dryrun_postgres::Error) -> TaskError {
    TaskError {
        transient: class.is_transient(),
        ..lasting(reason, error.to_string())
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
