//! The ledger of what scenarios did to the copy.
//!
//! **Rows** are counted in the server's write-ahead log, by logical decoding: every committed
//! insert, update, delete and TRUNCATE of a logged table, also one that is undone later or writes
//! what was there. A login cannot keep a change out of that log: neither triggers,
//! `session_replication_role` and statistics nor any setting of a session have a part in it, and
//! `wal_level` needs a restart that no login can cause. The replication slot belongs to the
//! operator. A role with REPLICATION, which the matrix must declare, could read from it or drop it;
//! then the slot is not where the operator left it, and the ledger says `disturbed`.
//!
//! **What the log does not tell** is compared. A whole table that is written anew (ALTER TABLE,
//! REFRESH, a table dropped and made again, SET UNLOGGED and back) has another file. Sequences and
//! large objects are read as they are. At the end every table is counted once more, with the row
//! versions whose `xmin` is of a transaction of the scenarios: there can be no more of them than in
//! the log, and the rows must add up. So a table that lent its name to another one for a
//! transaction, like any other object that the log names wrongly, is listed as unexplained.
//! Versions are not counted in tables whose owner's functions a query of a superuser would run (see
//! `counts.sql`); for these any change of their entry in `pg_class` counts as rewritten.
//!
//! All is read at a barrier: the login's sessions have ended, and what is left of its work are
//! prepared transactions, which are counted too.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use super::matrix::{ObjectClass, ObjectName, Selector};
use crate::api::Verification;
use crate::run::facts::{CopyEffects, RowEffects, ScenarioEffects, SetDifference};

/// Maximum number of tables and sequences without an entry in the facts.
const OTHERS: usize = 20;
/// Maximum number of unexplained tables that are named.
const EXAMPLES: usize = 3;

/// The copy at a barrier, and what was done between the barrier before and this one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Position of the slot, as the server reports it; empty when there was none.
    pub from: String,
    /// Up to where the log was read.
    pub upto: String,
    /// The first transaction ID that was not given out yet.
    pub next_xid: String,
    /// Changes of rows since the barrier before.
    pub rows: BTreeMap<String, RowEffects>,
    /// Lines of the decoded log that could not be read.
    pub unreadable: u64,
    /// Tables and materialized views, with their files.
    pub relations: BTreeMap<String, Relation>,
    /// Sequences.
    pub sequences: BTreeMap<String, Sequence>,
    /// Large objects.
    pub large_objects: u64,
    /// Prepared transactions. With one of them, which may lock anything, only rows are read.
    pub prepared: u64,
}

/// A table or materialized view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relation {
    /// OID and file.
    pub file: String,
    /// Version of its entry in the catalog, with that of its schema.
    pub entry: String,
    /// Its changes are not in the write-ahead log.
    pub unlogged: bool,
}

/// A sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// The value that it has.
    pub value: i64,
    /// True if that value was given out.
    pub called: bool,
    /// The first value.
    pub start: i64,
    /// The step from a value to the next one.
    pub increment: i64,
    /// Values that a session takes at a time.
    pub cache: i64,
    /// Tables and leaf partitions of the column that owns it.
    pub tables: Vec<String>,
}

impl Sequence {
    /// The last value given out.
    fn position(&self) -> i128 {
        let value = i128::from(self.value);
        if self.called {
            value
        } else {
            value - i128::from(self.increment)
        }
    }

    /// Steps since `before`; nothing when it was set back or beside its steps.
    fn steps(&self, before: Option<&Self>) -> Option<u64> {
        let increment = i128::from(self.increment);
        let first = i128::from(self.start) - increment;
        let moved = self.position() - before.map_or(first, Self::position);
        if increment == 0 || moved % increment != 0 {
            return None;
        }
        u64::try_from(moved / increment).ok()
    }
}

/// The tables and sequences that the spec has entries for.
#[derive(Debug)]
pub struct Declared {
    tables: Selectors,
    sequences: Selectors,
}

/// Entries of one kind: the text in the spec, and what it selects.
#[derive(Debug)]
struct Selectors(ObjectClass, Vec<(String, Selector)>);

impl Selectors {
    fn of(class: ObjectClass, texts: impl Iterator<Item = String>) -> Self {
        let parse = |text: String| {
            let selector = Selector::parse(&format!("{}:{text}", class.as_str()));
            // What is no name selects nothing, so that its numbers do not come true.
            Some((text, selector.ok()?))
        };
        Self(class, texts.filter_map(parse).collect())
    }

    /// Returns the entry that covers an object: the one with its name, else the first pattern.
    fn entry(&self, name: &str) -> Option<&str> {
        let name = ObjectName::parse(self.0, name)?;
        let mut covering = self
            .1
            .iter()
            .filter(|(_, selector)| selector.selects(&name));
        let first = covering
            .clone()
            .find(|(_, selector)| !selector.is_pattern());
        first.or(covering.next()).map(|(text, _)| &**text)
    }

