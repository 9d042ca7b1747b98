//! Privileges, ways to more of them, and the objects that a matrix may name.

use std::collections::BTreeSet;

use dryrun_core::{
    api::Privileges,
    postgres::matrix::{CatalogObject, EscalationPath, Inventory, Literal, Reading},
    run::facts::PrivilegeRow,
};
use tokio_postgres::GenericClient;

use crate::{
    error::Result,
    query,
    sql::{ATTRIBUTES, ESCALATIONS, OBJECTS, PRIVILEGES, ROLE_RIGHTS},
};

/// Reads every privilege, granted or otherwise.
pub async fn privileges(client: &impl GenericClient) -> Result<Reading> {
    let mut reading = Reading::default();
    for query in [PRIVILEGES, ATTRIBUTES] {
        let found = query::rows(client, "read privileges", query, &[], |row| {
            let privilege = PrivilegeRow {
                class: row.try_get(0)?,
                object: row.try_get(1)?,
                grantee: row.try_get(2)?,
                privilege: row.try_get(3)?,
                grantable: row.try_get(4)?,
                sign: row.try_get(5)?,
            };
            Ok((privilege, row.try_get(6)?))
        });
        for (privilege, grantors) in found.await? {
            reading.insert(privilege, grantors);
        }
    }
    Ok(reading)
}

/// Reads the rights of roles that no dump of a database carries.
pub async fn role_rights(client: &impl GenericClient) -> Result<Vec<PrivilegeRow>> {
    let doing = "read the rights of roles";
    query::rows(client, doing, ROLE_RIGHTS, &[], |row| {
        Ok(PrivilegeRow {
            class: row.try_get(0)?,
            object: row.try_get(1)?,
            grantee: row.try_get(2)?,
            privilege: row.try_get(3)?,
            grantable: row.try_get(4)?,
            sign: "+".to_owned(),
        })
    })
    .await
}

/// Reads every way in which a role could get more than its privileges say.
pub async fn escalations(client: &impl GenericClient) -> Result<BTreeSet<EscalationPath>> {
    let found = query::rows(client, "read escalation paths", ESCALATIONS, &[], |row| {
        Ok(EscalationPath {
            role: row.try_get(0)?,
            why: row.try_get(1)?,
            what: row.try_get(2)?,
        })
    });
    Ok(found.await?.into_iter().collect())
}

/// Reads every object that a matrix may name; `version_num` is the server's.
pub async fn inventory(
    client: &impl GenericClient,
    version_num: u32,
    privileges: &Privileges,
    literal: Option<&Literal>,
) -> Result<Inventory> {
    let columns = Inventory::columns_wanted(privileges, literal);
    let found = query::rows(client, "list objects", OBJECTS, &[&columns], |row| {
        Ok(CatalogObject {
            class: row.try_get(0)?,
            name: row.try_get(1)?,
            owner: row.try_get(2)?,
            initial: row.try_get(3)?,
        })
    })
    .await?;
    Ok(Inventory::new(version_num, found))
}
