//! The gates: each a named proof, judged from facts alone.
//!
//! A gate is one file: its definition, its evaluation, and below it the worlds that pass it, fail
//! it and leave it unknown. To add one, write the file and put it into [`ALL`]; the README's table
//! and the status are made from there.

mod changes;
mod denial;
mod g01_disk_headroom;
mod g02_names_free;
mod g03_protected_recorded;
mod g04_secrets_sealed;
mod g05_source_read_only;
mod g06_source_identified;
mod g07_postgres_isolated;
mod g08_restore_clean;
mod g09_matrix_exact;
mod g10_not_production;
mod g11_harness_confined;
mod g12_nothing_restarted;
mod g13_artifacts_verified;
mod g14_scenarios_passed;
mod g15_denials_proven;
mod g16_catalog_matches;
mod g17_row_counts_match;
mod g18_privileges_held;
mod g19_isolation_held;
mod g20_inputs_unmodified;
mod g21_production_untouched;
mod g22_logs_clean;
mod g23_evidence_clean;
mod g24_protected_unchanged;
mod g25_production_identity_held;
mod matrix;
mod probes;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::DryRunSpec;
use crate::commands::{Command, Facts};
use crate::conditions;
use crate::run::facts::Leak;
use crate::run::object::RunPod;

pub use denial::{DeniedObject, denied_objects};

/// Every gate, in order.
pub static ALL: [&Gate; 25] = [
    &g01_disk_headroom::GATE,
    &g02_names_free::GATE,
    &g03_protected_recorded::GATE,
    &g04_secrets_sealed::GATE,
    &g05_source_read_only::GATE,
    &g06_source_identified::GATE,
    &g07_postgres_isolated::GATE,
    &g08_restore_clean::GATE,
    &g09_matrix_exact::GATE,
    &g10_not_production::GATE,
    &g11_harness_confined::GATE,
    &g12_nothing_restarted::GATE,
    &g13_artifacts_verified::GATE,
    &g14_scenarios_passed::GATE,
    &g15_denials_proven::GATE,
    &g16_catalog_matches::GATE,
    &g17_row_counts_match::GATE,
    &g18_privileges_held::GATE,
    &g19_isolation_held::GATE,
    &g20_inputs_unmodified::GATE,
    &g21_production_untouched::GATE,
    &g22_logs_clean::GATE,
    &g23_evidence_clean::GATE,
    &g24_protected_unchanged::GATE,
    &g25_production_identity_held::GATE,
];

/// Reason of a gate that passed.
pub const PASSED: &str = "Passed";
/// Reason of a gate whose facts are not there yet.
pub const PENDING: &str = "Pending";
/// Reason of a gate that cannot be judged because one that it needs has failed.
pub const BLOCKED: &str = "Blocked";
/// Reason of a gate that the run ended before.
pub const NOT_REACHED: &str = "NotReached";

/// Reasons that any gate may have beside its own, and what they mean.
pub const COMMON_REASONS: [(&str, &str); 4] = [
    (PASSED, "The proof was made."),
    (PENDING, "Its step has not given its facts yet."),
    (BLOCKED, "A gate that it needs has failed."),
    (NOT_REACHED, "The run ended before its step."),
];

/// A gate's definition.
#[derive(Debug)]
pub struct Gate {
    /// `G-01` … `G-25`.
    pub id: &'static str,
    /// Type of its condition: a state, PascalCase.
    pub name: &'static str,
    /// One sentence: what is proven when it is True.
    pub doc: &'static str,
    /// The command at whose end all its facts are there. When that command stops the run, a gate
    /// without facts gives its reason. Only G-07 and G-11 stop the run when they are Unknown then;
    /// with any other the run continues.
    pub command: Command,
    /// The facts without which it cannot pass, as JSON pointers (RFC 6901) into the report's
    /// `status.facts`.
    pub evidence: &'static [&'static str],
    /// Ids of the gates without which it cannot be judged.
    pub needs: &'static [&'static str],
    /// The reasons that only this gate gives, and what they mean.
    pub reasons: &'static [(&'static str, &'static str)],
    /// The proof: pure, total, and independent of all other gates.
    pub evaluate: fn(&Evidence<'_>) -> Verdict,
    /// Worlds that pass it, fail it and leave it unknown.
    #[cfg(test)]
    pub(crate) worlds: fn() -> crate::test_support::Worlds,
}

