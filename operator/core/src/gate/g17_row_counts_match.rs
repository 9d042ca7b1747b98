//! G-17 RowCountsMatch.

use super::{Evidence, Gate, Verdict, count, examples};
use crate::api::{Figure, RowChange};
use crate::commands::Command;
use crate::run::facts::{CopyEffects, RowEffects, ScenarioEffects};
use std::collections::{BTreeMap, BTreeSet};

pub(super) static GATE: Gate = Gate {
    id: "G-17",
    name: "RowCountsMatch",
    doc: "Every table of the copy had the source's exact row count after the restore, and the scenarios changed rows, sequences and large objects as declared, and nothing else.",
    command: Command::Verify,
    evidence: &["/restore", "/scenarios", "/verification"],
    needs: &["G-08"],
    reasons: &[
        (
            "CopyDiffers",
            "A table of the copy has another row count than the source had in the dump's snapshot.",
        ),
        (
            "DeltaDiffers",
            "Rows, a sequence or large objects changed in another way than verification declares.",
        ),
        (
            "UndeclaredChange",
            "The scenarios changed a table or a sequence that verification does not name.",
        ),
        (
            "Unexplained",
            "Rows of a table differ from what the copy's write-ahead log tells of it.",
        ),
        (
            "PreparedTransactionLeft",
            "A scenario left a prepared transaction, which holds its locks until it is ended.",
        ),
        (
            "LedgerDisturbed",
            "The write-ahead log could not be read whole: a login with REPLICATION used the operator's slot, or a line is of no known form.",
        ),
        (
            "TableMissing",
            "A table that verification.tables names does not exist in the copy.",
        ),
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let Some(restore) = &evidence.facts.restore else {
        return Verdict::pending();
    };
    let copy = &restore.claim.copy;
    if copy.counts_difference.rows > 0 || copy.counts.rows == 0 {
        return Verdict::fail(
            "CopyDiffers",
            format!(
                "{} differ: {}",
                count(copy.counts_difference.rows, "table"),
                examples(&copy.counts_difference.examples)
            ),
        );
    }
    let mut effects = Vec::new();
    for scenario in &evidence.facts.scenarios {
        let Some(found) = &scenario.effects else {
            return Verdict::pending();
        };
        if let Some(failure) = failure(&scenario.claim.name, found) {
            return failure;
        }
        effects.push(found);
    }
    let Some(verification) = &evidence.facts.verification else {
        return Verdict::pending();
    };
    if effects.len() < evidence.spec.harness.scenarios.len() {
        return Verdict::pending();
    }
    let missing: Vec<_> = verification
        .tables
        .iter()
        .filter(|(_, rows)| rows.is_none())
        .map(|(table, _)| table)
        .collect();
    if !missing.is_empty() {
        return Verdict::fail("TableMissing", examples(&missing));
    }
    let ledger = Ledger::of(evidence, &effects, &verification.effects);
    let undeclared = ledger.undeclared();
    if !undeclared.is_empty() {
        return Verdict::fail("UndeclaredChange", examples(&undeclared));
    }
    let unexplained = &verification.effects.unexplained;
    if unexplained.rows > 0 {
        return Verdict::fail(
            "Unexplained",
            format!(
                "{}: {}",
                count(unexplained.rows, "table"),
                examples(&unexplained.examples)
            ),
        );
    }
    let differing = ledger.differing();
    if differing.is_empty() {
        Verdict::pass(format!(
            "{} equal, {} changed as declared",
            count(copy.counts.rows, "table"),
            ledger.rows.len()
        ))
    } else {
        Verdict::fail("DeltaDiffers", examples(&differing))
    }
}

/// Returns what is wrong with a scenario alone.
fn failure(name: &str, effects: &ScenarioEffects) -> Option<Verdict> {
    if effects.disturbed || effects.unreadable > 0 {
        let lines = count(effects.unreadable, "line");
        let told = if effects.disturbed {
            format!("{name}: the operator's replication slot was used or dropped")
        } else {
            format!("{name}: {lines} of the write-ahead log could not be read")
        };
        return Some(Verdict::fail("LedgerDisturbed", told));
    }
    (effects.prepared > 0).then(|| {
        let left = count(effects.prepared, "prepared transaction");
        Verdict::fail("PreparedTransactionLeft", format!("{name} left {left}"))
    })
}

/// The sums of all scenarios, and what is declared of them.
struct Ledger<'a> {
    evidence: &'a Evidence<'a>,
    copy: &'a CopyEffects,
    rows: BTreeMap<&'a str, RowEffects>,
    sequences: BTreeMap<&'a str, Option<u64>>,
    declared: Vec<RowChange>,
}