    /// Counts the objects that each pattern matches.
    fn matched<'a>(&self, names: impl Iterator<Item = &'a String>) -> BTreeMap<String, u64> {
        let names: BTreeSet<&String> = names.collect();
        let parsed: Vec<_> = names
            .iter()
            .filter_map(|name| ObjectName::parse(self.0, name))
            .collect();
        let patterns = self.1.iter().filter(|(_, selector)| selector.is_pattern());
        let count = |(text, selector): &(String, Selector)| {
            let selected = parsed.iter().filter(|name| selector.selects(name));
            (text.clone(), selected.count() as u64)
        };
        patterns.map(count).collect()
    }

    /// Sums up by entry, and keeps a few of the names without one. Returns how many those are.
    fn group<T: Copy>(
        &self,
        found: impl Iterator<Item = (String, T)>,
        add: impl Fn(T, T) -> T,
    ) -> (BTreeMap<String, T>, u64) {
        let (mut grouped, mut others) = (BTreeMap::<String, T>::new(), 0_u64);
        for (name, value) in found {
            let key = match self.entry(&name) {
                Some(entry) => entry.to_owned(),
                None => {
                    others += 1;
                    if others > OTHERS as u64 {
                        continue;
                    }
                    name
                }
            };
            let sum = grouped.get(&key).map_or(value, |sum| add(*sum, value));
            grouped.insert(key, sum);
        }
        (grouped, others)
    }

    fn rows(&self, found: BTreeMap<String, RowEffects>) -> (BTreeMap<String, RowEffects>, u64) {
        let changed = found.into_iter().filter(|(_, rows)| !rows.is_none());
        self.group(changed, |mut sum, more| {
            sum.add(more);
            sum
        })
    }
}

impl Declared {
    /// The entries of a spec.
    pub fn of(verification: &Verification) -> Self {
        let tables = verification.all_row_changes().map(|change| change.table);
        let sequences = verification.sequence_changes.iter();
        Self {
            tables: Selectors::of(ObjectClass::Table, tables),
            sequences: Selectors::of(
                ObjectClass::Sequence,
                sequences.map(|change| change.sequence.clone()),
            ),
        }
    }
}

impl LedgerEntry {
    /// Returns what was done since the barrier before, which wrote `before`.
    pub fn since(&self, before: &Self, declared: &Declared) -> ScenarioEffects {
        let (rows, other_tables) = declared.tables.rows(self.rows_since(before));
        let sequences = self.sequences_since(before).into_iter();
        let (sequences, other_sequences) = declared
            .sequences
            .group(sequences, |sum, more| Some(sum?.saturating_add(more?)));
        ScenarioEffects {
            rows,
            other_tables,
            sequences,
            other_sequences,
            prepared: self.prepared,
            unreadable: self.unreadable,
            disturbed: self.from != before.upto,
        }
    }

    fn rows_since(&self, before: &Self) -> BTreeMap<String, RowEffects> {
        let mut rows = self.rows.clone();
        for (name, relation) in &self.relations {
            let old = before.relations.get(name);
            if old.is_some_and(|old| old.file != relation.file) {
                let rows = rows.entry(name.clone()).or_default();
                rows.rewritten = u64::from(rows.truncated == 0);
            }
        }
        rows
    }

    /// Sequences that moved, except those that took a step for each row that was inserted.
    fn sequences_since(&self, before: &Self) -> BTreeMap<String, Option<u64>> {
        let mut moved = BTreeMap::new();
        for (name, sequence) in &self.sequences {
            let steps = sequence.steps(before.sequences.get(name));
            let inserted: u64 = sequence
                .tables
                .iter()
                .filter_map(|table| Some(self.rows.get(table)?.inserted))
                .sum();
            let explained = inserted.saturating_mul(sequence.cache.unsigned_abs().max(1));
            if steps.is_none_or(|steps| steps > explained) {
                moved.insert(name.clone(), steps);
            }
        }
        moved
    }
}

/// A table of the copy, counted after the scenarios.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Its rows.
    pub rows: u64,
    /// Those that were written since the scenarios began; absent when they could not be determined.
    pub written: Option<u64>,
}