/// Evidence that gates are judged from.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The spec.
    pub spec: &'a DryRunSpec,
    /// Facts of the run.
    pub facts: &'a Facts,
    /// UID of the DryRun.
    pub uid: &'a str,
}

/// Three-valued status of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Passed.
    True,
    /// Failed, for good.
    False,
    /// Not yet, blocked or inconclusive.
    Unknown,
}

impl Status {
    /// The status that a condition's word means.
    pub fn of(word: &str) -> Self {
        match word {
            "True" => Self::True,
            "False" => Self::False,
            _ => Self::Unknown,
        }
    }

    /// The word in a condition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A gate's verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Passed, failed, or unknown.
    pub status: Status,
    /// One CamelCase word.
    pub reason: String,
    /// Explanation of the verdict; no row data, no secrets.
    pub message: String,
}

impl Verdict {
    /// A verdict with a reason of the gate.
    pub fn new(status: Status, reason: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            reason: reason.into(),
            message: message.into(),
        }
    }

    /// True.
    pub fn pass(message: impl Into<String>) -> Self {
        Self::new(Status::True, PASSED, message)
    }

    /// False.
    pub fn fail(reason: &str, message: impl Into<String>) -> Self {
        Self::new(Status::False, reason, message)
    }

    /// Unknown.
    pub fn unknown(reason: &str, message: impl Into<String>) -> Self {
        Self::new(Status::Unknown, reason, message)
    }

    /// Unknown, because the step has not given its facts yet.
    pub fn pending() -> Self {
        Self::unknown(PENDING, "")
    }
}

/// Judges every gate, each by itself; then a gate without facts whose needs have failed is Blocked.
///
/// What was False before stays False: `previous` are the conditions of the same DryRun.
pub fn judge(evidence: &Evidence<'_>, previous: &[Condition]) -> Vec<(&'static Gate, Verdict)> {
    let mut verdicts: Vec<_> = ALL
        .iter()
        .map(|gate| {
            let verdict = match conditions::find(previous, gate.name) {
                Some(c) if c.status == Status::False.as_str() => {
                    Verdict::fail(&c.reason, c.message.clone())
                }
                _ => (gate.evaluate)(evidence),
            };
            (*gate, verdict)
        })
        .collect();
    let failed: Vec<&str> = verdicts
        .iter()
        .filter(|(_, v)| v.status == Status::False)
        .map(|(gate, _)| gate.id)
        .collect();
    for (gate, verdict) in &mut verdicts {
        if verdict.reason != PENDING {
            continue;
        }
        if let Some(need) = gate.needs.iter().find(|need| failed.contains(need)) {
            *verdict = Verdict::unknown(BLOCKED, format!("blocked by {need}"));
        }
    }
    verdicts
}

/// Returns true when all of [`RunPod::INSPECTED`] were inspected.
fn all_inspected(facts: &Facts) -> bool {
    RunPod::INSPECTED
        .iter()
        .all(|pod| facts.inspections.contains_key(pod))
}

/// Says which credential was found, in what form, and where.
fn leak(leak: &Leak) -> String {
    format!(
        "{} as {} in {}, {}",
        leak.credential,
        leak.form,
        leak.place,
        count(leak.count, "time")
    )
}

