//! Statements that bring rows about.

use std::collections::{BTreeMap, BTreeSet};

use super::Compiled;
use super::class::RowClass;
use super::expected::MEMBERSHIP_OPTIONS;
use super::row::PUBLIC;
use super::statement::{Statement, bundles, setting, words};
use crate::postgres::sql::{identifier, literal, statements};
use crate::run::facts::PrivilegeRow;

/// Parameters that are lists of names: `SET … TO` would take a quoted value as one name, so the
/// text is handed over as it is.
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// Makes roles without login and password.
pub fn create(roles: &BTreeSet<String>) -> Vec<Statement> {
    roles
        .iter()
        .map(|role| statements::CREATE_ROLE.fill([&identifier(role)]).into())
        .collect()
}

/// Gives undeclared roles what they have in production (see [`super::undeclared`]); memberships
/// have options of their own from 16 on.
///
/// A setting of all roles is left and reported as a difference: it would be one of the operator's
/// own sessions.
pub fn give(rights: &BTreeSet<PrivilegeRow>, server_version_num: u32) -> Vec<Statement> {
    let of_roles = rights
        .iter()
        .filter(|row| row.grantee != PUBLIC || RowClass::parse(&row.class) != RowClass::Setting);
    bring_about(of_roles, server_version_num >= MEMBERSHIP_OPTIONS)
}

/// Brings the declared rows about: attributes, memberships, grants, settings, and LOGIN last.
/// Ownership is left as it is.
///
/// The roles must exist. The statements belong into one transaction of a superuser with
/// `session_replication_role = replica`, so that no event trigger of production's interferes. A
/// declared setting of `search_path` is that transaction's own from there to its end.
pub fn apply(matrix: &Compiled) -> Vec<Statement> {
    bring_about(matrix.brought_about(), matrix.membership_options)
}

fn bring_about<'a>(
    rows: impl Iterator<Item = &'a PrivilegeRow>,
    membership_options: bool,
) -> Vec<Statement> {
    let mut attributes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let (mut memberships, mut grants, mut settings, mut logins) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        match RowClass::parse(&row.class) {
            RowClass::Attribute if row.privilege == "LOGIN=true" => {
                logins.push(statements::ALTER_ROLE.fill([&identifier(&row.grantee), "LOGIN"]));
            }
            RowClass::Attribute => attributes
                .entry(&row.grantee)
                .or_default()
                .extend(attribute(&row.privilege)),
            RowClass::Membership => memberships.push(membership(row, membership_options)),
            RowClass::Object(_) | RowClass::Column => grants.push(row),
            RowClass::Setting => settings.extend(set(row)),
            RowClass::DefaultAcl
            | RowClass::Owner
            | RowClass::UserMapping
            | RowClass::Definition => {}
        }
    }
    let attributes = attributes
        .into_iter()
        .map(|(role, words)| statements::ALTER_ROLE.fill([&identifier(role), &words.join(" ")]));
    let grants = bundles(grants).into_iter().map(|bundle| {
        let template = if bundle.grantable {
            statements::GRANT_WITH_OPTION
        } else {
            statements::GRANT
        };
        template.fill([
            &bundle.privileges,
            bundle.kind,
            &bundle.objects,
            &bundle.grantee,
        ])
    });
    attributes
        .chain(memberships)
        .chain(grants)
        .chain(settings)
        .chain(logins)
        .map(Statement::from)
        .collect()
}

/// The words of ALTER ROLE for an attribute `NAME=value`.
fn attribute(text: &str) -> Option<String> {
    let (name, value) = text.split_once('=')?;
    let name = words(name)?;
    match value {
        "true" => Some(name.to_owned()),
        "false" => Some(format!("NO{name}")),
        "never" => Some(format!("{name} {}", literal("infinity"))),
        number => number
            .parse::<i32>()
            .ok()
            .map(|number| format!("{name} {number}")),
    }
}

/// Before 16 a membership has no options but ADMIN.
fn membership(row: &PrivilegeRow, has_options: bool) -> String {
    let (role, member) = (identifier(&row.object), identifier(&row.grantee));
    if has_options {
        let option = |name: &str| row.privilege.contains(name).to_string();
        return statements::GRANT_ROLE_WITH_OPTIONS.fill([
            &role,
            &member,
            &row.grantable.to_string(),
            &option("INHERIT=true"),
            &option(" SET=true"),
        ]);
    }
    let template = if row.grantable {
        statements::GRANT_ROLE_WITH_ADMIN
    } else {
        statements::GRANT_ROLE
    };
    template.fill([&role, &member])
}

