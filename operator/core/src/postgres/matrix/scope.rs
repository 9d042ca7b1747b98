//! Scope of the matrix: the rows that it must declare.

use std::collections::BTreeSet;

use super::Compiled;
use super::class::{MEMBERSHIP, RowClass};
use super::name;
use super::row::{PUBLIC, gives};
use crate::api::PrivilegeScope;
use crate::run::facts::PrivilegeRow;

/// Rows that a row is compared with.
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
    /// The declared roles and all roles that they can reach by SET or INHERIT.
    reach: BTreeSet<&'a str>,
    own: &'a BTreeSet<String>,
}

impl<'a> Scope<'a> {
    /// The scope of a matrix. What declared roles can reach is read from the memberships in
    /// `found`; `own` are the roles of the run.
    pub(super) fn new(
        matrix: &'a Compiled,
        found: &'a BTreeSet<PrivilegeRow>,
        own: &'a BTreeSet<String>,
    ) -> Self {
        let memberships: Vec<(&str, &str)> = found
            .iter()
            .filter(|row| row.class == MEMBERSHIP && reaches(row))
            .map(|row| (row.grantee.as_str(), row.object.as_str()))
            .collect();
        let mut reach: BTreeSet<&str> = matrix.roles.iter().map(String::as_str).collect();
        loop {
            let further: Vec<&str> = memberships
                .iter()
                .filter(|(member, group)| reach.contains(member) && !reach.contains(group))
                .map(|(_, group)| *group)
                .collect();
            if further.is_empty() {
                return Self {
                    kind: matrix.scope,
                    declared: &matrix.roles,
                    reach,
                    own,
                };
            }
            reach.extend(further);
        }
    }

