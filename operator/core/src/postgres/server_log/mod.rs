//! The copy's own log (jsonlog): the judge of the restore and of every scenario.
//!
//! Fields:
//! <https://www.postgresql.org/docs/current/runtime-config-logging.html#RUNTIME-CONFIG-LOGGING-JSONLOG>.

pub mod kept;
mod statement;

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

use crate::postgres::sql::{Template, literal};
use crate::run::facts::{LogWindow, LoggedError};

/// Name prefixes of the functions that raise errors for procedural code, SQLSTATE and message
/// included: those of PL/pgSQL's RAISE, of PL/Perl, PL/Python and PL/Tcl, and of links to servers
/// that may do the same.
const PROCEDURAL: [&str; 7] = [
    "exec_stmt_raise",
    "plperl_",
    "PLy_",
    "pltcl_",
    "throw_tcl_error",
    "dblink_res_error",
    "pgfdw_report",
];
/// Bytes of a line that are held; of a longer one only the begin is looked at.
const LINE: usize = 1 << 20;
/// Different errors that are kept of one log; of further ones only the number.
const KINDS: usize = 256;
/// Characters of a statement's class.
const CLASS: usize = 40;
/// Sessions whose entries are counted at a time. More cannot live at once; what never got in leaves
/// no line at its end.
const SESSIONS: usize = 1 << 14;
/// Maximum number of crashes in the facts.
const CRASHES: usize = 20;
/// SQLSTATE of a session whose client is gone.
const CLIENT_GONE: &str = "08006";

/// Writes a text into the log of statements.
const MARKER: Template<1> = Template::new("SELECT {text} AS marker", ["text"]);

/// The statement that marks the log with a text.
pub fn marker(text: &str) -> String {
    MARKER.fill([&literal(text)])
}

/// Returns true for a function that raises errors for procedural code.
pub(crate) fn is_procedural(function: &str) -> bool {
    PROCEDURAL.iter().any(|begin| function.starts_with(begin))
}

/// One line of the log, as far as gates need it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// Time of the entry.
    pub timestamp: String,
    /// The session that it belongs to.
    pub session_id: Option<String>,
    /// Its number in the log of its session, from 1 on.
    pub line_num: u64,
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

    /// The message of an error as it may be kept: only where the server itself speaks of names and
    /// rights. Others may quote rows, and so may a RAISE, with any SQLSTATE.
    pub(crate) fn message_without_rows(&self) -> String {
        let sqlstate = self.state_code.as_deref().unwrap_or_default();
        let named = ["42", "28", "53", "57"]
            .iter()
            .any(|class| sqlstate.starts_with(class));
        let raised = is_procedural(self.func_name.as_deref().unwrap_or_default());
        if named && !raised {
            self.message.chars().take(200).collect()
        } else {
            String::new()
        }
    }

    /// The begin of a line that is too long to be held, as far as it goes: the message and what
    /// follows it are missing, except for the message's first characters.
    fn read_begin(line: &[u8]) -> Option<Self> {
        // Inside of a string every quote has a backslash in front of it.
        const MESSAGE: &[u8] = br#","message":""#;
        let at = line
            .windows(MESSAGE.len())
            .position(|bytes| bytes == MESSAGE)?;
        let (head, message) = line.split_at(at);
        let message = message.get(MESSAGE.len()..)?.iter().take(32).copied();
        let mut entry = Self::read(&[head, b"}"].concat())?;
        entry.message = String::from_utf8_lossy(&message.collect::<Vec<u8>>()).into_owned();
        Some(entry)
    }

    /// Returns true if the server itself logs the start of a session.
    fn is_session(&self) -> bool {
        self.is_of_server() && self.message.starts_with("connection authorized")
    }

    /// Returns true if the server itself logs the statement that it runs.
    fn is_statement(&self) -> bool {
        let runs = ["statement:", "execute "];
        self.is_of_server() && runs.iter().any(|begin| self.message.starts_with(begin))
    }

    /// Returns true for a message of the server under LOG; a RAISE LOG may say the same.
    fn is_of_server(&self) -> bool {
        self.error_severity == "LOG"
            && !is_procedural(self.func_name.as_deref().unwrap_or_default())
    }

    /// Returns true if it reports a crash: a backend ended by a signal, a recovery, a PANIC. What a
    /// client makes the server log is no such thing.
    fn is_crash(&self) -> bool {
        let told = [
            "was terminated by signal",
            "terminating any other active server processes",
            "was not properly shut down",
        ];
        self.error_severity == "PANIC"
            || matches!(self.error_severity.as_str(), "LOG" | "FATAL")
                && matches!(self.backend_type.as_str(), "postmaster" | "startup")
                && told.iter().any(|words| self.message.contains(words))
    }

    /// Returns the kept form of an error.
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

