//! Statements that take rows away.

use std::collections::BTreeSet;

use super::class::RowClass;
use super::name;
use super::row::{Reading, gives};
use super::statement::{Statement, bundles, grantee, setting, words};
use crate::postgres::sql::{identifier, statements};
use crate::run::facts::PrivilegeRow;

/// Takes away exactly what a server had granted to the declared roles: privileges, columns,
/// memberships, settings, default privileges.
///
/// Attributes need no revoking: the roles were made without any. What a declared role had granted
/// on goes with it, as Postgres keeps no privilege whose grantor has lost it. The statements belong
/// into the same transaction as those of [`super::apply`].
pub fn revoke(reading: &Reading, declared: &BTreeSet<String>) -> Vec<Statement> {
    let granted: Vec<&PrivilegeRow> = reading
        .rows
        .iter()
        .filter(|row| gives(row) && declared.contains(&row.grantee))
        .collect();
    // First what others than the owner granted, while they still can revoke it. What declared roles
    // granted goes with their own rows.
    let mut texts = Vec::new();
    let grantors: BTreeSet<&String> = granted
        .iter()
        .filter_map(|row| reading.grantors.get(row))
        .flatten()
        .filter(|role| !declared.contains(*role))
        .collect();
    for grantor in grantors {
        let theirs: Vec<&PrivilegeRow> = granted
            .iter()
            .copied()
            .filter(|row| {
                reading
                    .grantors
                    .get(row)
                    .is_some_and(|grantors| grantors.contains(grantor))
            })
            .collect();
        texts.extend(granted_by(grantor, &theirs));
    }
    for row in &granted {
        texts.extend(other(row));
    }
    texts.extend(acl(granted.iter().copied()));
    texts.into_iter().map(Statement::from).collect()
}

/// Revokes privileges on objects and columns as the current role.
fn acl<'a>(rows: impl IntoIterator<Item = &'a PrivilegeRow>) -> Vec<String> {
    bundles(rows)
        .iter()
        .map(|bundle| {
            statements::REVOKE.fill([
                &bundle.privileges,
                bundle.kind,
                &bundle.objects,
                &bundle.grantee,
            ])
        })
        .collect()
}

/// Revokes what a role other than the owner granted. A superuser's REVOKE speaks for the owner
/// alone.
fn granted_by(grantor: &str, rows: &[&PrivilegeRow]) -> Vec<String> {
    let grantor = identifier(grantor);
    let memberships = rows
        .iter()
        .filter(|row| RowClass::parse(&row.class) == RowClass::Membership);
    let mut texts: Vec<String> = memberships
        .map(|row| {
            statements::REVOKE_ROLE_GRANTED_BY.fill([
                &identifier(&row.object),
                &identifier(&row.grantee),
                &grantor,
            ])
        })
        .collect();
    let acl = acl(rows.iter().copied());
    if !acl.is_empty() {
        texts.push(statements::SET_ROLE.fill([&grantor]));
        texts.extend(acl);
        texts.push(statements::RESET_ROLE.trim_end().to_owned());
    }
    texts
}

