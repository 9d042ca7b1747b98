//! Rights of undeclared roles: the copy has them as production does, for what they own acts with
//! them.

use std::collections::BTreeSet;

use super::class::RowClass;
use super::row::PUBLIC;
use crate::run::facts::PrivilegeRow;

/// The rows of `role_rights.sql` that are not for the matrix to decide: those of these roles,
/// unless they are declared, and of PUBLIC.
pub fn undeclared(
    rights: impl IntoIterator<Item = PrivilegeRow>,
    roles: &BTreeSet<String>,
    declared: &BTreeSet<String>,
) -> BTreeSet<PrivilegeRow> {
    let is_kept = |row: &PrivilegeRow| {
        row.grantee == PUBLIC || roles.contains(&row.grantee) && !declared.contains(&row.grantee)
    };
    rights.into_iter().filter(is_kept).collect()
}

/// Names what is not as in production, as `role: right`.
pub fn differing(
    production: &BTreeSet<PrivilegeRow>,
    copy: &BTreeSet<PrivilegeRow>,
) -> Vec<String> {
    let named = |row: &PrivilegeRow, how: &str| {
        let what = match RowClass::parse(&row.class) {
            RowClass::Attribute | RowClass::Setting => row.privilege.clone(),
            RowClass::Object(_)
            | RowClass::Column
            | RowClass::Membership
            | RowClass::DefaultAcl
            | RowClass::Owner
            | RowClass::UserMapping
            | RowClass::Definition => format!("{} {} {}", row.privilege, row.class, row.object),
        };
        let option = if row.grantable { ", grantable" } else { "" };
        format!("{}: {what}{option} {how}", row.grantee)
    };
    let lacking = production
        .difference(copy)
        .map(|row| named(row, "is missing"));
    let further = copy
        .difference(production)
        .map(|row| named(row, "is not in production"));
    lacking.chain(further).collect()
}
