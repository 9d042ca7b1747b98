//! Requests to production before and while it is dumped.

use std::collections::BTreeSet;

use dryrun_core::{
    postgres::matrix,
    run::facts::{LockFacts, PrivilegeRow, RightsFacts, SourceRequirements},
};
use tokio_postgres::GenericClient;

use crate::{
    error::Result,
    privileges::role_rights,
    query,
    sql::{LOCKS, MISSING_RIGHTS, REQUIREMENTS, ROLES, WRITE_RIGHTS},
    statements::{EXTENSIONS, LOCK_TIMEOUT},
};

/// Rights that are listed by name.
const LISTED: usize = 20;

/// Reads what the role lacks for a dump, and what it could write.
pub async fn rights(client: &impl GenericClient) -> Result<RightsFacts> {
    let doing = "read the role's rights";
    let missing = query::rows(client, doing, MISSING_RIGHTS, &[], |row| {
        Ok((row.try_get::<_, String>(0)?, row.try_get::<_, i64>(1)?))
    });
    let missing = missing.await?;
    let writable = query::rows(client, doing, WRITE_RIGHTS, &[], |row| row.try_get(0));
    let writable: Vec<String> = writable.await?;
    Ok(RightsFacts {
        missing_count: missing
            .iter()
            .map(|(_, rights)| rights.cast_unsigned())
            .sum(),
        missing: missing
            .into_iter()
            .take(LISTED)
            .map(|(statement, _)| statement)
            .collect(),
        writable_count: writable.len() as u64,
        writable: writable.into_iter().take(LISTED).collect(),
    })
}

/// Reads encoding, locale, checksums and extensions of the database, and its size in bytes.
pub async fn requirements(client: &impl GenericClient) -> Result<(SourceRequirements, u64)> {
    let doing = "read what the copy needs";
    let found = query::row(client, doing, REQUIREMENTS, &[], |row| {
        let requirements = SourceRequirements {
            encoding: row.try_get("encoding")?,
            locale_provider: row.try_get("locale_provider")?,
            collate: row.try_get("collate")?,
            ctype: row.try_get("ctype")?,
            data_checksums: row.try_get("data_checksums")?,
            ..SourceRequirements::default()
        };
        Ok((requirements, row.try_get::<_, i64>("bytes")?))
    });
    let (requirements, bytes) = found.await?;
    let extensions = query::rows(client, doing, EXTENSIONS, &[], |row| {
        Ok((row.try_get(0)?, row.try_get(1)?))
    });
    let requirements = SourceRequirements {
        extensions: extensions.await?.into_iter().collect(),
        ..requirements
    };
    Ok((requirements, bytes.cast_unsigned()))
}

/// Reads the roles that the database refers to, and their rights that no dump carries.
pub async fn roles(
    client: &impl GenericClient,
) -> Result<(BTreeSet<String>, BTreeSet<PrivilegeRow>)> {
    let names = query::rows(client, "read the roles", ROLES, &[], |row| row.try_get(0));
    let names = names.await?.into_iter().collect();
    let rights = matrix::undeclared(role_rights(client).await?, &names, &BTreeSet::new());
    Ok((names, rights))
}

/// Bounds how long a request waits for a table that another session has locked.
pub async fn limit_lock_waits(client: &impl GenericClient, milliseconds: u64) -> Result<()> {
    let milliseconds = milliseconds.to_string();
    let doing = "set up the session";
    query::value::<String>(client, doing, LOCK_TIMEOUT, &[&milliseconds]).await?;
    Ok(())
}

/// Reads what a dump needs of the server's lock table, and its size.
pub async fn locks(client: &impl GenericClient) -> Result<LockFacts> {
    let doing = "read the size of the lock table";
    query::row(client, doing, LOCKS, &[], |row| {
        let number = |column| row.try_get(column).map(i64::cast_unsigned);
        Ok(LockFacts {
            needed: number("needed")?,
            held: number("held")?,
            slots: number("slots")?,
            per_slot: number("per_slot")?,
        })
    })
    .await
}
