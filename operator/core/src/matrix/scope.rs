//! Which rows the matrix speaks of.

use std::collections::BTreeSet;

use super::Compiled;
use super::class::RowClass;
use super::name;
use super::row::{PUBLIC, gives};
use crate::api::PrivilegeScope;
use crate::facts::PrivilegeRow;

/// What a row is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The declared rows.
    Matrix,
    /// The baseline: what the spec has no words for must stay as it was restored.
    Baseline,
    /// Nothing: it is counted and hashed.
    Rest,
    /// Nothing: it belongs to the run itself.
    Own,
}

/// The roles that decide where a row belongs.
#[derive(Clone, Debug)]
pub(super) struct Scope<'a> {
    kind: PrivilegeScope,
    declared: &'a BTreeSet<String>,
    /// The declared roles and all that they can reach by SET or INHERIT.
    reach: BTreeSet<&'a str>,
    own: &'a BTreeSet<String>,
}

impl<'a> Scope<'a> {
    /// The scope of a matrix. What declared roles can reach is read from the memberships in `found`; `own` are the roles of the run.
    pub(super) fn new(matrix: &'a Compiled, found: &'a BTreeSet<PrivilegeRow>, own: &'a BTreeSet<String>) -> Self {
        let memberships: Vec<(&str, &str)> = found
            .iter()
            .filter(|row| RowClass::parse(&row.class) == RowClass::Membership && reaches(row))
            .map(|row| (row.grantee.as_str(), row.object.as_str()))
            .collect();
        let mut reach: BTreeSet<&str> = matrix.roles.iter().map(String::as_str).collect();
        loop {
            let further: Vec<&str> =
                memberships.iter().filter(|(member, group)| reach.contains(member) && !reach.contains(group)).map(|(_, group)| *group).collect();
            if further.is_empty() {
                return Self { kind: matrix.scope, declared: &matrix.roles, reach, own };
            }
            reach.extend(further);
        }
    }

    /// Where a row belongs.
    ///
    /// The matrix has words for what is granted to a role and what it owns. Everything of PUBLIC, row-level security, SECURITY DEFINER, the options
    /// of views, and what was taken from initial privileges is compared with the baseline, whosever it is.
    pub(super) fn place(&self, row: &PrivilegeRow) -> Place {
        let class = RowClass::parse(&row.class);
        match class {
            RowClass::Definition => Place::Baseline,
            RowClass::Owner if self.speaks_of(&row.grantee) => Place::Matrix,
            RowClass::Owner => Place::Baseline,
            RowClass::DefaultAcl => self.default_acl(row),
            RowClass::Object(_) | RowClass::Column | RowClass::Attribute | RowClass::Membership | RowClass::Setting | RowClass::UserMapping => {
                if self.own.contains(&row.grantee) {
                    Place::Own
                } else if row.grantee == PUBLIC {
                    // Settings of all roles, unlike grants to PUBLIC, cannot be declared.
                    let declarable = gives(row) && matches!(class, RowClass::Object(_) | RowClass::Column);
                    if self.kind == PrivilegeScope::Database && declarable { Place::Matrix } else { Place::Baseline }
                } else if !self.is_in_scope(&row.grantee) {
                    // Who else may act as a declared role is not for the copy to change.
                    if class == RowClass::Membership && self.declared.contains(&row.object) { Place::Baseline } else { Place::Rest }
                } else if gives(row) {
                    Place::Matrix
                } else {
                    Place::Baseline
                }
            }
        }
    }

    /// Default privileges belong to whom they are given, and with their owner to the baseline.
    fn default_acl(&self, row: &PrivilegeRow) -> Place {
        let owner = name::default_acl(&row.object).map(|(owner, ..)| owner).unwrap_or_default();
        if self.own.contains(&owner) || self.own.contains(&row.grantee) {
            Place::Own
        } else if row.grantee != PUBLIC && self.is_in_scope(&row.grantee) {
            Place::Matrix
        } else if self.is_in_scope(&owner) || row.grantee == PUBLIC {
            Place::Baseline
        } else {
            Place::Rest
        }
    }

    /// Whether all that a role has must be declared.
    fn is_in_scope(&self, role: &str) -> bool {
        match self.kind {
            PrivilegeScope::DeclaredRoles => self.reach.contains(role),
            PrivilegeScope::Database => true,
        }
    }

    /// Whether what a role owns must be declared. The run's own roles and Postgres' own have what the restore made theirs.
    fn speaks_of(&self, role: &str) -> bool {
        self.is_in_scope(role) && !self.own.contains(role) && !role.starts_with("pg_")
    }
}

/// Whether a membership lets its member use or take on the role.
fn reaches(row: &PrivilegeRow) -> bool {
    row.privilege.contains("INHERIT=true") || row.privilege.contains("SET=true")
}
