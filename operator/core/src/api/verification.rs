//! What must have changed in the copy after the scenarios, and nothing else.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::effects::{Figure, RowChange, SequenceChange};

/// The verification battery after the scenarios.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Verification {
    /// Tables, schema-qualified, whose presence and row counts are shown in the report.
    #[schemars(length(max = 256), inner(length(max = 320)))]
    pub tables: Vec<String>,
    /// How rows of tables must have changed. In any other table nothing may have changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub row_changes: Vec<RowChange>,
    /// Short form of `rowChanges` for tables in which rows are only inserted, or only deleted.
    #[schemars(length(max = 256))]
    pub row_deltas: Vec<RowDelta>,
    /// How far sequences must have moved. Not to be named: one that a column owns, if it took no more steps than rows were inserted into its table by the same scenario.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub sequence_changes: Vec<SequenceChange>,
    /// Large objects that were created, written, given other rights or removed: a number, a range such as `2..5` or `2..`, or `any`.
    #[serde(skip_serializing_if = "Figure::is_none")]
    pub large_objects: Figure,
    /// Changes of the catalog and of privileges that the scenarios make. Any other fails.
    pub catalog_changes: CatalogChanges,
    /// Keep the SQL trace of the scenarios in the evidence.
    pub trace: bool,
}

impl Verification {
    /// Returns all declared changes of rows, those in the short form too.
    pub fn all_row_changes(&self) -> impl Iterator<Item = RowChange> + '_ {
        let short = self.row_deltas.iter().map(RowDelta::as_row_change);
        self.row_changes.iter().cloned().chain(short)
    }
}

/// The declared movement of one table's row count: `delta` rows inserted, or deleted if it is
/// negative, and no other change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RowDelta {
    /// The table, schema-qualified.
    #[schemars(length(min = 3, max = 320))]
    pub table: String,
    /// Rows inserted; a negative number of rows deleted.
    #[schemars(range(min = -9007199254740991_i64, max = 9007199254740991_i64))]
    pub delta: i64,
}

impl RowDelta {
    fn as_row_change(&self) -> RowChange {
        let count = self.delta.unsigned_abs();
        let (inserted, deleted) = if self.delta < 0 {
            (0, count)
        } else {
            (count, 0)
        };
        RowChange {
            table: self.table.clone(),
            expect_tables: None,
            inserted: Figure::exactly(inserted),
            updated: Figure::default(),
            deleted: Figure::exactly(deleted),
            truncated: Figure::default(),
            rewritten: Figure::default(),
        }
    }
}

/// Changes of the catalog and of privileges that the scenarios make: listed, or pinned as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = kube::core::Rule::new("[has(self.objects) && self.objects.size() > 0, has(self.sha256), has(self.record) && self.record].filter(given, given).size() <= 1")
    .message("catalogChanges is either objects, or sha256, or record: true"))]
pub struct CatalogChanges {
    /// The objects that change, or patterns of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10000))]
    pub objects: Vec<CatalogChange>,
    /// sha256 of `catalog.diff`, which an earlier run has in its evidence, in lower-case hex: exactly these changes, definitions included, must be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 64, max = 64), regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,
    /// Accept all changes and keep them as `catalog.diff`, to be read and pinned: G-16 and G-18 are Unknown then, the run Inconclusive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub record: bool,
}

/// Declared changes: of one object, or of all that a pattern matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = kube::core::Rule::new("!(self.kind.contains('*') || self.identity.contains('*')) || has(self.expectObjects)")
    .message("a pattern needs expectObjects, the number of changed objects that it must match"))]
pub struct CatalogChange {
    /// Kind of the object as `catalog.diff` and the report name it: relation, default, view, index, constraint, trigger, policy, routine, type,
    /// sequence, …, or `privilege` for ownership and grants. `*` stands for any text.
    #[schemars(length(min = 1, max = 40))]
    pub kind: String,
    /// Its identity, schema-qualified; of a privilege `OWNER on table:public.new to app`. `*` stands for any text.
    #[schemars(length(min = 1, max = 512))]
    pub identity: String,
    /// The number of changed objects that a pattern must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub expect_objects: Option<u32>,
}
