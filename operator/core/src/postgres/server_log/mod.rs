//! The copy's own log (jsonlog): the judge of the restore and of every scenario.
//!
//! Fields: <https://www.postgresql.org/docs/current/runtime-config-logging.html#RUNTIME-CONFIG-LOGGING-JSONLOG>.

pub mod kept;
mod statement;

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

use crate::run::facts::{LogWindow, LoggedError};

/// Function of PL/pgSQL that raises what a RAISE says.
pub(crate) const RAISE: &str = "exec_stmt_raise";

/// One line of the log, as far as gates need it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// When it was written.
    pub timestamp: String,
    /// The session that it belongs to.
    pub session_id: Option<String>,
    /// `client backend`, `checkpointer`, `parallel worker`, …
    pub backend_type: String,
    /// Login role; absent for background processes. `SET ROLE` does not change it.
    pub user: Option<String>,
    /// Chosen by the client.
    pub application_name: Option<String>,
    /// LOG, ERROR, FATAL, PANIC, …
    pub error_severity: String,
    /// SQLSTATE.
    pub state_code: Option<String>,
    /// The message.
    pub message: String,
    /// The statement that raised it.
    pub statement: Option<String>,
    /// The server's function that raised it (`log_error_verbosity=verbose`).
    pub func_name: Option<String>,
}

impl Entry {
    /// Reads one line; nothing for a line that is not whole.
    pub fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }

    /// Reads one line of a file; bytes that are no UTF-8 do not matter.
    pub fn read(line: &[u8]) -> Option<Self> {
        Self::parse(&String::from_utf8_lossy(line))
    }

    /// ERROR, FATAL and PANIC.
    pub fn is_error(&self) -> bool {
        matches!(self.error_severity.as_str(), "ERROR" | "FATAL" | "PANIC")
    }

    /// The message of an error as it may be kept: only where the server itself speaks of names and rights. Others may quote rows, and so may a RAISE,
    /// whatever SQLSTATE it borrows.
    pub(crate) fn message_without_rows(&self) -> String {
        let sqlstate = self.state_code.as_deref().unwrap_or_default();
        let named = ["42", "28", "53", "57"]
            .iter()
            .any(|class| sqlstate.starts_with(class));
        let raised = self.func_name.as_deref() == Some(RAISE);
        if named && !raised {
            self.message.chars().take(200).collect()
        } else {
            String::new()
        }
    }

    /// What kept facts say of an error.
    fn logged(&self) -> LoggedError {
        LoggedError {
            statement: statement_class(self.statement.as_deref().unwrap_or_default()),
            severity: self.error_severity.clone(),
            user: self.user.clone().unwrap_or_default(),
            function: self.func_name.clone().unwrap_or_default(),
            message: self.message_without_rows(),
            count: 1,
            sqlstate: self.state_code.clone().unwrap_or_default(),
        }
    }
}

/// The class of a text's most severe statement: its leading keywords, such as `CREATE POLICY`, `GRANT` or `ALTER TABLE`, and never an identifier.
///
/// `pg_restore` sends all statements of an entry as one text: the error has one SQLSTATE and does not say which of them raised it.
pub fn statement_class(text: &str) -> String {
    let mut worst: Option<String> = None;
    for class in statement::classes(text) {
        if worst
            .as_deref()
            .is_none_or(|worst| severity(&class) > severity(worst))
        {
            worst = Some(class);
        }
    }
    worst.unwrap_or_default()
}

/// How much would be missing from the copy after an error in a statement of this class.
fn severity(class: &str) -> u8 {
    match class {
        // Nobody knows.
        "" => 6,
        // Rows that a policy hides would be open to everybody.
        "CREATE POLICY" | "ALTER POLICY" => 5,
        // One of a text's grants fails, and all are lost.
        "GRANT" | "REVOKE" | "ALTER DEFAULT" => 4,
        // Rows, sequences and large objects.
        "COPY" | "INSERT" | "UPDATE" | "DELETE" | "SELECT" => 3,
        "COMMENT" | "SECURITY" | "SET" | "RESET" => 0,
        _ if class.starts_with("CREATE") => 2,
        _ => 1,
    }
}