/// The class of a text's most severe statement: its leading keywords, such as `CREATE POLICY`,
/// `GRANT` or `ALTER TABLE`, and never an identifier.
///
/// `pg_restore` sends all statements of an entry as one text: the error has one SQLSTATE and does
/// not say which of them raised it.
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
    worst.unwrap_or_default().chars().take(CLASS).collect()
}

/// Ranks the losses in the copy after an error in a statement of this class.
fn severity(class: &str) -> u8 {
    match class {
        // Unknown.
        "" => 6,
        // Rows that a policy hides would be visible to every role.
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

/// Returns true if an error of the restore can be accepted at all. The CRD refuses a spec that
/// tolerates another; its rule is this one, in CEL.
pub fn is_tolerable(sqlstate: &str, statement: &str) -> bool {
    const NEVER: [&str; 7] = ["08", "22", "23", "53", "57", "58", "XX"];
    const SETTINGS: [&str; 4] = ["ALTER DATABASE", "COMMENT", "SECURITY", "SET"];
    !NEVER.iter().any(|class| sqlstate.starts_with(class))
        && severity(statement) < severity("GRANT")
        && statement != "COPY"
        // A role, type or operator class that does not exist takes with it what refers to it; a
        // parameter takes only its setting.
        && (sqlstate != "42704" || SETTINGS.contains(&statement))
}

/// Errors, grouped while a log is read: the kept part is bounded for any log.
#[derive(Clone, Debug, Default)]
pub struct Errors {
    kinds: BTreeMap<LoggedError, u32>,
    overflow: u64,
}

impl Errors {
    /// Takes one more.
    pub fn add(&mut self, entry: &Entry) {
        let logged = entry.logged();
        if let Some(count) = self.kinds.get_mut(&logged) {
            *count = count.saturating_add(1);
        } else if self.kinds.len() < KINDS {
            self.kinds.insert(logged, 1);
        } else {
            self.overflow += 1;
        }
    }

    /// Takes one of which too little is known.
    fn add_unknown(&mut self) {
        self.overflow += 1;
    }

    /// The groups, and the number of errors that are in none.
    pub fn finish(self) -> (Vec<LoggedError>, u64) {
        let groups = self
            .kinds
            .into_iter()
            .map(|(error, count)| LoggedError { count, ..error });
        (groups.collect(), self.overflow)
    }
}

/// Collects crashes while a log is read.
#[derive(Clone, Debug, Default)]
pub struct Crashes(Vec<String>);

impl Crashes {
    /// Looks at one more entry.
    pub fn add(&mut self, entry: &Entry) {
        if entry.is_crash() && self.0.len() < CRASHES {
            self.0.push(entry.message.chars().take(120).collect());
        }
    }

    /// The messages.
    pub fn finish(self) -> Vec<String> {
        self.0
    }
}

/// Puts the lines of a log together that comes in pieces. However long a line is, only its begin is
/// held.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// The begin of a line that has not ended yet.
    begun: Vec<u8>,
    /// Bytes of that line so far.
    length: u64,
}

impl Lines {
    /// Takes the next piece, and shows each line that has ended with it.
    pub fn feed(&mut self, piece: &[u8], mut show: impl FnMut(Line<'_>)) {
        for part in piece.split_inclusive(|b| *b == b'\n') {
            let room = LINE - self.begun.len();
            self.begun.extend_from_slice(&part[..part.len().min(room)]);
            self.length += part.len() as u64;
            if part.ends_with(b"\n") {
                show(Line {
                    held: &self.begun,
                    length: self.length,
                });
                self.begun.clear();
                self.length = 0;
            }
        }
    }
}

/// A line of a log with its end.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The begin of it that is held.
    held: &'a [u8],
    /// All bytes that it has.
    length: u64,
}

impl Line<'_> {
    /// The entry that it is; nothing for a line that is none, or is too long.
    pub fn entry(&self) -> Option<Entry> {
        self.is_whole().then(|| Entry::read(self.held)).flatten()
    }

    fn is_whole(&self) -> bool {
        self.length == self.held.len() as u64
    }
}