    /// Returns the place of a row.
    ///
    /// The matrix has words for what is granted to a role and what it owns. Everything of PUBLIC,
    /// row-level security, SECURITY DEFINER, the options of views, and what was taken from initial
    /// privileges is compared with the baseline, whosever it is.
    pub(super) fn place(&self, row: &PrivilegeRow) -> Place {
        let class = RowClass::parse(&row.class);
        match class {
            RowClass::Definition => Place::Baseline,
            RowClass::Owner if self.speaks_of(&row.grantee) => Place::Matrix,
            RowClass::Owner => Place::Baseline,
            RowClass::DefaultAcl => self.default_acl(row),
            RowClass::Object(_)
            | RowClass::Column
            | RowClass::Attribute
            | RowClass::Membership
            | RowClass::Setting
            | RowClass::UserMapping => {
                if self.own.contains(&row.grantee) {
                    Place::Own
                } else if row.grantee == PUBLIC {
                    // Settings of all roles, unlike grants to PUBLIC, cannot be declared.
                    let declarable =
                        gives(row) && matches!(class, RowClass::Object(_) | RowClass::Column);
                    if self.kind == PrivilegeScope::Database && declarable {
                        Place::Matrix
                    } else {
                        Place::Baseline
                    }
                } else if !self.is_in_scope(&row.grantee) {
                    // Who else may act as a declared role is not for the copy to change.
                    if class == RowClass::Membership && self.declared.contains(&row.object) {
                        Place::Baseline
                    } else {
                        Place::Rest
                    }
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
        let owner = name::default_acl(&row.object)
            .map(|(owner, ..)| owner)
            .unwrap_or_default();
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

    /// Returns true if every privilege of a role must be declared.
    fn is_in_scope(&self, role: &str) -> bool {
        match self.kind {
            PrivilegeScope::DeclaredRoles => self.reach.contains(role),
            PrivilegeScope::Database => true,
        }
    }

    /// Returns true if the objects that a role owns must be declared. The run's own roles and
    /// Postgres' own have what the restore made theirs.
    fn speaks_of(&self, role: &str) -> bool {
        self.is_in_scope(role) && !self.own.contains(role) && !role.starts_with("pg_")
    }
}

/// Returns true if a membership lets its member use or take on the role.
fn reaches(row: &PrivilegeRow) -> bool {
    row.privilege.contains("INHERIT=true") || row.privilege.contains("SET=true")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::matrix::row::granted;

    fn place(kind: PrivilegeScope, class: &str, object: &str, grantee: &str, sign: &str) -> Place {
        let member = |group: &str, member: &str, inherit: bool, set: bool| {
            granted(
                "membership",
                group,
                member,
                &format!("MEMBER INHERIT={inherit} SET={set}"),
                true,
            )
        };
        // a may become group and through it deep; admin tells only that a could grant itself the
        // role.
        let found = [
            member("group", "a", false, true),
            member("deep", "group", true, false),
            member("admin", "a", false, false),
            member("a", "boss", true, true),
        ]
        .into();
        let matrix = Compiled {
            roles: ["a".to_owned()].into(),
            scope: kind,
            ..Compiled::default()
        };
        let own = ["dryrun_1".to_owned()].into();
        Scope::new(&matrix, &found, &own).place(&PrivilegeRow {
            sign: sign.into(),
            ..granted(class, object, grantee, "x", false)
        })
    }

    #[test]
    fn what_declared_roles_have_or_can_reach_is_judged_by_the_matrix() {
        for (class, object, grantee, sign, expected) in [
            ("table", "iu.unit", "a", "+", Place::Matrix),
            ("column", "iu.unit.state", "group", "+", Place::Matrix),
            ("schema", "iu", "deep", "+", Place::Matrix),
            ("role_attr", "deep", "deep", "+", Place::Matrix),
            ("membership", "admin", "a", "+", Place::Matrix),
            ("setting", "db:x", "a", "+", Place::Matrix),
            ("default_acl", "other/iu/TABLES", "a", "+", Place::Matrix),
            ("user_mapping", "far", "a", "+", Place::Matrix),
            ("owner_table", "iu.unit", "a", "+", Place::Matrix),
            ("membership", "dryrun_1", "a", "+", Place::Matrix),
            // What the matrix has no words for.
            ("table", "iu.unit", "public", "+", Place::Baseline),
            ("function", "f()", "public", "-", Place::Baseline),
            ("table", "iu.unit", "a", "-", Place::Baseline),
            ("setting", "cluster", "public", "+", Place::Baseline),
            ("default_acl", "a/*/TYPES", "public", "+", Place::Baseline),
            ("default_acl", "a/*/TABLES", "other", "+", Place::Baseline),
            ("membership", "a", "boss", "+", Place::Baseline),
            ("owner_table", "iu.unit", "other", "+", Place::Baseline),
            (
                "owner_schema",
                "pg_catalog",
                "dryrun_1",
                "+",
                Place::Baseline,
            ),
            ("rls", "iu.unit", "public", "+", Place::Baseline),
            ("policy", "iu.unit.p", "a", "+", Place::Baseline),
            ("secdef", "f()", "dryrun_1", "+", Place::Baseline),
            ("view_option", "iu.v", "public", "+", Place::Baseline),
            // Others.
            ("table", "iu.unit", "admin", "+", Place::Rest),
            ("table", "iu.unit", "other", "-", Place::Rest),
            ("role_attr", "boss", "boss", "+", Place::Rest),
            ("default_acl", "other/*/TABLES", "boss", "+", Place::Rest),
            ("role_attr", "dryrun_1", "dryrun_1", "+", Place::Own),
            ("default_acl", "dryrun_1/*/TYPES", "public", "+", Place::Own),
        ] {
            assert_eq!(
                place(PrivilegeScope::DeclaredRoles, class, object, grantee, sign),
                expected,
                "{class} {object} {grantee} {sign}"
            );
        }
    }

    #[test]
    fn the_whole_database() {
        for (class, object, grantee, sign, expected) in [
            ("table", "iu.unit", "other", "+", Place::Matrix),
            ("table", "iu.unit", "public", "+", Place::Matrix),
            ("role_attr", "boss", "boss", "+", Place::Matrix),
            ("owner_table", "iu.unit", "other", "+", Place::Matrix),
            (
                "owner_schema",
                "public",
                "pg_database_owner",
                "+",
                Place::Baseline,
            ),
            (
                "owner_schema",
                "pg_catalog",
                "dryrun_1",
                "+",
                Place::Baseline,
            ),
            ("table", "iu.unit", "other", "-", Place::Baseline),
            ("setting", "cluster", "public", "+", Place::Baseline),
            ("policy", "iu.unit.p", "other", "+", Place::Baseline),
            (
                "default_acl",
                "other/*/TYPES",
                "public",
                "+",
                Place::Baseline,
            ),
            ("role_attr", "dryrun_1", "dryrun_1", "+", Place::Own),
        ] {
            assert_eq!(
                place(PrivilegeScope::Database, class, object, grantee, sign),
                expected,
                "{class} {object} {grantee} {sign}"
            );
        }
    }
}