/// Takes away what is no privilege on an object.
fn other(row: &PrivilegeRow) -> Option<String> {
    let role = identifier(&row.grantee);
    match RowClass::parse(&row.class) {
        RowClass::Membership => {
            Some(statements::REVOKE_ROLE.fill([&identifier(&row.object), &role]))
        }
        RowClass::Setting => {
            let (parameter, ..) = setting(&row.privilege)?;
            Some(match row.object.strip_prefix("db:") {
                Some(database) => statements::RESET_PARAMETER_IN_DATABASE.fill([
                    &role,
                    &identifier(database),
                    &parameter,
                ]),
                None => statements::RESET_PARAMETER.fill([&role, &parameter]),
            })
        }
        RowClass::DefaultAcl => {
            let (owner, schema, kind) = name::default_acl(&row.object)?;
            let (owner, kind, privilege, grantee) = (
                identifier(&owner),
                words(kind)?,
                words(&row.privilege)?,
                grantee(&row.grantee),
            );
            Some(match schema {
                Some(schema) => statements::REVOKE_DEFAULT_IN_SCHEMA.fill([
                    &owner,
                    &identifier(&schema),
                    privilege,
                    kind,
                    &grantee,
                ]),
                None => statements::REVOKE_DEFAULT.fill([&owner, privilege, kind, &grantee]),
            })
        }
        RowClass::Object(_)
        | RowClass::Column
        | RowClass::Attribute
        | RowClass::Owner
        | RowClass::UserMapping
        | RowClass::Definition => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::matrix::row::granted;

    #[test]
    fn exactly_the_rows_of_declared_roles_go() {
        let mut reading = Reading::default();
        for (class, object, grantee, privilege) in [
            ("table", "iu.unit", "a", "SELECT"),
            ("table", "iu.\"Odd\"", "a", "SELECT"),
            ("table", "iu.unit", "other", "SELECT"),
            ("table", "iu.unit", "public", "SELECT"),
            ("column", "iu.unit.state", "a", "UPDATE"),
            ("column", "iu.unit.note", "a", "UPDATE"),
            ("function", "iu.cut(integer,text)", "a", "EXECUTE"),
            ("large_object", "16400", "a", "SELECT"),
            ("parameter", "app.x", "a", "ALTER SYSTEM"),
            ("membership", "g", "a", "MEMBER INHERIT=true SET=true"),
            ("membership", "a", "other", "MEMBER INHERIT=true SET=true"),
            ("setting", "db:di\"r", "a", "search_path=iu"),
            ("setting", "cluster", "a", "app.x=1"),
            ("default_acl", "owner/iu/TABLES", "a", "SELECT"),
            ("default_acl", "owner/*/SCHEMAS", "a", "USAGE"),
            ("role_attr", "a", "a", "LOGIN=false"),
            ("owner_table", "iu.mine", "a", "OWNER"),
            ("policy", "iu.unit.p", "a", "PERMISSIVE"),
        ] {
            reading.insert(granted(class, object, grantee, privilege, false), None);
        }
        reading.insert(
            PrivilegeRow {
                sign: "-".into(),
                ..granted("table", "iu.mine", "a", "DELETE", false)
            },
            None,
        );
        let text: Vec<String> = revoke(&reading, &["a".to_owned()].into())
            .iter()
            .map(ToString::to_string)
            .collect();
        insta::assert_snapshot!(text.join("\n"), @r#"
        ALTER DEFAULT PRIVILEGES FOR ROLE "owner" REVOKE USAGE ON SCHEMAS FROM "a" CASCADE
        ALTER DEFAULT PRIVILEGES FOR ROLE "owner" IN SCHEMA "iu" REVOKE SELECT ON TABLES FROM "a" CASCADE
        REVOKE "g" FROM "a" CASCADE
        ALTER ROLE "a" RESET "app"."x"
        ALTER ROLE "a" IN DATABASE "di""r" RESET "search_path"
        REVOKE SELECT ON LARGE OBJECT 16400 FROM "a" CASCADE
        REVOKE ALTER SYSTEM ON PARAMETER "app"."x" FROM "a" CASCADE
        REVOKE EXECUTE ON ROUTINE "iu"."cut"(integer,text) FROM "a" CASCADE
        REVOKE SELECT ON TABLE "iu"."Odd" FROM "a" CASCADE
        REVOKE SELECT, UPDATE ("note", "state") ON TABLE "iu"."unit" FROM "a" CASCADE
        "#);
    }

    #[test]
    fn what_others_granted_is_revoked_in_their_name() {
        let mut reading = Reading::default();
        reading.insert(
            granted("table", "iu.unit", "a", "SELECT", false),
            Some(vec!["lender".into()]),
        );
        reading.insert(
            granted("table", "iu.unit", "b", "SELECT", false),
            Some(vec!["a".into()]),
        );
        reading.insert(
            granted(
                "membership",
                "g",
                "a",
                "MEMBER INHERIT=true SET=true",
                false,
            ),
            Some(vec!["lender".into()]),
        );
        let text: Vec<String> = revoke(&reading, &["a".to_owned(), "b".to_owned()].into())
            .iter()
            .map(ToString::to_string)
            .collect();
        insta::assert_snapshot!(text.join("\n"), @r#"
        REVOKE "g" FROM "a" GRANTED BY "lender" CASCADE
        SET LOCAL ROLE "lender"
        REVOKE SELECT ON TABLE "iu"."unit" FROM "a" CASCADE
        RESET ROLE
        REVOKE "g" FROM "a" CASCADE
        REVOKE SELECT ON TABLE "iu"."unit" FROM "a" CASCADE
        REVOKE SELECT ON TABLE "iu"."unit" FROM "b" CASCADE
        "#);
    }
}