fn set(row: &PrivilegeRow) -> Vec<String> {
    let role = identifier(&row.grantee);
    match setting(&row.privilege) {
        Some((parameter, name, value)) if LISTS.contains(&name) => vec![
            statements::SET_CONFIG.fill([&literal(name), &literal(value)]),
            statements::SET_PARAMETER_FROM_CURRENT.fill([&role, &parameter]),
        ],
        Some((parameter, _, value)) => {
            vec![statements::SET_PARAMETER.fill([&role, &parameter, &literal(value)])]
        }
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::matrix::compile;
    use crate::postgres::matrix::inventory::tests::inventory;
    use crate::postgres::matrix::row::granted;

    fn texts(statements: &[Statement]) -> Vec<&str> {
        statements.iter().map(Statement::as_str).collect()
    }

    #[test]
    fn roles_are_made_without_anything() {
        let statements = create(&["b".to_owned(), "a\"; x".to_owned()].into());
        assert_eq!(
            texts(&statements),
            [
                "CREATE ROLE \"a\"\"; x\" NOLOGIN",
                "CREATE ROLE \"b\" NOLOGIN"
            ]
        );
    }

    #[test]
    fn undeclared_roles_are_given_what_they_have() {
        let rights = [
            granted("role_attr", "boss", "boss", "SUPERUSER=true", false),
            granted("role_attr", "boss", "boss", "INHERIT=false", false),
            granted(
                "membership",
                "g",
                "boss",
                "MEMBER INHERIT=false SET=true",
                true,
            ),
            granted("setting", "cluster", "boss", "role=g", false),
            granted("setting", "cluster", "public", "role=g", false),
            granted("parameter", "work_mem", "public", "SET", false),
        ]
        .into();
        let attributes = "ALTER ROLE \"boss\" NOINHERIT SUPERUSER";
        let rest = [
            "GRANT SET ON PARAMETER \"work_mem\" TO public",
            "ALTER ROLE \"boss\" SET \"role\" TO 'g'",
        ];
        let membership = "GRANT \"g\" TO \"boss\" WITH ADMIN true, INHERIT false, SET true";
        assert_eq!(
            texts(&give(&rights, 160_000)),
            [attributes, membership, rest[0], rest[1]]
        );
        let membership = "GRANT \"g\" TO \"boss\" WITH ADMIN OPTION";
        assert_eq!(
            texts(&give(&rights, 150_000)),
            [attributes, membership, rest[0], rest[1]]
        );
    }

    #[test]
    fn a_matrix_in_its_order() {
        let objects = [
            "schema:iu",
            "table:iu.unit",
            "table:iu.source",
            "view:iu.v_unit",
            "column:iu.unit.state",
            "column:iu.unit.note",
            "parameter:search_path",
            "parameter:work_mem",
        ];
        let yaml = "
roles:
  exec: {login: true, connectionLimit: 2, memberOf: [{role: ro, set: false}], settings: {search_path: 'iu, \"$user\"', work_mem: 4MB}}
  ro: {}
grants:
- {to: exec, object: 'table:iu.unit', privileges: [SELECT, INSERT], columns: {UPDATE: [state, note]}}
- {to: exec, object: 'table:iu.source', privileges: [SELECT, INSERT]}
- {to: ro, object: 'view:iu.*', privileges: [SELECT], expectRows: 1}
- {to: ro, object: 'schema:iu', privileges: [USAGE], grantable: true}
- {to: public, object: 'table:iu.source', privileges: [SELECT]}
";
        let matrix = compile(
            &serde_saphyr::from_str(yaml).unwrap(),
            None,
            &inventory(160_000, &objects),
            jiff::civil::date(2026, 11, 23),
        )
        .unwrap();
        let text: Vec<String> = apply(&matrix).iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(text.join("\n"), @r#"
        ALTER ROLE "exec" NOBYPASSRLS CONNECTION LIMIT 2 NOCREATEDB NOCREATEROLE INHERIT NOREPLICATION NOSUPERUSER VALID UNTIL 'infinity'
        ALTER ROLE "ro" NOBYPASSRLS CONNECTION LIMIT -1 NOCREATEDB NOCREATEROLE INHERIT NOLOGIN NOREPLICATION NOSUPERUSER VALID UNTIL 'infinity'
        GRANT "ro" TO "exec" WITH ADMIN false, INHERIT true, SET false
        GRANT USAGE ON SCHEMA "iu" TO "ro" WITH GRANT OPTION
        GRANT INSERT, SELECT ON TABLE "iu"."source" TO "exec"
        GRANT INSERT, SELECT, UPDATE ("note", "state") ON TABLE "iu"."unit" TO "exec"
        GRANT SELECT ON TABLE "iu"."source" TO public
        GRANT SELECT ON TABLE "iu"."v_unit" TO "ro"
        SELECT pg_catalog.set_config('search_path', 'iu, "$user"', true)
        ALTER ROLE "exec" SET "search_path" FROM CURRENT
        ALTER ROLE "exec" SET "work_mem" TO '4MB'
        ALTER ROLE "exec" LOGIN
        "#);
    }
}
