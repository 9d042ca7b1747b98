//! How many privilege rows a matrix declares: what can be known of them before there is a copy.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::api::{Grant, Privileges};
use crate::postgres::matrix::{self, Literal, PUBLIC};
use crate::run::facts::SetSummary;

/// The privilege rows that a matrix declares: one per privilege, grantee and object or column.
///
/// A pattern counts by its `expectRows`, which the copy must then confirm. Attributes, memberships and settings are not counted: the spec has
/// each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeclaredRows {
    /// All rows.
    pub total: u64,
    /// The rows of each declared role, and of `public` if everybody is granted something.
    pub grantees: BTreeMap<String, u64>,
    /// The list of rows that `matrixRef` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matrix: Option<SetSummary>,
}

impl DeclaredRows {
    pub(super) fn of(privileges: &Privileges, literal: Option<&Literal>) -> Self {
        let mut grantees: BTreeMap<String, u64> = privileges
            .roles
            .keys()
            .map(|role| (role.clone(), 0))
            .collect();
        match literal {
            Some(literal) => {
                for row in literal.rows() {
                    if row.grantee == PUBLIC || privileges.roles.contains_key(&row.grantee) {
                        *grantees.entry(row.grantee.clone()).or_default() += 1;
                    }
                }
                let summary = matrix::summary(literal.rows());
                Self {
                    total: summary.rows,
                    grantees,
                    matrix: Some(summary),
                }
            }
            None => {
                let mut known = BTreeSet::new();
                for grant in matrix::declared_grants(privileges) {
                    let rows = match grant.expect_rows {
                        Some(rows) => u64::from(rows),
                        None => count_new(&mut known, &grant),
                    };
                    *grantees.entry(grant.to).or_default() += rows;
                }
                Self {
                    total: grantees.values().sum(),
                    grantees,
                    matrix: None,
                }
            }
        }
    }
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
        DeclaredRows::of(&serde_saphyr::from_str(yaml).unwrap(), None)
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
        let rows = DeclaredRows::of(&privileges, Some(&Literal::read(list.as_bytes()).unwrap()));
        assert_eq!(rows.grantees, [("a".to_owned(), 2)].into());
        assert_eq!(rows.total, 3);
        assert_eq!(rows.matrix.unwrap().rows, 3);
    }
}
