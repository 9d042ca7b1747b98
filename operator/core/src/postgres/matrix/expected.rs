//! From the declared matrix and the objects that there are to the exact rows that must be found.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use super::class::{ATTRIBUTE, MEMBERSHIP, SETTING};
use super::escalation::{Allowed, EscalationPath};
use super::inventory::Inventory;
use super::literal::Literal;
use super::log_settings::decides_log;
use super::row::{PUBLIC, granted};
use crate::api::{
    Escalation, MatrixMode, MembershipSpec, PrivilegeScope, Privileges, RoleSpec, Waiver,
};
use crate::run::facts::PrivilegeRow;

/// First version in which memberships have options of their own.
pub(super) const MEMBERSHIP_OPTIONS: u32 = 160_000;

/// A matrix with its patterns expanded: what [`super::apply`] brings about and [`super::compare`]
/// judges by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compiled {
    /// The declared rows. All of them must be found.
    pub rows: BTreeSet<PrivilegeRow>,
    /// Rows with the sign `-` that must be gone: privileges that PUBLIC has from the beginning,
    /// that production took away, and that are declared.
    pub(super) given_back: BTreeSet<PrivilegeRow>,
    /// Those of the rows that no statement brings about: they are checked.
    pub(super) checked: BTreeSet<PrivilegeRow>,
    /// Rows that may differ.
    pub(super) waivers: BTreeSet<PrivilegeRow>,
    /// Escalation paths that may be there.
    pub(super) escalation_allowed: BTreeSet<Allowed>,
    /// Names of the declared roles.
    pub(super) roles: BTreeSet<String>,
    pub(super) scope: PrivilegeScope,
    pub(super) mode: MatrixMode,
    pub(super) membership_options: bool,
}

/// Expands a matrix over the objects of a database; `literal` is the list of rows that the spec's
/// `matrixRef` names, if it names one. A waiver ends on its day, UTC, which the caller takes from
/// its clock.
///
/// # Errors
/// Every declaration that cannot hold, one sentence each: patterns that match nothing or the wrong
/// number, objects, columns, roles and parameters that do not exist, privileges that the class or
/// the server's version does not have, contradictions, expired waivers.
pub fn compile(
    privileges: &Privileges,
    literal: Option<&Literal>,
    inventory: &Inventory,
    today: Date,
) -> Result<Compiled, Vec<String>> {
    let mut compiler = Compiler {
        privileges,
        inventory,
        matrix: Compiled::default(),
        errors: Vec::new(),
    };
    for (name, role) in &privileges.roles {
        compiler.role(name, role);
    }
    for (index, grant) in privileges.grants.iter().enumerate() {
        compiler.grant(&format!("grants[{index}]"), grant);
    }
    compiler.profiles();
    if let Some(literal) = literal {
        compiler.literal(literal);
    }
    compiler.contradictions();
    for (index, waiver) in privileges.waivers.iter().enumerate() {
        compiler.waiver(index, waiver, today);
    }
    for (index, escalation) in privileges.escalation_allowed.iter().enumerate() {
        compiler.escalation(index, escalation);
    }
    if !compiler.errors.is_empty() {
        return Err(compiler.errors);
    }
    Ok(Compiled {
        roles: privileges.roles.keys().cloned().collect(),
        scope: privileges.scope,
        mode: privileges.mode,
        membership_options: inventory.server_version_num >= MEMBERSHIP_OPTIONS,
        ..compiler.matrix
    })
}

/// A matrix on its way.
pub(super) struct Compiler<'a> {
    pub(super) privileges: &'a Privileges,
    pub(super) inventory: &'a Inventory,
    pub(super) matrix: Compiled,
    pub(super) errors: Vec<String>,
}