impl<'a> Ledger<'a> {
    fn of(
        evidence: &'a Evidence<'a>,
        effects: &[&'a ScenarioEffects],
        copy: &'a CopyEffects,
    ) -> Self {
        let mut rows: BTreeMap<&str, RowEffects> = BTreeMap::new();
        let changes = effects.iter().flat_map(|effects| &effects.rows);
        for (table, changes) in changes.chain(&copy.rows) {
            rows.entry(table).or_default().add(*changes);
        }
        let mut sequences: BTreeMap<&str, Option<u64>> = BTreeMap::new();
        for (sequence, steps) in effects.iter().flat_map(|effects| &effects.sequences) {
            let sum = sequences.entry(sequence).or_insert(Some(0));
            *sum = sum
                .zip(*steps)
                .map(|(sum, steps)| sum.saturating_add(steps));
        }
        Self {
            evidence,
            copy,
            rows,
            sequences,
            declared: evidence.spec.verification.all_row_changes().collect(),
        }
    }

    /// Returns what changed and stands in no entry of the spec.
    fn undeclared(&self) -> Vec<String> {
        let tables: BTreeSet<&str> = self.declared.iter().map(|d| &*d.table).collect();
        let rows = self
            .rows
            .iter()
            .filter(|(table, _)| !tables.contains(*table));
        let rows = rows.map(|(table, rows)| format!("{table} ({})", told(*rows)));
        let sequences: BTreeSet<&str> = self.declared_sequences().map(|(name, ..)| name).collect();
        let moved = self.sequences.iter();
        let moved = moved.filter(|(sequence, _)| !sequences.contains(*sequence));
        let moved = moved.map(|(sequence, steps)| format!("{sequence} ({})", walked(*steps)));
        rows.chain(moved).collect()
    }

    /// Returns where the spec says something else.
    fn differing(&self) -> Vec<String> {
        let mut differing = Vec::new();
        for declared in &self.declared {
            let rows = self.rows.get(&*declared.table).copied().unwrap_or_default();
            for (verb, figure, found) in figures(declared, rows) {
                if !figure.admits(found) {
                    differing.push(format!("{}: {found} {verb}, not {figure}", declared.table));
                }
            }
            if let Some(expected) = declared.expect_tables {
                let found = self.copy.matched_tables.get(&declared.table);
                differing.extend(miscounted(&declared.table, found, expected, "table"));
            }
        }
        for (sequence, figure, expected) in self.declared_sequences() {
            let steps = self.sequences.get(sequence).copied().unwrap_or(Some(0));
            if !steps.map_or(figure.is_any(), |steps| figure.admits(steps)) {
                let walked = walked(steps);
                differing.push(format!("{sequence}: {walked}, not {figure}"));
            }
            if let Some(expected) = expected {
                let found = self.copy.matched_sequences.get(sequence);
                differing.extend(miscounted(sequence, found, expected, "sequence"));
            }
        }
        let (figure, found) = (
            self.evidence.spec.verification.large_objects,
            self.copy.large_objects,
        );
        if !figure.admits(found) {
            differing.push(format!("large objects: {found} changed, not {figure}"));
        }
        differing
    }

    fn declared_sequences(&self) -> impl Iterator<Item = (&'a str, Figure, Option<u32>)> {
        let declared = self.evidence.spec.verification.sequence_changes.iter();
        declared.map(|d| (&*d.sequence, d.steps, d.expect_sequences))
    }
}

fn figures(declared: &RowChange, found: RowEffects) -> [(&'static str, Figure, u64); 5] {
    [
        ("inserted", declared.inserted, found.inserted),
        ("updated", declared.updated, found.updated),
        ("deleted", declared.deleted, found.deleted),
        ("truncated", declared.truncated, found.truncated),
        ("rewritten", declared.rewritten, found.rewritten),
    ]
}

/// `3 inserted, 1 updated`.
fn told(rows: RowEffects) -> String {
    let found = [
        (rows.inserted, "inserted"),
        (rows.updated, "updated"),
        (rows.deleted, "deleted"),
        (rows.truncated, "truncated"),
        (rows.rewritten, "rewritten"),
    ];
    let found = found.iter().filter(|(number, _)| *number > 0);
    let parts: Vec<String> = found
        .map(|(number, verb)| format!("{number} {verb}"))
        .collect();
    parts.join(", ")
}

fn walked(steps: Option<u64>) -> String {
    steps.map_or_else(|| "set back".to_owned(), |steps| count(steps, "step"))
}

/// Returns the sentence for a pattern that does not match as many objects as expected.
fn miscounted(pattern: &str, found: Option<&u64>, expected: u32, noun: &str) -> Option<String> {
    let found = found.copied().unwrap_or_default();
    let matches = count(found, noun);
    (found != u64::from(expected))
        .then(|| format!("{pattern}: it matches {matches}, not {expected}"))
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::test_support::{World, Worlds};
    const UPDATED: RowEffects = RowEffects {
        inserted: 0,
        updated: 500,
        deleted: 0,
        truncated: 0,
        rewritten: 0,
    };
    let effects = |change: fn(&mut ScenarioEffects)| {
        World::with(|f| change(f.scenarios[0].effects.as_mut().unwrap()))
    };
    let copy = |change: fn(&mut CopyEffects)| {
        World::with(|f| change(&mut f.verification.as_mut().unwrap().effects))
    };
    let pattern = tests::pattern;
    let sequence = tests::sequence;
    Worlds {
        fail: vec![
            (
                "CopyDiffers",
                World::with(|f| {
                    f.restore
                        .as_mut()
                        .unwrap()
                        .claim
                        .copy
                        .counts_difference
                        .rows = 1
                }),
            ),
            (
                "CopyDiffers",
                World::with(|f| f.restore.as_mut().unwrap().claim.copy.counts.rows = 0),
            ),
            (
                "UndeclaredChange",
                effects(|e| _ = e.rows.insert("public.directus_users".into(), UPDATED)),
            ),
            (
                "UndeclaredChange",
                effects(|e| _ = e.sequences.insert("public.invoice_no".into(), None)),
            ),
            (
                "UndeclaredChange",
                copy(|e| _ = e.rows.insert("public.sessions".into(), UPDATED)),
            ),
            ("DeltaDiffers", effects(|e| e.rows.clear())),
            (
                "DeltaDiffers",
                effects(|e| e.rows.values_mut().for_each(|rows| rows.updated = 1)),
            ),
            ("DeltaDiffers", copy(|e| e.large_objects = 1)),
            ("DeltaDiffers", pattern(3, 1)),
            ("DeltaDiffers", pattern(2, 2)),
            ("DeltaDiffers", sequence(Some(6))),
            ("DeltaDiffers", sequence(None)),
            ("Unexplained", copy(|e| e.unexplained.rows = 1)),
            ("PreparedTransactionLeft", effects(|e| e.prepared = 1)),
            ("LedgerDisturbed", effects(|e| e.disturbed = true)),
            ("LedgerDisturbed", effects(|e| e.unreadable = 1)),
            (
                "TableMissing",
                World::with(|f| {
                    f.verification
                        .as_mut()
                        .unwrap()
                        .tables
                        .extend([("iu.unit".into(), None)])
                }),
            ),
        ],
        unknown: vec![
            ("Pending", World::empty()),
            ("Pending", World::with(|f| f.verification = None)),
            ("Pending", World::with(|f| f.scenarios[1].effects = None)),
            ("Pending", World::with(|f| _ = f.scenarios.pop())),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Status;
    use crate::test_support::World;
    use serde_json::json;

    /// Partitions that are declared by a pattern: two of them match, and two rows are inserted.
    pub(super) fn pattern(matching: u32, inserted: u64) -> World {
        let mut world = World::with(|f| {
            let rows = RowEffects {
                inserted,
                ..RowEffects::default()
            };
            let effects = f.scenarios[0].effects.as_mut().unwrap();
            effects.rows.insert("iu.event_*".into(), rows);
            let effects = &mut f.verification.as_mut().unwrap().effects;
            effects.matched_tables.insert("iu.event_*".into(), 2);
        });
        let declared = json!([{"table": "iu.event_*", "expectTables": matching, "inserted": 1}]);
        world.spec.verification.row_changes = serde_json::from_value(declared).unwrap();
        world
    }

    /// A sequence that is declared to take up to five steps, in two scenarios.
    pub(super) fn sequence(steps: Option<u64>) -> World {
        let mut world = World::with(|f| {
            for (scenario, steps) in f.scenarios.iter_mut().zip([Some(0), steps]) {
                let effects = scenario.effects.as_mut().unwrap();
                effects.sequences.insert("iu.unit_id_seq".into(), steps);
            }
        });
        let declared = json!([{"sequence": "iu.unit_id_seq", "steps": "0..5"}]);
        world.spec.verification.sequence_changes = serde_json::from_value(declared).unwrap();
        world
    }

    #[test]
    fn what_is_declared_passes() {
        for world in [pattern(2, 1), sequence(Some(5))] {
            let verdict = evaluate(&world.evidence());
            assert_eq!(verdict.status, Status::True, "{}", verdict.message);
        }
    }

    #[test]
    fn a_failure_names_what_changed_and_how() {
        let world = World::with(|f| {
            let effects = f.scenarios[0].effects.as_mut().unwrap();
            for table in ["public.price", "public.salary"] {
                let rows = RowEffects {
                    updated: 500,
                    truncated: 1,
                    ..RowEffects::default()
                };
                effects.rows.insert(table.into(), rows);
            }
            effects.sequences.insert("public.invoice_no".into(), None);
        });
        assert_eq!(
            evaluate(&world.evidence()).message,
            "public.price (500 updated, 1 truncated), public.salary (500 updated, 1 truncated), \
             public.invoice_no (set back)"
        );
    }

    #[test]
    fn a_prepared_transaction_fails_before_the_copy_is_compared() {
        let mut world = World::with(|f| f.verification = None);
        world.facts.scenarios.truncate(1);
        world.facts.scenarios[0].effects.as_mut().unwrap().prepared = 1;
        let verdict = evaluate(&world.evidence());
        assert_eq!(verdict.reason, "PreparedTransactionLeft");
        assert_eq!(verdict.message, "S2 left 1 prepared transaction");
    }
}
