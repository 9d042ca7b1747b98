//! Profiles: named lists of grants that roles have in common.

use std::collections::BTreeSet;

use super::expected::Compiler;
use crate::api::{Grant, Privileges};

impl Compiler<'_> {
    /// Expands the profiles of every role, each profile once however often it is included.
    pub(super) fn profiles(&mut self) {
        let privileges = self.privileges;
        let mut used = BTreeSet::new();
        for (role, spec) in &privileges.roles {
            let names = closure(privileges, &spec.profiles);
            for name in &names {
                match privileges.profiles.get(*name) {
                    Some(profile) => {
                        for (index, grant) in profile.grants.iter().enumerate() {
                            self.grant(
                                &format!("profiles.{name}.grants[{index}]"),
                                &grant.to(role),
                            );
                        }
                    }
                    None => self
                        .errors
                        .push(format!("roles.{role}.profiles: there is no profile {name}")),
                }
            }
            used.extend(names);
        }
        for (name, profile) in &privileges.profiles {
            if closure(privileges, &profile.includes).contains(name.as_str()) {
                self.errors
                    .push(format!("profiles.{name} comes to include itself"));
            }
            if !used.contains(name.as_str()) {
                self.errors
                    .push(format!("profiles.{name} is a profile of no role"));
            }
        }
    }
}

/// Every grant that is declared: the spec's own, and those that roles have by their profiles.
pub fn declared_grants(privileges: &Privileges) -> impl Iterator<Item = Grant> {
    let of_profiles = privileges.roles.iter().flat_map(|(role, spec)| {
        closure(privileges, &spec.profiles)
            .into_iter()
            .filter_map(|name| privileges.profiles.get(name))
            .flat_map(|profile| profile.grants.iter().map(|grant| grant.to(role)))
    });
    privileges.grants.iter().cloned().chain(of_profiles)
}

/// The named profiles and their contents. It ends also where profiles include each other.
fn closure<'a>(privileges: &'a Privileges, names: &'a [String]) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&str> = names.iter().map(String::as_str).collect();
    while let Some(name) = next.pop() {
        if found.insert(name) {
            let includes = privileges.profiles.get(name).map(|p| p.includes.as_slice());
            next.extend(includes.unwrap_or_default().iter().map(String::as_str));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::postgres::matrix::compile;
    use crate::postgres::matrix::inventory::Inventory;
    use crate::postgres::matrix::inventory::tests::inventory;
    use crate::postgres::matrix::row::line;

    fn lines(yaml: &str) -> Vec<String> {
        let objects = [
            "schema:iu",
            "table:iu.unit",
            "table:iu.log",
            "view:iu.v1",
            "view:iu.v2",
            "column:iu.unit.state",
        ];
        let privileges = serde_saphyr::from_str(yaml).unwrap();
        let today = jiff::civil::date(2026, 11, 23);
        match compile(&privileges, None, &inventory(160_000, &objects), today) {
            Ok(matrix) => matrix
                .rows
                .iter()
                .map(line)
                .filter(|line| !line.starts_with("role_attr"))
                .collect(),
            Err(errors) => errors,
        }
    }

    #[test]
    fn a_role_has_the_rows_of_its_profiles_and_its_own() {
        let yaml = "
roles: {a: {profiles: [writer]}, b: {profiles: [reader, auditor]}}
profiles:
  way_in: {grants: [{object: 'schema:iu', privileges: [USAGE]}]}
  reader: {includes: [way_in], grants: [{object: 'view:iu.*', privileges: [SELECT], except: ['view:iu.v2'], expectRows: 1}]}
  auditor: {includes: [way_in], grants: [{object: 'table:iu.log', privileges: [SELECT]}]}
  writer: {includes: [reader], grants: [{object: 'table:iu.unit', privileges: [INSERT], columns: {UPDATE: [state]}, grantable: true}]}
grants: [{to: a, object: 'table:iu.log', privileges: [INSERT]}]
";
        insta::assert_snapshot!(lines(yaml).join("\n").replace('\t', " "), @r"
        column iu.unit.state a UPDATE true +
        schema iu a USAGE false +
        schema iu b USAGE false +
        table iu.log a INSERT false +
        table iu.log b SELECT false +
        table iu.unit a INSERT true +
        view iu.v1 a SELECT false +
        view iu.v1 b SELECT false +
        ");
    }

    #[test]
    fn what_cannot_hold_is_said_of_the_profile() {
        let with = |profiles: &str| {
            lines(&format!(
                "{{roles: {{a: {{profiles: [p]}}}}, profiles: {profiles}}}"
            ))
        };
        assert_eq!(
            with("{p: {grants: [{object: 'view:iu.*', privileges: [SELECT], expectRows: 3}]}}"),
            ["profiles.p.grants[0] (to a on view:iu.*): it gives 2 rows, expectRows is 3"]
        );
        assert_eq!(
            with("{p: {grants: [{object: 'table:ui.*', privileges: [SELECT], expectRows: 3}]}}"),
            ["profiles.p.grants[0] (to a on table:ui.*): no table matches"]
        );
        assert_eq!(
            with("{p: {includes: [q]}, q: {includes: [p]}}"),
            [
                "profiles.p comes to include itself",
                "profiles.q comes to include itself"
            ]
        );
        assert_eq!(
            with("{p: {includes: [q]}}"),
            ["roles.a.profiles: there is no profile q"]
        );
        assert_eq!(
            with("{p: {}, q: {}}"),
            ["profiles.q is a profile of no role"]
        );
        assert_eq!(
            lines(
                "{roles: {a: {profiles: [p]}}, profiles: {p: {grants: [{object: 'table:iu.log', privileges: [SELECT]}]}}, \
                 grants: [{to: a, object: 'table:iu.log', privileges: [SELECT], grantable: true}]}"
            ),
            ["SELECT on table:iu.log is declared for a both with and without the grant option"]
        );
    }

    #[test]
    fn columns_of_profiles_are_asked_for() {
        let privileges = serde_saphyr::from_str(
            "{roles: {a: {profiles: [p]}}, profiles: {p: {grants: [{object: 'table:iu.unit', columns: {UPDATE: [state]}}]}}}",
        )
        .unwrap();
        assert_eq!(Inventory::columns_wanted(&privileges, None), ["state"]);
    }
}
