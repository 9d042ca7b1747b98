//! Requests to production before and while it is dumped.

use dryrun_core::run::facts::{LockFacts, RightsFacts, SourceRequirements, SourceRole};
use tokio_postgres::GenericClient;

use crate::{
    error::Result,
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

/// Reads the roles that the database refers to, and their memberships as (role, member).
pub async fn roles(
    client: &impl GenericClient,
) -> Result<(Vec<SourceRole>, Vec<(String, String)>)> {
    let found = query::rows(client, "read the roles", ROLES, &[], |row| {
        let role = SourceRole {
            name: row.try_get("rolname")?,
            bootstrap: row.try_get("bootstrap")?,
        };
        Ok((role, row.try_get::<_, Vec<String>>("member_of")?))
    });
    let (mut roles, mut memberships) = (Vec::new(), Vec::new());
    for (member, groups) in found.await? {
        memberships.extend(groups.into_iter().map(|group| (group, member.name.clone())));
        roles.push(member);
    }
    Ok((roles, memberships))
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
