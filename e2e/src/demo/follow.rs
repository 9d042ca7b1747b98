//! Formatting of a run's progress, as with `kubectl get --watch`.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use dryrun_core::{api::DryRunStatus, conditions, gate};

/// Turns states of a run into lines, one for each changed gate and each started command.
pub(super) struct Board {
    started: Instant,
    step: Option<String>,
    gates: BTreeMap<&'static str, String>,
}

impl Board {
    /// An empty board; its clock starts here.
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            step: None,
            gates: BTreeMap::new(),
        }
    }

    /// Time since the board was created.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Lines for the changes in this state.
    pub(super) fn update(&mut self, status: &DryRunStatus) -> Vec<String> {
        let mut news = Vec::new();
        for gate in gate::ALL {
            let Some(condition) = conditions::find(&status.conditions, gate.name) else {
                continue;
            };
            if condition.status != "Unknown" && self.gates.get(gate.id) != Some(&condition.status) {
                self.gates.insert(gate.id, condition.status.clone());
                let mark = if condition.status == "True" {
                    "✓"
                } else {
                    "✗"
                };
                news.push(format!(
                    "{mark} {} {:<22} {}",
                    gate.id, gate.name, condition.message
                ));
            }
        }
        if status.step != self.step {
            self.step.clone_from(&status.step);
            news.extend(status.step.as_ref().map(|step| format!("· {step}")));
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn state(step: &str, gates: &[(&str, &str)]) -> DryRunStatus {
        let mut status = DryRunStatus {
            step: Some(step.into()),
            ..DryRunStatus::default()
        };
        for (gate, value) in gates {
            let desired = conditions::DesiredCondition {
                type_: gate,
                status: value,
                reason: "Reason",
                message: "message",
            };
            conditions::upsert(&mut status.conditions, &desired, 1, Timestamp::UNIX_EPOCH);
        }
        status
    }

    #[test]
    fn each_gate_change_is_printed_once() {
        let mut board = Board::new();
        assert_eq!(
            board.update(&state(
                "C-01",
                &[("DiskHeadroom", "Unknown"), ("NamesFree", "Unknown")]
            )),
            ["· C-01"]
        );
        let passed = state(
            "C-03",
            &[("DiskHeadroom", "Unknown"), ("NamesFree", "True")],
        );
        assert_eq!(
            board.update(&passed),
            ["✓ G-02 NamesFree              message", "· C-03"]
        );
        assert!(board.update(&passed).is_empty());
        assert_eq!(
            board.update(&state(
                "C-03",
                &[("DiskHeadroom", "False"), ("NamesFree", "True")]
            )),
            ["✗ G-01 DiskHeadroom           message"]
        );
    }
}