/// Compares the tables before and after the scenarios with the ledger: the entry from before them,
/// then one for each.
pub fn settle(
    entries: &[LedgerEntry],
    before: &BTreeMap<String, u64>,
    after: &BTreeMap<String, Counted>,
    large_objects: u64,
    declared: &Declared,
) -> CopyEffects {
    let mut told: BTreeMap<String, RowEffects> = BTreeMap::new();
    for pair in entries.windows(2) {
        for (table, rows) in pair[1].rows_since(&pair[0]) {
            told.entry(table).or_default().add(rows);
        }
    }
    let (mut untold, mut unexplained) = (BTreeMap::new(), Vec::new());
    let tables: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for table in tables {
        let told = told.get(table).copied().unwrap_or_default();
        let (old, new) = (before.get(table).copied(), after.get(table).copied());
        match balance(table, entries, told, old, new) {
            Some(rows) => _ = untold.insert(table.clone(), rows),
            None => unexplained.push(table.clone()),
        }
    }
    let (rows, other_tables) = declared.tables.rows(untold);
    let relations = entries.iter().flat_map(|entry| entry.relations.keys());
    let names = relations.chain(before.keys()).chain(after.keys());
    let sequences = entries.iter().flat_map(|entry| entry.sequences.keys());
    CopyEffects {
        rows,
        other_tables,
        unexplained: SetDifference {
            rows: unexplained.len() as u64,
            examples: unexplained.into_iter().take(EXAMPLES).collect(),
        },
        large_objects,
        matched_tables: declared.tables.matched(names),
        matched_sequences: declared.sequences.matched(sequences),
    }
}

