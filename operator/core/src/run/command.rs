//! The commands of a run, in order.

use serde::{Deserialize, Serialize};

/// A command of the run; the names are those of the command review that the product generalises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Command {
    /// C-01: names free, volumes possible, protected workloads recorded.
    #[serde(rename = "C-01")]
    Preflight,
    /// C-02: the run's credentials.
    #[serde(rename = "C-02")]
    Secrets,
    /// C-03: production is identified and dumped, read-only.
    #[serde(rename = "C-03")]
    Dump,
    /// C-04: the copy's pod, behind deny-all.
    #[serde(rename = "C-04")]
    Isolate,
    /// C-05: the dump is restored.
    #[serde(rename = "C-05")]
    Restore,
    /// C-06: the matrix is applied and read back.
    #[serde(rename = "C-06")]
    Roles,
    /// C-07: the copy is not production.
    #[serde(rename = "C-07")]
    Identity,
    /// C-08: the harness pod.
    #[serde(rename = "C-08")]
    Harness,
    /// C-09: its inputs are verified inside it.
    #[serde(rename = "C-09")]
    Stage,
    /// C-10: the scenarios.
    #[serde(rename = "C-10")]
    Scenarios,
    /// C-11: what they changed, and what they did not.
    #[serde(rename = "C-11")]
    Verify,
    /// C-12: what is kept.
    #[serde(rename = "C-12")]
    Evidence,
    /// C-13: nothing is left.
    #[serde(rename = "C-13")]
    Teardown,
}

impl Command {
    /// All commands in order.
    pub const ALL: [Self; 13] = [
        Self::Preflight,
        Self::Secrets,
        Self::Dump,
        Self::Isolate,
        Self::Restore,
        Self::Roles,
        Self::Identity,
        Self::Harness,
        Self::Stage,
        Self::Scenarios,
        Self::Verify,
        Self::Evidence,
        Self::Teardown,
    ];

    /// `C-01` … `C-13`.
    pub fn id(self) -> &'static str {
        match self {
            Self::Preflight => "C-01",
            Self::Secrets => "C-02",
            Self::Dump => "C-03",
            Self::Isolate => "C-04",
            Self::Restore => "C-05",
            Self::Roles => "C-06",
            Self::Identity => "C-07",
            Self::Harness => "C-08",
            Self::Stage => "C-09",
            Self::Scenarios => "C-10",
            Self::Verify => "C-11",
            Self::Evidence => "C-12",
            Self::Teardown => "C-13",
        }
    }
}