/// Whether an error of the restore can be accepted at all. The CRD refuses a spec that tolerates another; its rule is this one, in CEL.
pub fn is_tolerable(sqlstate: &str, statement: &str) -> bool {
    const NEVER: [&str; 7] = ["08", "22", "23", "53", "57", "58", "XX"];
    const SETTINGS: [&str; 4] = ["ALTER DATABASE", "COMMENT", "SECURITY", "SET"];
    !NEVER.iter().any(|class| sqlstate.starts_with(class))
        && severity(statement) < severity("GRANT")
        && statement != "COPY"
        // A role, type or operator class that does not exist takes with it what refers to it; a parameter takes only its setting.
        && (sqlstate != "42704" || SETTINGS.contains(&statement))
}

/// Groups equal errors.
pub fn group<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<LoggedError> {
    let mut groups: BTreeMap<LoggedError, u32> = BTreeMap::new();
    for entry in entries {
        *groups.entry(entry.logged()).or_default() += 1;
    }
    groups
        .into_iter()
        .map(|(error, count)| LoggedError { count, ..error })
        .collect()
}

/// What a log tells of crashes: a backend ended by a signal, a recovery, a PANIC.
pub fn crashes<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<String> {
    let told = |e: &Entry| {
        e.error_severity == "PANIC"
            || e.message.contains("was terminated by signal")
            || e.message
                .contains("terminating any other active server processes")
            || e.message.contains("was not properly shut down")
    };
    entries
        .into_iter()
        .filter(|e| told(e))
        .map(|e| e.message.chars().take(120).collect())
        .collect()
}

/// Puts the lines of a log together that comes in pieces.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// The begin of a line that has not ended yet.
    partial: Vec<u8>,
}

impl Lines {
    /// Takes the next piece, and gives all lines that have ended with it. Each byte is looked at once, however many lines there are.
    pub fn feed(&mut self, piece: &[u8]) -> Vec<u8> {
        let ended = piece.iter().rposition(|b| *b == b'\n').map(|at| at + 1);
        let (ended, begun) = piece.split_at(ended.unwrap_or_default());
        if ended.is_empty() {
            self.partial.extend_from_slice(begun);
            return Vec::new();
        }
        let mut lines = std::mem::replace(&mut self.partial, begun.to_vec());
        lines.extend_from_slice(ended);
        lines
    }
}

/// Each line with its end.
pub fn split(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines.split_inclusive(|b| *b == b'\n')
}

/// Reads a log piece by piece and keeps what lies between two markers.
#[derive(Clone, Debug)]
pub struct WindowReader {
    begin: String,
    end: String,
    roles: BTreeSet<String>,
    own: String,
    inside: bool,
    closed: bool,
    lines: Lines,
    offset: u64,
    sessions: u64,
    statements: u64,
    errors: Vec<Entry>,
    foreign: Vec<Entry>,
}

impl WindowReader {
    /// A reader from `offset` of the file on. `roles` are the declared roles, `own` is the operator's, whose statements hold the markers.
    pub fn new(
        offset: u64,
        begin: String,
        end: String,
        roles: BTreeSet<String>,
        own: String,
    ) -> Self {
        Self {
            begin,
            end,
            roles,
            own,
            inside: false,
            closed: false,
            lines: Lines::default(),
            offset,
            sessions: 0,
            statements: 0,
            errors: Vec::new(),
            foreign: Vec::new(),
        }
    }

    /// Where the next piece must begin.
    pub fn next_offset(&self) -> u64 {
        self.offset + self.lines.partial.len() as u64
    }

    /// Whether the opening marker was seen.
    pub fn begun(&self) -> bool {
        self.inside || self.closed
    }

