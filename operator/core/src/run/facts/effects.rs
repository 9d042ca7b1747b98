//! Effects of scenarios on the copy, in numbers.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::SetDifference;
use super::scenarios::is_zero;

/// Committed changes of a table's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RowEffects {
    /// Rows inserted.
    #[serde(skip_serializing_if = "is_zero")]
    pub inserted: u64,
    /// Rows updated.
    #[serde(skip_serializing_if = "is_zero")]
    pub updated: u64,
    /// Rows deleted.
    #[serde(skip_serializing_if = "is_zero")]
    pub deleted: u64,
    /// Number of TRUNCATEs.
    #[serde(skip_serializing_if = "is_zero")]
    pub truncated: u64,
    /// Scenarios after which it had another file, without TRUNCATE.
    #[serde(skip_serializing_if = "is_zero")]
    pub rewritten: u64,
}

impl RowEffects {
    /// Adds further changes.
    pub fn add(&mut self, other: Self) {
        for (sum, more) in [
            (&mut self.inserted, other.inserted),
            (&mut self.updated, other.updated),
            (&mut self.deleted, other.deleted),
            (&mut self.truncated, other.truncated),
            (&mut self.rewritten, other.rewritten),
        ] {
            *sum = sum.saturating_add(more);
        }
    }

    /// Returns true when nothing changed.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// Effects of one scenario, read when all its sessions had ended.
///
/// A name is that of an entry of the spec's `verification`, which may be a pattern, with the sum of
/// its matches; or of a table or sequence that no entry covers, of which at most 20 stand here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScenarioEffects {
    /// Changes of rows.
    pub rows: BTreeMap<String, RowEffects>,
    /// Tables with changes that no entry covers.
    #[serde(skip_serializing_if = "is_zero")]
    pub other_tables: u64,
    /// Steps that sequences took and inserted rows do not explain; absent for one that was set
    /// back, or beside its steps.
    pub sequences: BTreeMap<String, Option<u64>>,
    /// Sequences that moved and no entry covers.
    #[serde(skip_serializing_if = "is_zero")]
    pub other_sequences: u64,
    /// Prepared transactions that were left.
    #[serde(skip_serializing_if = "is_zero")]
    pub prepared: u64,
    /// Lines of the decoded log that could not be read.
    #[serde(skip_serializing_if = "is_zero")]
    pub unreadable: u64,
    /// The replication slot was not where the operator had left it: something else read from it.
    pub disturbed: bool,
}

/// Effects of all scenarios together that only a comparison of the whole copy shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CopyEffects {
    /// Changes of rows that are not in the write-ahead log: of unlogged tables, where an update is
    /// one deleted and one inserted, and the rows of tables that were dropped or renamed. Named as
    /// in [`ScenarioEffects`].
    pub rows: BTreeMap<String, RowEffects>,
    /// Tables among these that no entry covers.
    #[serde(skip_serializing_if = "is_zero")]
    pub other_tables: u64,
    /// Tables whose rows differ from the ledger.
    pub unexplained: SetDifference,
    /// Large objects that were created, written or removed.
    pub large_objects: u64,
    /// Tables and materialized views that each pattern of the spec matches.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub matched_tables: BTreeMap<String, u64>,
    /// Sequences that each pattern of the spec matches.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub matched_sequences: BTreeMap<String, u64>,
}
