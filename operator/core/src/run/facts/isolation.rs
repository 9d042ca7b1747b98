//! C-04 to C-11: what pods of the run tried to reach, and what came of it.

use serde::{Deserialize, Serialize};

use crate::isolation::target::{Tally, Target};
use crate::problem::Problem;
use crate::run::object::RunPod;

/// A target as one pod found it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// The probing pod.
    pub from: RunPod,
    /// Target of the attempts.
    #[serde(flatten)]
    pub target: Target,
    /// Result of the attempts.
    #[serde(flatten)]
    pub tally: Tally,
}

/// Probes between two rounds of positive controls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Phase {
    /// Node that all of them ran on, except the listener.
    pub node: String,
    /// Node of the listener, where it is another one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub other_node: String,
    /// Positive controls right before the probes.
    pub controls_before: Vec<Probe>,
    /// The probes: none of them may connect.
    pub probes: Vec<Probe>,
    /// Positive controls right after the probes.
    pub controls_after: Vec<Probe>,
    /// Milliseconds of all of it.
    pub milliseconds: u64,
}

/// All probes of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IsolationFacts {
    /// C-04: before any container with data or secrets of the copy's pod began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Phase>,
    /// C-08: from the harness, before any scenario.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub harness: Option<Phase>,
    /// C-08 to C-11: from the copy and the harness, while setup and scenarios ran.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub during: Vec<Probe>,
    /// Reason why there was no watch while they ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch_error: Option<Problem>,
    /// C-11: once more, after the scenarios.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Phase>,
}

impl IsolationFacts {
    /// Nothing was probed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// All probes that none may have connected in.
    pub fn probes(&self) -> impl Iterator<Item = &Probe> {
        let phases = [&self.before, &self.harness, &self.after];
        let probed = phases.into_iter().flatten().flat_map(|phase| &phase.probes);
        probed.chain(&self.during)
    }
}