    /// Takes the next piece. True once the closing marker was seen.
    pub fn feed(&mut self, piece: &[u8]) -> bool {
        for line in split(&self.lines.feed(piece)) {
            if self.closed {
                break;
            }
            self.offset += line.len() as u64;
            if let Some(entry) = Entry::read(line) {
                self.entry(entry);
            }
        }
        self.closed
    }

    fn entry(&mut self, entry: Entry) {
        let user = entry.user.as_deref().unwrap_or_default();
        if user == self.own {
            if !self.inside {
                self.inside = entry.message.contains(&self.begin);
            } else if entry.message.contains(&self.end) {
                self.closed = true;
            }
            return;
        }
        if !self.inside {
            return;
        }
        if !self.roles.contains(user) {
            if entry.is_error() || !crashes([&entry]).is_empty() {
                self.foreign.push(entry);
            }
            return;
        }
        if entry.is_error() {
            self.errors.push(entry);
        } else if entry.message.starts_with("connection authorized") {
            self.sessions += 1;
        } else if entry.message.starts_with("statement:") || entry.message.starts_with("execute ") {
            self.statements += 1;
        }
    }

    /// What was found.
    pub fn finish(self) -> LogWindow {
        LogWindow {
            enclosed: self.closed,
            end_offset: self.offset,
            sessions: self.sessions,
            statements: self.statements,
            errors: group(&self.errors),
            foreign: group(&self.foreign),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(user: &str, severity: &str, code: &str, message: &str) -> String {
        let value = serde_json::json!({"user": user, "error_severity": severity, "state_code": code, "message": message, "func_name": "f", "pid": 7});
        format!("{value}\n")
    }

    fn reader(offset: u64) -> WindowReader {
        WindowReader::new(
            offset,
            "begin-1".into(),
            "end-1".into(),
            BTreeSet::from(["app".to_owned()]),
            "op".into(),
        )
    }

    #[test]
    fn lines_come_whole_whatever_the_pieces() {
        let text = b"a\n\nbcd\nrest";
        for size in 1..=text.len() {
            let mut lines = Lines::default();
            let whole: Vec<u8> = text.chunks(size).flat_map(|p| lines.feed(p)).collect();
            assert_eq!(whole, b"a\n\nbcd\n");
            assert_eq!(lines.partial, b"rest");
        }
        assert!(split(b"a\n\nbcd\n").eq([&b"a\n"[..], b"\n", b"bcd\n"]));
        assert_eq!(split(b"").count(), 0);
    }

    #[test]
    fn only_what_lies_between_the_markers_counts() {
        let log = [
            line("app", "ERROR", "42501", "before"),
            line("op", "LOG", "00000", "statement: SELECT 'begin-1'"),
            line("app", "LOG", "00000", "connection authorized: user=app"),
            line("app", "LOG", "00000", "statement: SELECT 1"),
            line("app", "ERROR", "42501", "permission denied for table t"),
            line("app", "ERROR", "42501", "permission denied for table t"),
            line("", "ERROR", "XX000", "from a worker"),
            line("app", "LOG", "00000", "statement: SELECT 'end-1'"),
            line("op", "LOG", "00000", "statement: SELECT 'end-1'"),
        ]
        .concat();
        let rest = line("app", "ERROR", "42501", "after");
        // In pieces of every size, so that lines are cut anywhere.
        for size in [1, 7, 100, 10_000] {
            let mut reader = reader(40);
            let whole = format!("{log}{rest}");
            let closed = whole
                .as_bytes()
                .chunks(size)
                .any(|piece| reader.feed(piece));
            assert!(closed);
            let window = reader.finish();
            assert!(window.enclosed);
            assert_eq!(window.end_offset, 40 + log.len() as u64);
            assert_eq!((window.sessions, window.statements), (1, 2));
            assert_eq!(window.errors.len(), 1);
            assert_eq!(
                (window.errors[0].count, window.errors[0].message.as_str()),
                (2, "permission denied for table t")
            );
            assert_eq!(
                window.foreign[0].message, "",
                "the message of another class may quote rows"
            );
        }
    }

    #[test]
    fn a_marker_of_somebody_else_is_none() {
        let mut reader = reader(0);
        assert!(
            !reader.feed(line("app", "LOG", "00000", "statement: SELECT 'begin-1'").as_bytes())
        );
        assert!(!reader.begun());
    }

    #[test]
    fn statements_have_a_class_without_identifiers() {
        for (statement, class) in [
            ("CREATE POLICY p ON t", "CREATE POLICY"),
            ("create or replace view v as select 1", "CREATE VIEW"),
            ("GRANT SELECT ON t TO r;\nGRANT", "GRANT"),
            ("-- a comment\nCOMMENT ON EXTENSION x", "COMMENT"),
            ("ALTER TABLE secret_name OWNER TO x", "ALTER TABLE"),
            ("COPY t FROM stdin;", "COPY"),
            ("\"odd\"", ""),
            ("", ""),
            (
                "SET x = 1; GRANT SELECT ON t TO r; CREATE TABLE t ()",
                "GRANT",
            ),
            (
                "CREATE TABLE t (); ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t",
                "CREATE POLICY",
            ),
            (
                "CREATE TABLE t (); ALTER TABLE t OWNER TO x;",
                "CREATE TABLE",
            ),
            ("COMMENT ON TABLE t IS 'a; GRANT b TO c'", "COMMENT"),
            ("COMMENT ON TABLE t IS 'a'; \"odd\"", ""),
        ] {
            assert_eq!(statement_class(statement), class, "{statement}");
        }
    }

    #[test]
    fn what_would_be_missing_is_never_tolerable() {
        for (sqlstate, statement) in [
            ("42501", "CREATE POLICY"),
            ("42704", "CREATE POLICY"),
            ("42704", "GRANT"),
            ("42501", "GRANT"),
            ("42883", "REVOKE"),
            ("42704", "ALTER DEFAULT"),
            ("42704", "ALTER FUNCTION"),
            ("42704", "CREATE TABLE"),
            ("42P01", "COPY"),
            ("22P02", "COPY"),
            ("23505", "CREATE INDEX"),
            ("53100", "CREATE TABLE"),
            ("57014", "CREATE INDEX"),
            ("58P01", "CREATE EXTENSION"),
            ("08006", "COMMENT"),
            ("XX000", "SET"),
            ("42501", ""),
        ] {
            assert!(!is_tolerable(sqlstate, statement), "{sqlstate} {statement}");
        }
        for (sqlstate, statement) in [
            ("42501", "COMMENT"),
            ("42704", "SET"),
            ("42704", "ALTER DATABASE"),
            ("42P07", "CREATE SCHEMA"),
            ("42P01", "CREATE VIEW"),
        ] {
            assert!(is_tolerable(sqlstate, statement), "{sqlstate} {statement}");
        }
    }

    #[test]
    fn a_raise_says_nothing_that_is_kept() {
        let entry = |function: &str| Entry {
            state_code: Some("42501".into()),
            message: "permission denied for alice@example.com".into(),
            func_name: Some(function.into()),
            ..Entry::default()
        };
        assert_eq!(entry(RAISE).message_without_rows(), "");
        assert_ne!(entry("aclcheck_error").message_without_rows(), "");
    }

    #[test]
    fn crashes_are_told() {
        let entry = |message: &str| Entry {
            message: message.into(),
            error_severity: "LOG".into(),
            ..Entry::default()
        };
        assert_eq!(
            crashes(&[entry(
                "server process (PID 7) was terminated by signal 9: Killed"
            )])
            .len(),
            1
        );
        assert!(crashes(&[entry("checkpoint complete")]).is_empty());
    }
}