/// Reads a log piece by piece and keeps what lies between two markers.
#[derive(Clone, Debug)]
pub struct WindowReader {
    markers: Markers,
    who: Who,
    inside: bool,
    closed: bool,
    lines: Lines,
    offset: u64,
    sessions: u64,
    statements: u64,
    errors: Errors,
    foreign: Errors,
    unreadable: u64,
    /// The number of each session's last entry.
    numbers: BTreeMap<String, u64>,
}

/// The texts of the markers around a window.
#[derive(Clone, Debug)]
pub struct Markers {
    /// Before it.
    pub begin: String,
    /// After it.
    pub end: String,
}

/// Sessions of a window and their logins.
#[derive(Clone, Debug)]
pub struct Who {
    /// The scenario's login.
    pub login: String,
    /// The declared roles.
    pub roles: BTreeSet<String>,
    /// The operator's role, whose statements the markers are.
    pub operator: String,
}

impl WindowReader {
    /// A reader from `offset` of the file on.
    pub fn new(offset: u64, markers: &Markers, who: Who) -> Self {
        let logged = |text: &str| format!("statement: {}", marker(text));
        Self {
            markers: Markers {
                begin: logged(&markers.begin),
                end: logged(&markers.end),
            },
            who,
            inside: false,
            closed: false,
            lines: Lines::default(),
            offset,
            sessions: 0,
            statements: 0,
            errors: Errors::default(),
            foreign: Errors::default(),
            unreadable: 0,
            numbers: BTreeMap::new(),
        }
    }

    /// Returns the offset of the next piece.
    pub fn next_offset(&self) -> u64 {
        self.offset + self.lines.length
    }

    /// Returns true if the opening marker was seen.
    pub fn begun(&self) -> bool {
        self.inside || self.closed
    }

    /// Takes the next piece. True once the closing marker was seen.
    pub fn feed(&mut self, piece: &[u8]) -> bool {
        let mut lines = std::mem::take(&mut self.lines);
        lines.feed(piece, |line| self.line(line));
        self.lines = lines;
        self.closed
    }

    fn line(&mut self, line: Line<'_>) {
        if self.closed {
            return;
        }
        self.offset += line.length;
        let whole = line.is_whole();
        let entry = if whole {
            Entry::read(line.held)
        } else {
            Entry::read_begin(line.held)
        };
        match entry {
            Some(entry) if self.inside => self.entry(&entry, whole),
            Some(entry) => self.inside = self.is_marker(&entry, &self.markers.begin),
            None if self.inside => self.unreadable += 1,
            None => {}
        }
    }

    /// Nothing else may be taken for a marker: a client can choose the names of role and database
    /// in a message about a connection that is refused.
    fn is_marker(&self, entry: &Entry, message: &str) -> bool {
        entry.user.as_ref() == Some(&self.who.operator)
            && entry.is_of_server()
            && entry.message == message
    }

