//! C-09 and C-10: inputs and scenarios, as they were claimed and as the copy saw them.

use serde::{Deserialize, Serialize};

use super::ScenarioEffects;

/// Errors of one kind in the copy's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoggedError {
    /// SQLSTATE.
    pub sqlstate: String,
    /// ERROR, FATAL or PANIC.
    pub severity: String,
    /// Leading keywords of the statement.
    pub statement: String,
    /// Role that was logged in, as the log names it.
    pub user: String,
    /// Function of the server that raised it.
    pub function: String,
    /// The message, only for SQLSTATE classes that speak of names and rights (42, 28, 53, 57), cut
    /// at 200 characters.
    pub message: String,
    /// Number of occurrences.
    pub count: u32,
}

/// C-09.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InputFacts {
    /// The inputs in the spec's order.
    pub inputs: Vec<InputFact>,
}

/// One input as the pod has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InputFact {
    /// Directory that it was unpacked to.
    pub destination: String,
    /// sha256 of the file, in hex; empty when it could not be read.
    pub sha256: String,
    /// Files after unpacking.
    pub files: u64,
    /// Tree digest after unpacking, `sha256:…`.
    pub tree_digest: String,
    /// Reason why it was refused, such as a link out of the tree.
    pub problem: Option<String>,
}

/// The runner's claim about a scenario: a claim, never a proof.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScenarioClaim {
    /// Name.
    pub name: String,
    /// Exit code; absent when it was killed.
    pub exit_code: Option<i32>,
    /// It was killed at its timeout.
    pub timed_out: bool,
    /// Milliseconds.
    pub milliseconds: u64,
    /// Bytes of its output.
    pub log_bytes: u64,
    /// sha256 of its output, `sha256:…`.
    pub log_digest: String,
    /// Results of SQL steps, in order.
    pub steps: Vec<StepClaim>,
    /// Reason why it could not be started.
    pub problem: Option<String>,
}

impl ScenarioClaim {
    /// The claim without words of the runner. The user's code runs beside it under the same UID and
    /// can read its token, so it could say anything through it; names, numbers, codes and digests
    /// remain.
    #[must_use]
    pub fn wordless(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        if let Some(problem) = &mut self.problem {
            "the command could not be started: is it in the image, and executable?"
                .clone_into(problem);
        }
        for step in &mut self.steps {
            let code = step.sqlstate.as_bytes();
            if code.len() != 5 || !code.iter().all(u8::is_ascii_alphanumeric) {
                step.sqlstate.clear();
            }
        }
        let hex = self.log_digest.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() != 64 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            self.log_digest.clear();
        }
        self
    }
}

/// Result of a SQL step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StepClaim {
    /// `00000` or the error's SQLSTATE; empty when the connection was lost.
    pub sqlstate: String,
    /// Rows returned or changed.
    pub rows: u64,
}

/// C-10: one scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScenarioFacts {
    /// The runner's claim.
    pub claim: ScenarioClaim,
    /// Content of the copy's own log between the markers.
    pub window: LogWindow,
    /// Privileges that its login lacked right after it, with the objects that it must be denied on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub access: Vec<Access>,
    /// Effects on the copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effects: Option<ScenarioEffects>,
}

/// Content of the copy's catalog about a login and an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Access {
    /// The object, as the spec names it.
    pub object: String,
    /// The kind of what has that name: `relation`, `schema`, `role`, …
    pub kind: String,
    /// The privileges on it that the login does not have, `OWNER` when it is not its owner, and
    /// `ROW SECURITY` when policies hide rows from it.
    pub missing: Vec<String>,
}

/// The part of the copy's log that belongs to one scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogWindow {
    /// Both markers were found, in order.
    pub enclosed: bool,
    /// Byte in the log file behind the closing marker: where the next window begins.
    pub end_offset: u64,
    /// Sessions that the scenario's login began.
    pub sessions: u64,
    /// Statements that it ran.
    pub statements: u64,
    /// Errors of the scenario's login, grouped.
    pub errors: Vec<LoggedError>,
    /// Errors of all others, crashes, and statements of other declared logins.
    pub foreign: Vec<LoggedError>,
    /// Lines that are no entry, and entries that are missing from a session: what happened there is
    /// unknown.
    #[serde(skip_serializing_if = "is_zero")]
    pub unreadable: u64,
    /// Errors that are not in these lists, because there are too many different ones or their lines
    /// are too long.
    #[serde(skip_serializing_if = "is_zero")]
    pub overflow: u64,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if takes a reference"
)]
pub(super) fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_carries_no_words() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let step = |sqlstate: &str| StepClaim {
            sqlstate: sqlstate.into(),
            rows: 3,
        };
        let honest = ScenarioClaim {
            name: "S1".into(),
            exit_code: Some(0),
            log_digest: digest.clone(),
            steps: vec![step("00000"), step("42501"), step("")],
            ..ScenarioClaim::default()
        };
        assert_eq!(honest.clone().wordless("S1"), honest);
        let forged = ScenarioClaim {
            name: "row data".into(),
            log_digest: "row data".into(),
            steps: vec![step("row data"), step("ab de")],
            problem: Some("row data".into()),
            ..honest
        };
        let told = serde_json::to_string(&forged.wordless("S1")).unwrap();
        assert!(
            !told.contains("data") && !told.contains("ab de") && told.contains("S1"),
            "{told}"
        );
    }
}