impl Compiler<'_> {
    fn role(&mut self, name: &str, role: &RoleSpec) {
        let attributes = [
            ("LOGIN", role.login.to_string()),
            ("SUPERUSER", role.superuser.to_string()),
            ("INHERIT", role.inherit.to_string()),
            ("CREATEDB", role.createdb.to_string()),
            ("CREATEROLE", role.createrole.to_string()),
            ("REPLICATION", role.replication.to_string()),
            ("BYPASSRLS", role.bypassrls.to_string()),
            ("CONNECTION LIMIT", role.connection_limit.to_string()),
            ("VALID UNTIL", "never".to_owned()),
        ];
        for (attribute, value) in attributes {
            self.matrix.rows.insert(granted(
                ATTRIBUTE,
                name,
                name,
                &format!("{attribute}={value}"),
                false,
            ));
        }
        for membership in &role.member_of {
            self.membership(name, role, membership);
        }
        for (parameter, value) in &role.settings {
            if decides_log(parameter) {
                self.errors.push(format!("roles.{name}.settings: {parameter} decides what is logged, and scenarios are judged by the log; leave it out"));
            }
            match self.inventory.parameter(parameter) {
                Some(parameter) => {
                    self.matrix.rows.insert(granted(
                        SETTING,
                        "cluster",
                        name,
                        &format!("{parameter}={value}"),
                        false,
                    ));
                }
                None => self.errors.push(format!(
                    "roles.{name}.settings: there is no parameter `{parameter}`"
                )),
            }
        }
        for object in &role.owns {
            self.ownership(name, object);
        }
    }

    fn membership(&mut self, member: &str, role: &RoleSpec, membership: &MembershipSpec) {
        let group = &membership.role;
        let at = format!("roles.{member}.memberOf: {group}");
        let declared = self.privileges.roles.contains_key(group);
        if !declared && !self.inventory.roles.contains(group) {
            self.errors.push(format!("{at} does not exist"));
        } else if !declared
            && !group.starts_with("pg_")
            && self.privileges.mode != MatrixMode::AtLeast
        {
            self.errors.push(format!("{at} is not declared: what it may do would be a part of {member} that the matrix does not tell; declare it too"));
        }
        if self.inventory.server_version_num < MEMBERSHIP_OPTIONS
            && (membership.inherit != role.inherit || !membership.set)
        {
            self.errors.push(format!("{at}: before Postgres 16, `inherit` is that of the member, which is {}, and `set` is true", role.inherit));
        }
        let privilege = format!(
            "MEMBER INHERIT={} SET={}",
            membership.inherit, membership.set
        );
        self.matrix.rows.insert(granted(
            MEMBERSHIP,
            group,
            member,
            &privilege,
            membership.admin,
        ));
    }

    /// Rows that differ in the grant option alone: Postgres holds only one of the two.
    fn contradictions(&mut self) {
        let mut seen: BTreeMap<[&str; 5], bool> = BTreeMap::new();
        for row in &self.matrix.rows {
            let key = [
                &row.class,
                &row.object,
                &row.grantee,
                &row.privilege,
                &row.sign,
            ]
            .map(String::as_str);
            if seen
                .insert(key, row.grantable)
                .is_some_and(|other| other != row.grantable)
            {
                self.errors.push(format!(
                    "{} on {}:{} is declared for {} both with and without the grant option",
                    row.privilege, row.class, row.object, row.grantee
                ));
            }
        }
    }

    fn waiver(&mut self, index: usize, waiver: &Waiver, today: Date) {
        let at = format!("waivers[{index}]");
        let [class, object, grantee, privilege, grantable, sign] = waiver.row.as_slice() else {
            self.errors.push(format!(
                "{at}: a row has six fields: class, object, grantee, privilege, grant option, sign"
            ));
            return;
        };
        let grantable = match grantable.as_str() {
            "true" => true,
            "false" => false,
            other => {
                self.errors.push(format!(
                    "{at}: the grant option is `true` or `false`, not `{other}`"
                ));
                return;
            }
        };
        if !matches!(sign.as_str(), "+" | "-") {
            self.errors
                .push(format!("{at}: the sign is `+` or `-`, not `{sign}`"));
        }
        match waiver.expires.parse::<Date>() {
            Ok(expires) if expires <= today => self
                .errors
                .push(format!("{at} expired on {expires}: {}", waiver.reason)),
            Ok(_) => {}
            Err(_) => self
                .errors
                .push(format!("{at}: `{}` is no date", waiver.expires)),
        }
        self.matrix.waivers.insert(PrivilegeRow {
            sign: sign.clone(),
            ..granted(class, object, grantee, privilege, grantable)
        });
    }

    fn escalation(&mut self, index: usize, escalation: &Escalation) {
        let at = format!("escalationAllowed[{index}]");
        let Escalation {
            role, why, what, ..
        } = escalation;
        if !self.is_grantee(role) {
            self.errors
                .push(format!("{at}: {role} is not a declared role"));
        }
        let path = EscalationPath {
            role: role.clone(),
            why: why.clone(),
            what: what.clone(),
        };
        let allowed = &mut self.matrix.escalation_allowed;
        let known = allowed.iter().any(|allowed| allowed.path == path);
        allowed.insert(Allowed {
            path,
            expected: escalation.expect_paths,
        });
        if known {
            self.errors.push(format!("{at} stands there twice"));
        }
    }

    /// Returns true if a grant may name this grantee.
    pub(super) fn is_grantee(&self, role: &str) -> bool {
        role == PUBLIC || self.privileges.roles.contains_key(role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::matrix::inventory::tests::inventory;
    use crate::postgres::matrix::row::line;

    fn privileges(yaml: &str) -> Privileges {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn today() -> Date {
        jiff::civil::date(2026, 11, 23)
    }

    fn lines(yaml: &str, version: u32) -> Vec<String> {
        let inventory = inventory(
            version,
            &[
                "role:a",
                "role:pg_monitor",
                "role:other",
                "parameter:work_mem",
                "parameter:TimeZone",
            ],
        );
        match compile(&privileges(yaml), None, &inventory, today()) {
            Ok(matrix) => matrix
                .rows
                .iter()
                .map(line)
                .filter(|line| !line.starts_with("role_attr\t"))
                .collect(),
            Err(errors) => errors,
        }
    }

    #[test]
    fn attributes_that_are_not_stated_are_postgres_defaults() {
        let matrix = compile(
            &privileges("roles: {a: {login: true, connectionLimit: 2}}"),
            None,
            &inventory(150_000, &[]),
            today(),
        )
        .unwrap();
        let attributes: Vec<&str> = matrix
            .rows
            .iter()
            .map(|row| row.privilege.as_str())
            .collect();
        assert_eq!(
            attributes,
            [
                "BYPASSRLS=false",
                "CONNECTION LIMIT=2",
                "CREATEDB=false",
                "CREATEROLE=false",
                "INHERIT=true",
                "LOGIN=true",
                "REPLICATION=false",
                "SUPERUSER=false",
                "VALID UNTIL=never"
            ]
        );
    }

    #[test]
    fn memberships_and_settings() {
        let yaml = "roles: {g: {}, a: {memberOf: [{role: g, admin: true}, {role: pg_monitor}], settings: {timezone: UTC, app.x: '1'}}}";
        assert_eq!(
            lines(yaml, 150_000),
            [
                "membership\tg\ta\tMEMBER INHERIT=true SET=true\ttrue\t+",
                "membership\tpg_monitor\ta\tMEMBER INHERIT=true SET=true\tfalse\t+",
                "setting\tcluster\ta\tTimeZone=UTC\tfalse\t+",
                "setting\tcluster\ta\tapp.x=1\tfalse\t+",
            ]
        );
    }

    #[test]
    fn options_of_a_membership_need_a_server_that_has_them() {
        let yaml = "roles: {g: {}, a: {memberOf: [{role: g, inherit: false, set: false}]}}";
        assert_eq!(
            lines(yaml, 160_000),
            ["membership\tg\ta\tMEMBER INHERIT=false SET=false\tfalse\t+"]
        );
        assert_eq!(
            lines(yaml, 150_018),
            [
                "roles.a.memberOf: g: before Postgres 16, `inherit` is that of the member, which is true, and `set` is true"
            ]
        );
        assert_eq!(
            lines(
                "roles: {g: {}, a: {inherit: false, memberOf: [{role: g, inherit: false}]}}",
                150_018
            )
            .len(),
            1
        );
    }

    #[test]
    fn what_does_not_exist_is_an_error() {
        assert_eq!(
            lines("roles: {a: {settings: {wrok_mem: 4MB}}}", 170_000),
            ["roles.a.settings: there is no parameter `wrok_mem`"]
        );
        assert_eq!(
            lines("roles: {a: {memberOf: [{role: nobody}]}}", 170_000),
            ["roles.a.memberOf: nobody does not exist"]
        );
        let undeclared = "roles.a.memberOf: other is not declared: what it may do would be a part of a that the matrix does not tell; declare it too";
        assert_eq!(
            lines("roles: {a: {memberOf: [{role: other}]}}", 170_000),
            [undeclared]
        );
        assert_eq!(
            lines(
                "{mode: AtLeast, roles: {a: {memberOf: [{role: other}]}}}",
                170_000
            )
            .len(),
            1
        );
    }

    #[test]
    fn waivers_end_on_their_day() {
        let waiver = |expires: &str, grantable: &str, sign: &str| {
            format!(
                "{{roles: {{a: {{}}}}, waivers: [{{row: [table, iu.x, a, SELECT, '{grantable}', '{sign}'], reason: later, expires: '{expires}'}}]}}"
            )
        };
        assert_eq!(
            lines(&waiver("2026-11-24", "false", "+"), 170_000),
            Vec::<String>::new()
        );
        assert_eq!(
            lines(&waiver("2026-11-23", "false", "+"), 170_000),
            ["waivers[0] expired on 2026-11-23: later"]
        );
        assert_eq!(
            lines(&waiver("2026-13-23", "false", "+"), 170_000),
            ["waivers[0]: `2026-13-23` is no date"]
        );
        assert_eq!(
            lines(&waiver("2027-01-01", "*", "+"), 170_000),
            ["waivers[0]: the grant option is `true` or `false`, not `*`"]
        );
        assert_eq!(
            lines(&waiver("2027-01-01", "true", "!"), 170_000),
            ["waivers[0]: the sign is `+` or `-`, not `!`"]
        );
    }

    #[test]
    fn allowed_escalations_are_of_declared_roles_or_everybody() {
        let allow = |role: &str| {
            format!(
                "{{roles: {{a: {{}}}}, escalationAllowed: [{{role: {role}, why: predefined role, what: pg_monitor, reason: watches}}]}}"
            )
        };
        assert_eq!(lines(&allow("a"), 170_000), Vec::<String>::new());
        assert_eq!(lines(&allow("public"), 170_000), Vec::<String>::new());
        assert_eq!(
            lines(&allow("other"), 170_000),
            ["escalationAllowed[0]: other is not a declared role"]
        );
        let entry = "{role: a, why: attribute, what: CREATEDB, reason: x}";
        assert_eq!(
            lines(
                &format!("{{roles: {{a: {{}}}}, escalationAllowed: [{entry}, {entry}]}}"),
                170_000
            ),
            ["escalationAllowed[1] stands there twice"]
        );
    }

    #[test]
    fn what_decides_the_log_is_not_for_the_matrix() {
        for parameter in ["log_statement", "LOG_min_messages", "lc_messages"] {
            let errors = lines(
                &format!("roles: {{a: {{settings: {{{parameter}: none}}}}}}"),
                170_000,
            );
            assert!(
                errors[0].contains("decides what is logged"),
                "{parameter}: {errors:?}"
            );
        }
    }
}