    fn entry(&mut self, entry: &Entry, whole: bool) {
        let user = entry.user.as_deref().unwrap_or_default();
        let declared = self.who.roles.contains(user);
        self.count(entry, declared);
        if self.is_marker(entry, &self.markers.end) {
            self.closed = true;
            return;
        }
        let own = user == self.who.login;
        let acts = entry.is_session() || entry.is_statement();
        // A session of the operator's that was given up in the middle of a question.
        let given_up =
            user == self.who.operator && entry.state_code.as_deref() == Some(CLIENT_GONE);
        if entry.is_error() && !given_up || entry.is_crash() || declared && !own && acts {
            let errors = if own {
                &mut self.errors
            } else {
                &mut self.foreign
            };
            if whole {
                errors.add(entry);
            } else {
                errors.add_unknown();
            }
        } else if own {
            self.sessions += u64::from(entry.is_session());
            self.statements += u64::from(entry.is_statement());
        }
    }

    /// Looks whether an entry is missing before this one in its session. Sessions of declared roles
    /// begin inside of the window.
    fn count(&mut self, entry: &Entry, declared: bool) {
        let Some(session) = &entry.session_id else {
            return;
        };
        let follows = match self.numbers.get(session) {
            Some(last) => entry.line_num == last + 1,
            None => entry.line_num == 1 || !declared,
        };
        self.unreadable += u64::from(!follows);
        if entry.is_of_server() && entry.message.starts_with("disconnection: ") {
            self.numbers.remove(session);
            return;
        }
        self.numbers.insert(session.clone(), entry.line_num);
        if self.numbers.len() > SESSIONS {
            self.numbers.pop_first();
        }
    }