/// Returns the changes of a table that are not in the ledger, none in most cases; nothing when its
/// rows do not add up.
fn balance(
    table: &str,
    entries: &[LedgerEntry],
    told: RowEffects,
    before: Option<u64>,
    after: Option<Counted>,
) -> Option<RowEffects> {
    let none = RowEffects::default();
    let expected = before.unwrap_or_default() + told.inserted;
    let replaced = told.truncated > 0 || told.rewritten > 0;
    // How many rows TRUNCATE removed is not known.
    if after.is_none() && told.truncated > 0 {
        return Some(none);
    }
    let (Some(rows_before), Some(counted)) = (before, after) else {
        // It has got or lost its name.
        let found = after.map_or(0, |counted| counted.rows) + told.deleted;
        return match (found.checked_sub(expected), after) {
            (Some(inserted), Some(_)) => Some(RowEffects { inserted, ..none }),
            (None, None) => Some(RowEffects {
                deleted: expected - found,
                ..none
            }),
            (Some(0), None) => Some(none),
            (Some(_), None) | (None, Some(_)) => replaced.then_some(none),
        };
    };
    let first = entries.first().and_then(|entry| entry.relations.get(table));
    let last = entries.last().and_then(|entry| entry.relations.get(table));
    if last.is_some_and(|relation| relation.unlogged) {
        let inserted = match counted.written {
            Some(written) => written,
            None => counted.rows.saturating_sub(rows_before),
        };
        let kept = counted.rows.saturating_sub(inserted);
        return Some(RowEffects {
            inserted,
            deleted: rows_before.saturating_sub(kept),
            ..none
        });
    }
    if !replaced && counted.rows + told.deleted != expected {
        return None;
    }
    if told.rewritten > 0 {
        return Some(none);
    }
    match counted.written {
        Some(written) => (written <= told.inserted + told.updated).then_some(none),
        None => {
            let changed = first.map(|first| &first.entry) != last.map(|last| &last.entry);
            Some(RowEffects {
                rewritten: u64::from(changed && told.truncated == 0),
                ..none
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn declared(verification: serde_json::Value) -> Declared {
        Declared::of(&serde_json::from_value(verification).unwrap())
    }

    fn inserted(inserted: u64) -> RowEffects {
        RowEffects {
            inserted,
            ..RowEffects::default()
        }
    }

    fn relation(file: &str) -> Relation {
        Relation {
            file: file.into(),
            ..Relation::default()
        }
    }

    fn entry(rows: &[(&str, RowEffects)]) -> LedgerEntry {
        let named = |(name, rows): &(&str, RowEffects)| ((*name).to_owned(), *rows);
        LedgerEntry {
            rows: rows.iter().map(named).collect(),
            ..LedgerEntry::default()
        }
    }

    fn sequence(value: i64, called: bool) -> Sequence {
        Sequence {
            value,
            called,
            start: 10,
            increment: 10,
            cache: 1,
            tables: vec!["public.t".into()],
        }
    }

    #[test]
    fn steps_are_counted_from_the_last_value_given_out() {
        let fresh = sequence(10, false);
        for (now, before, steps) in [
            (sequence(10, false), Some(&fresh), Some(0)),
            (sequence(10, true), Some(&fresh), Some(1)),
            (sequence(20, false), Some(&fresh), Some(1)),
            (sequence(40, true), Some(&sequence(20, true)), Some(2)),
            (sequence(40, true), None, Some(4)),
            (sequence(10, true), Some(&sequence(20, true)), None),
            (sequence(25, true), Some(&fresh), None),
            (sequence(i64::MIN, true), Some(&fresh), None),
        ] {
            assert_eq!(now.steps(before), steps, "{now:?} {before:?}");
        }
    }

    #[test]
    fn a_step_for_each_inserted_row_is_explained() {
        let before = LedgerEntry {
            sequences: BTreeMap::from([("public.s".into(), sequence(10, true))]),
            ..LedgerEntry::default()
        };
        let after = |value, rows| LedgerEntry {
            sequences: BTreeMap::from([("public.s".into(), sequence(value, true))]),
            ..entry(&[("public.t", inserted(rows))])
        };
        let moved = |value, rows| {
            let effects = after(value, rows).since(&before, &declared(json!({})));
            effects.sequences.get("public.s").copied()
        };
        assert_eq!(moved(30, 2), None);
        assert_eq!(moved(40, 2), Some(Some(3)));
        assert_eq!(moved(0, 2), Some(None));
    }

    #[test]
    fn the_name_wins_over_patterns_and_a_few_others_are_kept() {
        let declared = declared(json!({"rowChanges": [
            {"table": "public.e_*", "expectTables": 2},
            {"table": "public.e_1"},
            {"table": "no name at all"},
        ]}));
        let others = (0..100).map(|number| (format!("public.t{number:02}"), inserted(1)));
        let named = ["public.e_1", "public.e_2", "public.e_3"].map(|name| (name, inserted(1)));
        let mut found = entry(&named);
        found.rows.extend(others);
        let effects = found.since(&LedgerEntry::default(), &declared);
        assert_eq!(effects.rows["public.e_1"], inserted(1));
        assert_eq!(effects.rows["public.e_*"], inserted(2));
        assert_eq!(
            (effects.rows.len(), effects.other_tables),
            (OTHERS + 2, 100)
        );
    }

    #[test]
    fn another_file_is_a_rewritten_table_but_after_truncate() {
        let before = LedgerEntry {
            relations: BTreeMap::from([
                ("public.a".into(), relation("1/1")),
                ("public.b".into(), relation("2/2")),
            ]),
            ..LedgerEntry::default()
        };
        let truncated = RowEffects {
            truncated: 1,
            ..RowEffects::default()
        };
        let after = LedgerEntry {
            relations: BTreeMap::from([
                ("public.a".into(), relation("1/3")),
                ("public.b".into(), relation("2/4")),
                ("public.new".into(), relation("5/5")),
            ]),
            ..entry(&[("public.b", truncated)])
        };
        let rows = after.since(&before, &declared(json!({}))).rows;
        assert_eq!(rows.len(), 2);
        assert_eq!(
            (rows["public.a"].rewritten, rows["public.b"]),
            (1, truncated)
        );
    }

    #[test]
    fn rows_that_do_not_add_up_are_unexplained() {
        let none = declared(json!({}));
        let settled = |told: RowEffects, before: Option<u64>, after: Option<(u64, Option<u64>)>| {
            let entries = [LedgerEntry::default(), entry(&[("public.t", told)])];
            let before = before.map(|rows| ("public.t".to_owned(), rows));
            let counted = |(rows, written)| ("public.t".to_owned(), Counted { rows, written });
            let (before, after) = (before.into_iter().collect(), after.map(counted));
            let effects = settle(&entries, &before, &after.into_iter().collect(), 0, &none);
            (
                effects.unexplained.rows,
                effects.rows.get("public.t").copied(),
            )
        };
        let truncated = RowEffects {
            truncated: 1,
            ..inserted(3)
        };
        assert_eq!(settled(inserted(2), Some(5), Some((7, Some(2)))), (0, None));
        assert_eq!(settled(inserted(2), Some(5), Some((8, Some(2)))), (1, None));
        assert_eq!(settled(inserted(2), Some(5), Some((7, Some(3)))), (1, None));
        assert_eq!(settled(truncated, Some(5), Some((3, Some(3)))), (0, None));
        assert_eq!(settled(truncated, Some(5), Some((3, Some(4)))), (1, None));
        assert_eq!(settled(inserted(2), None, Some((2, Some(2)))), (0, None));
        assert_eq!(
            settled(inserted(2), None, Some((5, Some(5)))),
            (0, Some(inserted(3)))
        );
        assert_eq!(settled(inserted(2), None, Some((1, Some(1)))), (1, None));
        let gone = RowEffects {
            deleted: 7,
            ..RowEffects::default()
        };
        assert_eq!(settled(inserted(2), Some(5), None), (0, Some(gone)));
        assert_eq!(settled(truncated, Some(5), None), (0, None));
    }
}
