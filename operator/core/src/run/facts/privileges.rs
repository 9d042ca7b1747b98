//! C-06: the frozen matrix, and what was found of it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::SetSummary;

/// One row of the privilege catalog: class, object, grantee, privilege, grant option, sign.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PrivilegeRow {
    /// Class of the object: table, column, role_attr, membership, …
    pub class: String,
    /// The object.
    pub object: String,
    /// The grantee, `public` for PUBLIC.
    pub grantee: String,
    /// The privilege or the attribute with its value.
    pub privilege: String,
    /// WITH GRANT OPTION, or ADMIN.
    pub grantable: bool,
    /// `+` there, `-` taken away from a built-in's initial privileges.
    pub sign: String,
}

/// The matrix compared with what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MatrixDifference {
    /// Declared rows.
    pub declared: u64,
    /// Found rows in scope.
    pub found: u64,
    /// Declared and not found, grouped.
    pub missing: Vec<RowGroup>,
    /// Found and not declared, grouped.
    pub unexpected: Vec<RowGroup>,
    /// Declarations that cannot hold: patterns that match nothing or the wrong number, unknown
    /// objects, expired waivers.
    pub errors: Vec<String>,
    /// Summary of all rows outside the scope: counted and hashed.
    pub rest: SetSummary,
    /// Paths by which declared roles could get more than these rows say.
    pub escalations: EscalationFacts,
}

/// Paths by which declared roles could get more than their rows say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EscalationFacts {
    /// Paths that declared roles have, those that are open to PUBLIC included.
    pub found: u64,
    /// Number of paths that no entry allows.
    pub unexpected: u64,
    /// Number of routines that PUBLIC may EXECUTE, declared or not, by class: function, procedure.
    pub executable_by_public: BTreeMap<String, u64>,
    /// At most three of those, as `role: why: what`.
    pub examples: Vec<String>,
    /// Entries of the allow-list that match no path, or another number than they must; at most 64
    /// stand there.
    pub vain: Vec<String>,
}

/// Rows of one class, grantee and privilege.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RowGroup {
    /// Class of the objects.
    pub class: String,
    /// The grantee.
    pub grantee: String,
    /// The privilege.
    pub privilege: String,
    /// Number of rows.
    pub rows: u64,
    /// At most three objects.
    pub examples: Vec<String>,
}

/// C-06.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RolesFacts {
    /// Production's grants to the declared roles, compared with the matrix, before they were
    /// revoked.
    pub production: MatrixDifference,
    /// The matrix read back after it was applied.
    pub applied: MatrixDifference,
    /// Statements that were run.
    pub statements: u64,
    /// Undeclared roles whose rights beside grants on objects are not as in production; at most 20
    /// stand here.
    pub differing: Vec<String>,
    /// Number of differences.
    pub differing_count: u64,
    /// Milliseconds of reading back and comparing.
    pub milliseconds: u64,
    /// Production's settings of roles and databases that were taken away, since they decide what
    /// the copy logs; at most 20 stand here.
    pub log_settings_reset: Vec<String>,
}