    /// Returns the finished window.
    pub fn finish(self) -> LogWindow {
        let (errors, more) = self.errors.finish();
        let (foreign, foreign_more) = self.foreign.finish();
        LogWindow {
            enclosed: self.closed,
            end_offset: self.offset,
            sessions: self.sessions,
            statements: self.statements,
            errors,
            foreign,
            unreadable: self.unreadable,
            overflow: more + foreign_more,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line, with its members in the order of Postgres.
    fn entry(
        session: &str,
        number: u64,
        user: &str,
        severity: &str,
        code: &str,
        message: &str,
    ) -> String {
        let message = serde_json::Value::from(message);
        let session = if session.is_empty() {
            String::new()
        } else {
            format!(r#""session_id":"{session}","line_num":{number},"#)
        };
        format!(
            r#"{{"user":"{user}","pid":7,{session}"error_severity":"{severity}","state_code":"{code}","message":{message},"func_name":"f"}}"#
        ) + "\n"
    }

    fn line(user: &str, severity: &str, code: &str, message: &str) -> String {
        entry("", 0, user, severity, code, message)
    }

    /// A line of a session.
    fn said(session: &str, number: u64, message: &str) -> String {
        entry(session, number, "app", "LOG", "00000", message)
    }

    fn mark(text: &str) -> String {
        let message = format!("statement: {}", marker(text));
        line("op", "LOG", "00000", &message)
    }

    fn reader(offset: u64) -> WindowReader {
        let markers = Markers {
            begin: "begin-1".into(),
            end: "end-1".into(),
        };
        let who = Who {
            login: "app".into(),
            roles: ["app", "other"].map(str::to_owned).into(),
            operator: "op".into(),
        };
        WindowReader::new(offset, &markers, who)
    }

    /// Returns the window of the lines between the markers.
    fn window(between: &[String]) -> LogWindow {
        let mut reader = reader(0);
        let log = [mark("begin-1"), between.concat(), mark("end-1")].concat();
        assert!(reader.feed(log.as_bytes()), "the window has an end");
        reader.finish()
    }

    #[test]
    fn lines_come_whole_whatever_the_pieces() {
        let text = b"a\n\nbcd\nrest";
        for size in 1..=text.len() {
            let mut lines = Lines::default();
            let mut whole = Vec::new();
            for piece in text.chunks(size) {
                lines.feed(piece, |line| whole.push(line.held.to_vec()));
            }
            assert_eq!(whole, [&b"a\n"[..], b"\n", b"bcd\n"]);
            assert_eq!((lines.begun.as_slice(), lines.length), (&b"rest"[..], 4));
        }
    }

    #[test]
    fn only_what_lies_between_the_markers_counts() {
        let log = [
            line("app", "ERROR", "42501", "before"),
            mark("begin-1"),
            line("app", "LOG", "00000", "connection authorized: user=app"),
            line("app", "LOG", "00000", "statement: SELECT 1"),
            line("app", "ERROR", "42501", "permission denied for table t"),
            line("app", "ERROR", "42501", "permission denied for table t"),
            line("", "ERROR", "XX000", "from a worker"),
            line("app", "LOG", "00000", "statement: SELECT 'end-1' AS marker"),
            mark("end-1"),
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

    /// A client chooses the names of role and database in the message of a refused connection; a
    /// role that may speak under LOG chooses its words.
    #[test]
    fn only_the_operators_own_statement_is_a_marker() {
        let text = format!("statement: {}", marker("end-1"));
        let raised = serde_json::json!({"user": "op", "error_severity": "LOG", "message": text, "func_name": "exec_stmt_raise"});
        let forged = [
            line("app", "LOG", "00000", &text),
            line("op", "FATAL", "28000", &text),
            line("op", "LOG", "00000", "no entry for database \"end-1\""),
            line("op", "LOG", "00000", &format!("{text};")),
            format!("{raised}\n"),
        ];
        for end in forged {
            let mut reader = reader(0);
            assert!(!reader.feed([mark("begin-1"), end.clone()].concat().as_bytes()));
            reader.feed(line("app", "ERROR", "42501", "permission denied for table t").as_bytes());
            assert!(reader.feed(mark("end-1").as_bytes()));
            assert_eq!(reader.finish().errors.len(), 1, "{end}");
        }
        let mut reader = reader(0);
        reader.feed(
            line(
                "op",
                "FATAL",
                "28000",
                "statement: SELECT 'begin-1' AS marker",
            )
            .as_bytes(),
        );
        assert!(!reader.begun());
    }

    #[test]
    fn errors_under_the_operators_name_are_foreign() {
        let window = window(&[
            line("op", "LOG", "00000", "statement: SELECT 1"),
            line("op", "FATAL", "28000", "no pg_hba.conf entry"),
            // The operator was restarted in the middle of a question.
            line("op", "FATAL", "08006", "connection to client lost"),
        ]);
        assert_eq!(window.errors, []);
        assert_eq!(window.foreign.len(), 1);
        assert_eq!(
            (
                window.foreign[0].user.as_str(),
                &*window.foreign[0].sqlstate
            ),
            ("op", "28000")
        );
    }

    #[test]
    fn whatever_another_declared_login_does_is_foreign() {
        for message in ["connection authorized: user=other", "statement: SELECT 1"] {
            let window = window(&[line("other", "LOG", "00000", message)]);
            assert_eq!((window.sessions, window.statements), (0, 0));
            assert_eq!(window.foreign[0].user, "other", "{message}");
        }
        let window = window(&[line(
            "other",
            "ERROR",
            "42501",
            "permission denied for table t",
        )]);
        assert_eq!((window.errors.len(), window.foreign.len()), (0, 1));
        let ended = window_of_an_end();
        assert_eq!(ended.foreign, []);
    }

    /// The end of a session that the barrier saw go may be logged after the marker.
    fn window_of_an_end() -> LogWindow {
        window(&[line(
            "other",
            "LOG",
            "00000",
            "disconnection: session time: 0:00:00.010",
        )])
    }

    #[test]
    fn a_raise_is_neither_a_session_nor_a_statement() {
        let raised = |message: &str| {
            let value = serde_json::json!({"user": "app", "error_severity": "LOG", "message": message, "func_name": "exec_stmt_raise"});
            format!("{value}\n")
        };
        let window = window(&[raised("connection authorized"), raised("statement: x")]);
        assert_eq!((window.sessions, window.statements), (0, 0));
    }

    #[test]
    fn what_is_missing_is_noticed() {
        let whole = [
            said("a", 1, "connection received"),
            said("b", 1, "connection received"),
            said("a", 2, "statement: SELECT 1"),
            said("a", 3, "disconnection: session time: 0"),
            said("b", 2, "statement: SELECT 1"),
        ];
        assert_eq!(window(&whole).unreadable, 0);
        for lost in 0..4 {
            let mut log = whole.to_vec();
            log.remove(lost);
            // A lost last line of a session shows only in the server's count for that session.
            assert_eq!(window(&log).unreadable, u64::from(lost != 3), "{lost}");
        }
        let mut log = whole.to_vec();
        log[2].truncate(40);
        log[2].push('\n');
        assert_eq!(window(&log).unreadable, 2, "a broken line and a gap");
    }

    #[test]
    fn a_window_is_read_in_bounded_memory() {
        let kinds = (0..5 * KINDS).map(|kind| {
            let message = format!("relation \"t{kind}\" does not exist");
            line("app", "ERROR", "42P01", &message)
        });
        let window = window(&kinds.collect::<Vec<_>>());
        assert_eq!(window.errors.len(), KINDS);
        assert_eq!(window.overflow, 4 * KINDS as u64);

        let long = "x".repeat(3 * LINE);
        let statement = format!("statement: SELECT '{long}'");
        let log = [
            mark("begin-1"),
            said("a", 1, "connection received"),
            said("a", 2, &statement),
            line("app", "ERROR", "42P01", &long),
            said("a", 3, "statement: SELECT 1"),
            mark("end-1"),
        ]
        .concat();
        let mut reader = reader(0);
        for piece in log.as_bytes().chunks(1 << 16) {
            reader.feed(piece);
            assert!(reader.lines.begun.len() <= LINE);
            assert!(reader.closed || reader.next_offset().is_multiple_of(1 << 16));
        }
        let window = reader.finish();
        assert!(window.enclosed);
        assert_eq!((window.statements, window.unreadable), (2, 0));
        assert_eq!((window.errors.len(), window.overflow), (0, 1));
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
        for function in ["exec_stmt_raise", "PLy_elog_impl", "dblink_res_error"] {
            assert_eq!(entry(function).message_without_rows(), "");
        }
        assert_ne!(entry("aclcheck_error").message_without_rows(), "");
    }

    #[test]
    fn crashes_are_told_by_the_server_alone() {
        let crash = "server process (PID 7) was terminated by signal 9: Killed";
        let told = |severity: &str, backend_type: &str, message: &str| {
            let mut crashes = Crashes::default();
            crashes.add(&Entry {
                message: message.into(),
                error_severity: severity.into(),
                backend_type: backend_type.into(),
                ..Entry::default()
            });
            crashes.finish().len()
        };
        assert_eq!(told("LOG", "postmaster", crash), 1);
        let recovers = "database system was not properly shut down; automatic recovery in progress";
        assert_eq!(told("LOG", "startup", recovers), 1);
        assert_eq!(told("PANIC", "client backend", "could not write"), 1);
        assert_eq!(told("LOG", "checkpointer", "checkpoint complete"), 0);
        let selected = format!("statement: SELECT '{crash}'");
        assert_eq!(told("LOG", "client backend", &selected), 0);
        assert_eq!(told("WARNING", "postmaster", crash), 0);
    }
}
