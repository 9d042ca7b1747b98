//! Number of privilege rows that a matrix declares: what can be known of them before there is a
//! copy.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

use crate::api::{Grant, Privileges};
use crate::digest::prefixed;
use crate::postgres::matrix::{self, InvalidLiteral, MAX_ROWS, PUBLIC};
use crate::problem::Problem;
use crate::run::facts::SetSummary;

/// The privilege rows that a matrix declares: one per privilege, grantee and object or column.
///
/// A pattern counts by its `expectRows`, which the copy must then confirm. Attributes, memberships
/// and settings are not counted: the spec has each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeclaredRows {
    /// All rows.
    pub total: u64,
    /// The rows of each declared role, and of `public` if PUBLIC is granted something.
    pub grantees: BTreeMap<String, u64>,
    /// The list of rows that `matrixRef` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matrix: Option<SetSummary>,
}

impl DeclaredRows {
    /// Counts the rows that grants and profiles give.
    ///
    /// # Errors
    /// They are more than a matrix may have.
    pub fn granted(privileges: &Privileges) -> Result<Self, Problem> {
        let mut grantees = none(privileges);
        let (mut known, mut total) = (BTreeSet::new(), 0_u64);
        for grant in matrix::declared_grants(privileges) {
            // Before they are counted: a few kilobytes of profiles can give millions.
            let most = grant.expect_rows.map_or_else(|| size(&grant), u64::from);
            if total.saturating_add(most) > MAX_ROWS {
                let message = format!(
                    "privileges gives more than {MAX_ROWS} rows, with {} on {}: leave out roles, profiles or patterns",
                    grant.to, grant.object
                );
                return Err(Problem::permanent("MatrixTooLarge", message));
            }
            let rows = match grant.expect_rows {
                Some(rows) => u64::from(rows),
                None => count_new(&mut known, &grant),
            };
            total += rows;
            *grantees.entry(grant.to).or_default() += rows;
        }
        Ok(Self {
            total,
            grantees,
            matrix: None,
        })
    }

    /// Counts the rows of a list that `matrixRef` names, without holding them.
    ///
    /// # Errors
    /// It is no list.
    pub fn listed(privileges: &Privileges, list: &[u8]) -> Result<Self, InvalidLiteral> {
        let mut grantees = none(privileges);
        let (mut digest, mut rows) = (Sha256::new(), 0);
        matrix::scan(list, |line, row| {
            rows += 1;
            digest.update(line);
            digest.update("\n");
            if row.grantee == PUBLIC || privileges.roles.contains_key(&row.grantee) {
                *grantees.entry(row.grantee).or_default() += 1;
            }
        })?;
        let digest = prefixed(&digest.finalize());
        Ok(Self {
            total: rows,
            grantees,
            matrix: Some(SetSummary { rows, digest }),
        })
    }
}

fn none(privileges: &Privileges) -> BTreeMap<String, u64> {
    let roles = privileges.roles.keys();
    roles.map(|role| (role.clone(), 0)).collect()
}

/// The rows that a grant on one object gives, as it is written.
fn size(grant: &Grant) -> u64 {
    let columns: usize = grant.columns.values().map(Vec::len).sum();
    (grant.privileges.len() + columns) as u64
}