/// Joins up to three examples and says how many more there are.
fn examples<S: AsRef<str>>(items: &[S]) -> String {
    let shown: Vec<&str> = items.iter().take(3).map(AsRef::as_ref).collect();
    match items.len().saturating_sub(3) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Joins up to three examples of so many things.
fn examples_of<S: AsRef<str>>(items: &[S], total: u64) -> String {
    let shown = items.len().min(3);
    match total.saturating_sub(shown as u64) {
        0 => examples(&items[..shown]),
        more => format!("{} and {more} more", examples(&items[..shown])),
    }
}

/// `1 row`, `2 rows`.
fn count(n: u64, noun: &str) -> String {
    if n == 1 {
        format!("1 {noun}")
    } else {
        format!("{n} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::World;
    use std::collections::BTreeSet;

    fn verdict(gate: &Gate, world: &World) -> Verdict {
        (gate.evaluate)(&world.evidence())
    }

    #[test]
    fn every_gate_has_a_world_that_passes_fails_and_leaves_it_unknown() {
        for gate in ALL {
            let worlds = (gate.worlds)();
            let v = verdict(gate, &World::passing());
            assert_eq!(
                (v.status, v.reason.as_str()),
                (Status::True, PASSED),
                "{}: {}",
                gate.id,
                v.message
            );
            assert!(
                !worlds.fail.is_empty() && !worlds.unknown.is_empty(),
                "{}",
                gate.id
            );
            for (reason, world) in &worlds.fail {
                let v = verdict(gate, world);
                assert_eq!(
                    (v.status, v.reason.as_str()),
                    (Status::False, *reason),
                    "{}: {}",
                    gate.id,
                    v.message
                );
                assert!(
                    gate.reasons.iter().any(|(r, _)| r == reason),
                    "{}: {reason} is not among its reasons",
                    gate.id
                );
            }
            for (reason, world) in &worlds.unknown {
                let v = verdict(gate, world);
                assert_eq!(
                    (v.status, v.reason.as_str()),
                    (Status::Unknown, *reason),
                    "{}: {}",
                    gate.id,
                    v.message
                );
            }
        }
    }

    #[test]
    fn no_gate_passes_without_its_evidence() {
        let world = World::passing();
        let whole = serde_json::to_value(&world.facts).unwrap();
        for gate in ALL {
            assert!(!gate.evidence.is_empty(), "{}", gate.id);
            for pointer in gate.evidence {
                let (parent, key) = pointer.rsplit_once('/').unwrap();
                let mut facts = whole.clone();
                let removed = facts
                    .pointer_mut(parent)
                    .and_then(|parent| parent.as_object_mut()?.remove(key));
                assert!(removed.is_some(), "{}: there is no {pointer}", gate.id);
                let without = World {
                    facts: serde_json::from_value(facts).unwrap(),
                    ..world.clone()
                };
                let v = verdict(gate, &without);
                assert_ne!(v.status, Status::True, "{} without {pointer}", gate.id);
            }
        }
    }

    #[test]
    fn definitions_are_well_formed() {
        let names: BTreeSet<_> = ALL.iter().map(|g| g.name).collect();
        assert_eq!(names.len(), ALL.len());
        for (i, gate) in ALL.iter().enumerate() {
            assert_eq!(gate.id, format!("G-{:02}", i + 1));
            assert!(gate.doc.ends_with('.'), "{}", gate.id);
            for (reason, doc) in gate.reasons.iter().chain(&COMMON_REASONS) {
                assert!(
                    reason.chars().all(char::is_alphanumeric)
                        && reason.starts_with(char::is_uppercase),
                    "{reason}"
                );
                assert!(doc.ends_with('.'), "{reason}");
            }
            for need in gate.needs {
                assert!(
                    ALL.iter().any(|g| g.id == *need),
                    "{} needs {need}",
                    gate.id
                );
            }
        }
    }

    #[test]
    fn order_does_not_matter() {
        let world = World::passing();
        let forward: Vec<_> = ALL.iter().map(|g| verdict(g, &world)).collect();
        let mut backward: Vec<_> = ALL.iter().rev().map(|g| verdict(g, &world)).collect();
        backward.reverse();
        assert_eq!(forward, backward);
    }

    #[test]
    fn an_empty_world_passes_nothing() {
        for (gate, verdict) in judge(&World::empty().evidence(), &[]) {
            assert_eq!(verdict.status, Status::Unknown, "{}", gate.id);
        }
    }

    #[test]
    fn a_gate_never_goes_from_false_to_true() {
        let mut previous = Vec::new();
        let desired = conditions::DesiredCondition {
            type_: "RestoreClean",
            status: "False",
            reason: "RestoreErrors",
            message: "3 errors",
        };
        conditions::upsert(&mut previous, &desired, 1, jiff::Timestamp::UNIX_EPOCH);
        let world = World::passing();
        let verdicts = judge(&world.evidence(), &previous);
        let (_, verdict) = verdicts
            .iter()
            .find(|(g, _)| g.name == "RestoreClean")
            .unwrap();
        assert_eq!(
            (verdict.status, verdict.message.as_str()),
            (Status::False, "3 errors")
        );
    }

    #[test]
    fn a_gate_whose_need_failed_is_blocked() {
        let mut world = World::empty();
        world.facts.dump = World::passing().facts.dump;
        if let Some(identity) = world.facts.dump.as_mut().and_then(|d| d.identity.as_mut()) {
            identity.system_identifier = "1".into();
        }
        let verdicts = judge(&world.evidence(), &[]);
        let (_, verdict) = verdicts.iter().find(|(g, _)| g.id == "G-25").unwrap();
        assert_eq!(
            (verdict.reason.as_str(), verdict.message.as_str()),
            (BLOCKED, "blocked by G-06")
        );
    }
}
