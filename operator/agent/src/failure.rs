//! Reasons why a task failed: messages without secrets and row data.

use std::{io, path::Path};

use dryrun_core::problem::{Problem, clip};
use dryrun_postgres::Class;

pub(crate) type Result<T, E = Problem> = std::result::Result<T, E>;

/// Ends of server messages that speak of names alone.
const SPEAKING_ENDS: [&str; 4] = [
    "does not exist",
    "already exists",
    "is not available",
    ": No space left on device",
];

/// Beginnings of refusals that hold no name.
const REFUSALS: [&str; 6] = [
    "password authentication failed",
    "sorry, too many clients already",
    "remaining connection slots are reserved",
    "too many connections",
    "the database system is",
    "terminating connection due to administrator command",
];

/// A file of the pod could not be used.
pub(crate) fn file(path: impl AsRef<Path>, error: &io::Error) -> Problem {
    Problem::permanent(
        "FileUnusable",
        format!("{}: {error}", path.as_ref().display()),
    )
}

/// A request to a server failed.
pub(crate) fn query(error: dryrun_postgres::Error) -> Problem {
    let class = error.class();
    let reason = match class {
        Class::Lost | Class::Unavailable => "ConnectionLost",
        Class::Locked => "SourceLocked",
        Class::Conflict => "TransactionConflict",
        Class::Refused => "QueryFailed",
    };
    of_server(reason, class, &error)
}

/// A request to a server failed that has not yet been recognised: nothing that it says is repeated.
pub(crate) fn unrecognised(error: dryrun_postgres::Error) -> Problem {
    Problem {
        message: error.terse(),
        ..query(error)
    }
}

/// A session could not be opened.
pub(crate) fn connect(error: dryrun_postgres::Error) -> Problem {
    of_server("ConnectFailed", error.class(), &error)
}

fn of_server(reason: &str, class: Class, error: &dryrun_postgres::Error) -> Problem {
    Problem {
        retry: class.is_transient(),
        ..Problem::permanent(reason, error)
    }
}

/// A line of `pg_dump`'s or `pg_restore`'s standard error without what a server message may quote
/// from a row.
pub(crate) fn without_rows(line: &str) -> String {
    if let Some((head, message)) = line.split_once("FATAL:") {
        return refusal(head, message.trim());
    }
    let Some((head, message)) = line.split_once("ERROR:") else {
        return clip(line.to_owned());
    };
    let message = message.trim_start();
    if message.starts_with("permission denied")
        || message.starts_with("must be ")
        || SPEAKING_ENDS.iter().any(|end| message.ends_with(end))
    {
        clip(line.to_owned())
    } else {
        format!(
            "{}ERROR:  (not shown: it may quote a row)",
            clip(head.to_owned())
        )
    }
}

/// A refusal of a session. The server at that address can write anything there, so only a sentence
/// of Postgres is shown.
fn refusal(head: &str, message: &str) -> String {
    let known = REFUSALS.iter().find(|known| message.starts_with(**known));
    let shown = known.unwrap_or(&"(not shown: the server is not known)");
    format!("{}FATAL:  {shown}", clip(head.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_not_known_is_not_quoted() {
        let line = r#"pg_dump: error: connection to server at "evil" (10.0.0.9), port 5432 failed: FATAL:  you said Zk4mQ9"#;
        assert_eq!(
            without_rows(line),
            r#"pg_dump: error: connection to server at "evil" (10.0.0.9), port 5432 failed: FATAL:  (not shown: the server is not known)"#
        );
        let line = "pg_dump: error: FATAL:  sorry, too many clients already Zk4mQ9";
        assert_eq!(
            without_rows(line),
            "pg_dump: error: FATAL:  sorry, too many clients already"
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