/// Rows of one object that no earlier grant has given: a role may have the same by two profiles.
fn count_new(known: &mut BTreeSet<[String; 4]>, grant: &Grant) -> u64 {
    let whole = grant
        .privileges
        .iter()
        .map(|privilege| (privilege.as_sql(), ""));
    let columns = grant.columns.iter().flat_map(|(privilege, names)| {
        names.iter().map(|name| (privilege.as_sql(), name.as_str()))
    });
    let new = whole.chain(columns).filter(|(privilege, column)| {
        let row = [grant.to.as_str(), &grant.object, privilege, column];
        known.insert(row.map(str::to_owned))
    });
    new.count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(yaml: &str) -> DeclaredRows {
        DeclaredRows::granted(&serde_saphyr::from_str(yaml).unwrap()).unwrap()
    }

    #[test]
    fn privileges_columns_and_patterns_are_counted_once_each() {
        let rows = of("
roles: {a: {profiles: [reader, auditor]}, b: {profiles: [reader]}, c: {}}
profiles:
  way_in: {grants: [{object: 'schema:iu', privileges: [USAGE]}]}
  reader: {includes: [way_in], grants: [{object: 'view:iu.*', privileges: [SELECT], expectRows: 13}]}
  auditor: {includes: [way_in]}
grants:
  - {to: a, object: 'table:iu.unit', privileges: [SELECT, INSERT], columns: {UPDATE: [state, note]}}
  - {to: a, object: 'schema:iu', privileges: [USAGE]}
  - {to: public, object: 'database:d', privileges: [CONNECT]}
");
        let expected = [("a", 18), ("b", 14), ("c", 0), ("public", 1)];
        assert_eq!(
            rows.grantees,
            expected.map(|(role, rows)| (role.to_owned(), rows)).into()
        );
        assert_eq!((rows.total, rows.matrix), (33, None));
    }

    #[test]
    fn a_list_of_rows_is_counted_by_its_lines() {
        let list = "schema\tiu\ta\tUSAGE\tfalse\t+\nschema\tiu\tother\tUSAGE\tfalse\t+\ntable\tiu.unit\ta\tSELECT\tfalse\t+\n";
        let privileges = serde_saphyr::from_str("{roles: {a: {}}}").unwrap();
        let rows = DeclaredRows::listed(&privileges, list.as_bytes()).unwrap();
        assert_eq!(rows.grantees, [("a".to_owned(), 2)].into());
        assert_eq!(rows.total, 3);
        assert_eq!(rows.matrix.unwrap().rows, 3);
    }

    #[test]
    fn the_rows_of_a_list_are_digested_as_they_stand_there() {
        let list = "schema\tiu\ta\tUSAGE\tfalse\t+\nschema\tiu\tother\tUSAGE\tfalse\t+\n";
        let privileges = serde_saphyr::from_str("{roles: {a: {}}}").unwrap();
        let listed = DeclaredRows::listed(&privileges, list.as_bytes()).unwrap();
        let rows: Vec<_> = list.lines().filter_map(matrix::parse).collect();
        assert_eq!(listed.matrix.unwrap(), matrix::summary(&rows));
    }

    /// 64 roles with the columns of one profile: 200 KiB of YAML for three million rows.
    #[test]
    fn profiles_that_multiply_are_refused() {
        let names = |count: usize, prefix: &str| -> Vec<String> {
            (0..count).map(|n| format!("{prefix}{n}")).collect()
        };
        let columns = names(256, "c");
        let grants: Vec<_> = names(200, "t")
            .into_iter()
            .map(|table| serde_json::json!({"object": format!("table:s.{table}"), "columns": {"SELECT": columns}}))
            .collect();
        let roles: BTreeMap<String, _> = names(64, "r")
            .into_iter()
            .map(|role| (role, serde_json::json!({"profiles": ["all"]})))
            .collect();
        let bomb = serde_json::json!({"roles": roles, "profiles": {"all": {"grants": grants}}});
        let problem = DeclaredRows::granted(&serde_json::from_value(bomb).unwrap()).unwrap_err();
        assert_eq!(problem.reason, "MatrixTooLarge");
        assert!(
            problem.message.contains("more than 200000 rows"),
            "{problem}"
        );
    }

    #[test]
    fn patterns_that_multiply_are_refused() {
        let wide = "{roles: {a: {}}, grants: [{to: a, object: 'table:*.*', privileges: [SELECT], expectRows: 200001}]}";
        let problem = DeclaredRows::granted(&serde_saphyr::from_str(wide).unwrap()).unwrap_err();
        assert_eq!(problem.reason, "MatrixTooLarge");
    }
}
