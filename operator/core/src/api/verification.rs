//! What must have changed in the copy after the scenarios, and nothing else.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The verification battery after the scenarios.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Verification {
    /// Tables, schema-qualified, whose presence and row counts are shown in the report.
    #[schemars(length(max = 256), inner(length(max = 320)))]
    pub tables: Vec<String>,
    /// How row counts must have moved. A table that is not named must not have moved.
    #[schemars(length(max = 256))]
    pub row_deltas: Vec<RowDelta>,
    /// Catalog objects that the scenarios change. Any other change fails.
    #[schemars(length(max = 256))]
    pub catalog_changes: Vec<CatalogChange>,
    /// Keep the SQL trace of the scenarios in the evidence.
    pub trace: bool,
}

/// The declared movement of one table's row count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RowDelta {
    /// The table, schema-qualified.
    #[schemars(length(min = 3, max = 320))]
    pub table: String,
    /// Rows after the scenarios less rows before.
    #[schemars(range(min = -9007199254740991_i64, max = 9007199254740991_i64))]
    pub delta: i64,
}

/// A declared change of one catalog object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CatalogChange {
    /// Kind of the object as the catalog inventory names it: relation, view, index, constraint, trigger, policy, routine, type, sequence, …
    #[schemars(length(min = 1, max = 40))]
    pub kind: String,
    /// Its identity, schema-qualified.
    #[schemars(length(min = 1, max = 320))]
    pub identity: String,
}
