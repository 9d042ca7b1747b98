//! Entries that are kept of the copy's own log: who did what kind of thing, and never a row.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::postgres::server_log::{Entry, statement_class};

/// Functions of the server that log a client's statement. The message alone does not suffice:
/// `RAISE LOG 'statement: …'` looks the same.
const STATEMENTS: [&str; 2] = ["exec_simple_query", "exec_execute_message"];
/// Processes that run no code of a client, so that their messages quote no row. A parallel worker
/// is none of them.
const BACKGROUND: [&str; 9] = [
    "postmaster",
    "startup",
    "checkpointer",
    "background writer",
    "walwriter",
    "logger",
    "archiver",
    "autovacuum launcher",
    "io worker",
];

/// An entry of the log as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeptEntry {
    /// Time of the entry.
    pub time: String,
    /// Role that was logged in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// LOG, ERROR, FATAL, …
    pub severity: String,
    /// SQLSTATE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<String>,
    /// The server's function that wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// Leading keywords of the statement.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub statement: String,
    /// The message, of errors that speak of names and rights and of processes that see no rows.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// A statement of a traced role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TracedStatement {
    /// Time of the start.
    pub time: String,
    /// Role that was logged in.
    pub user: String,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Its text, without the values of its parameters.
    pub statement: String,
}

/// Treatment of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is kept in the log.
    Entry(KeptEntry),
    /// It is kept in the trace.
    Statement(TracedStatement),
    /// A statement that was not requested.
    Nothing,
}

/// Returns the kept form of an entry. Statements are kept only of the roles in `traced`.
pub fn kept(entry: Entry, traced: &BTreeSet<String>) -> Kept {
    let is = |names: &[&str], name: &str| names.contains(&name);
    let function = entry.func_name.as_deref().unwrap_or_default();
    if entry.error_severity == "LOG" && is(&STATEMENTS, function) {
        let user = entry.user.unwrap_or_default();
        // `statement: SELECT 1` and `execute name: SELECT 1`.
        return match entry.message.split_once(": ") {
            Some((_, statement)) if traced.contains(&user) => Kept::Statement(TracedStatement {
                time: entry.timestamp,
                user,
                session: entry.session_id,
                statement: statement.to_owned(),
            }),
            _ => Kept::Nothing,
        };
    }
    let message = if entry.is_error() {
        entry.message_without_rows()
    } else if is(&BACKGROUND, &entry.backend_type) {
        entry.message.chars().take(200).collect()
    } else {
        String::new()
    };
    Kept::Entry(KeptEntry {
        statement: statement_class(entry.statement.as_deref().unwrap_or_default()),
        time: entry.timestamp,
        user: entry.user,
        session: entry.session_id,
        severity: entry.error_severity,
        sqlstate: entry.state_code,
        function: entry.func_name,
        message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn entry(value: Value) -> Kept {
        let entry = Entry::parse(&value.to_string()).unwrap();
        kept(entry, &BTreeSet::from(["app".to_owned()]))
    }

    fn statement(user: &str, function: &str, message: &str) -> Value {
        json!({
            "timestamp": "2026-11-26 19:40:01.123 UTC", "user": user, "session_id": "6744f1a1.1267", "error_severity": "LOG",
            "state_code": "00000", "message": message, "detail": "Parameters: $1 = 'alice'", "func_name": function,
            "backend_type": "client backend",
        })
    }

    #[test]
    fn statements_are_kept_of_traced_roles_alone() {
        let traced = |message| match entry(statement("app", "exec_simple_query", message)) {
            Kept::Statement(traced) => serde_json::to_value(traced).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            traced("statement: SELECT ': '"),
            json!({"time": "2026-11-26 19:40:01.123 UTC", "user": "app", "session": "6744f1a1.1267", "statement": "SELECT ': '"})
        );
        assert_eq!(
            traced("execute <unnamed>: SELECT $1")["statement"],
            "SELECT $1"
        );
        for user in ["dryrun_0f1e2d3c", ""] {
            let other = statement(user, "exec_execute_message", "execute a: SELECT 1");
            assert_eq!(entry(other), Kept::Nothing);
        }
    }

    #[test]
    fn of_what_code_of_a_client_says_only_that_it_spoke() {
        let message = "statement: the row of alice@example.com";
        for (severity, backend) in [("LOG", "client backend"), ("WARNING", "parallel worker")] {
            let mut spoken = statement("app", "exec_stmt_raise", message);
            spoken["error_severity"] = severity.into();
            spoken["backend_type"] = backend.into();
            let Kept::Entry(kept) = entry(spoken) else {
                panic!()
            };
            let text = serde_json::to_string(&kept).unwrap();
            assert!(
                !text.contains("alice") && text.contains("exec_stmt_raise"),
                "{text}"
            );
        }
    }

    #[test]
    fn errors_have_their_class_and_no_row() {
        let error = |code: &str, message: &str| {
            let mut error = statement("app", "ExecConstraints", message);
            error["error_severity"] = "ERROR".into();
            error["state_code"] = code.into();
            error["statement"] = "INSERT INTO t VALUES ('alice')".into();
            error["context"] = "alice".into();
            error["internal_query"] = "alice".into();
            let Kept::Entry(kept) = entry(error) else {
                panic!()
            };
            serde_json::to_value(kept).unwrap()
        };
        assert_eq!(
            error("23502", "alice"),
            json!({
                "time": "2026-11-26 19:40:01.123 UTC", "user": "app", "session": "6744f1a1.1267", "severity": "ERROR", "sqlstate": "23502",
                "function": "ExecConstraints", "statement": "INSERT",
            })
        );
        assert_eq!(
            error("42501", "permission denied for table t")["message"],
            "permission denied for table t"
        );
    }

    #[test]
    fn the_server_itself_may_speak() {
        let message = "server process (PID 7) was terminated by signal 9: Killed";
        let crash = json!({
            "timestamp": "t", "error_severity": "LOG", "message": message, "backend_type": "postmaster",
            "detail": "Failed process was running: SELECT 'alice'",
        });
        let Kept::Entry(kept) = entry(crash) else {
            panic!()
        };
        assert_eq!(
            serde_json::to_value(kept).unwrap(),
            json!({"time": "t", "severity": "LOG", "message": message})
        );
    }
}
