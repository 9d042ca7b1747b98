//! Requests to the copy's server: its log, its sessions, and what is kept in it.

use std::collections::BTreeMap;

use dryrun_core::{gate::DeniedObject, postgres::sql, run::facts::Access};
use tokio_postgres::{GenericClient, Row};

use crate::{
    error::{Class, Error, Result},
    query,
    sql::{ACCESS, ANALYZE},
    statements::{
        BACKENDS, BASELINE_CREATE, BASELINE_READ, BASELINE_WRITE, BASELINE_WRITE_FIRST,
        DEFAULT_VERSIONS, EXTENSION, FILE_PIECE, FILE_SIZE, ROLE_EXISTS, TERMINATE,
    },
};

/// Returns the size of a file of the server.
pub async fn file_size(client: &impl GenericClient, file: &str) -> Result<u64> {
    let doing = "look at the copy's log";
    let size: i64 = query::value(client, doing, FILE_SIZE, &[&file]).await?;
    Ok(size.cast_unsigned())
}

/// Reads at most `length` bytes of a file of the server; none at its end.
pub async fn file_piece(
    client: &impl GenericClient,
    file: &str,
    offset: u64,
    length: u32,
) -> Result<Vec<u8>> {
    let (offset, length) = (offset.cast_signed(), i64::from(length));
    let doing = "read the copy's log";
    query::value(client, doing, FILE_PIECE, &[&file, &offset, &length]).await
}

/// Collects statistics of the copy, since autovacuum is off in it. Functions of expression indexes
/// run as the table's owner: Postgres switches roles for them.
pub async fn analyze(client: &impl GenericClient) -> Result<()> {
    let doing = "analyze the copy";
    let statement: String = query::value(client, doing, ANALYZE, &[]).await?;
    query::run(client, doing, &statement).await
}

/// Reads the version of each extension that the server installs if none is named. Names are quoted.
pub async fn default_versions(client: &impl GenericClient) -> Result<BTreeMap<String, String>> {
    let doing = "list extensions";
    let found = query::rows(client, doing, DEFAULT_VERSIONS, &[], |row| {
        Ok((row.try_get(0)?, row.try_get(1)?))
    });
    Ok(found.await?.into_iter().collect())
}

/// Installs an extension in a version. Its name and its schema are quoted.
pub async fn install_extension(
    client: &impl GenericClient,
    name: &str,
    schema: &str,
    version: &str,
) -> Result<()> {
    let statement = EXTENSION.fill([name, schema, &sql::literal(version)]);
    query::run(client, "install an extension", &statement).await
}

/// Reads what a login lacks on each object of a name. Needs the session of
/// `sql/session.sql`.
pub async fn access(
    client: &impl GenericClient,
    login: &str,
    denied: &DeniedObject,
) -> Result<Vec<Access>> {
    let access = |row: &Row| {
        Ok(Access {
            object: denied.object.clone(),
            kind: row.try_get(0)?,
            missing: row.try_get(1)?,
        })
    };
    let doing = "look up a login's privileges";
    let DeniedObject {
        schema,
        name,
        arguments,
        ..
    } = denied;
    query::rows(
        client,
        doing,
        ACCESS,
        &[&login, schema, name, arguments],
        access,
    )
    .await
}

/// Returns whether there is a role of this name.
pub async fn role_exists(client: &impl GenericClient, role: &str) -> Result<bool> {
    let count: i64 = query::value(client, "look up a role", ROLE_EXISTS, &[&role]).await?;
    Ok(count > 0)
}

/// Counts the backends of these roles.
pub async fn backends(client: &impl GenericClient, roles: &[String]) -> Result<i64> {
    query::value(client, "count backends", BACKENDS, &[&roles]).await
}

/// Ends the backends of these roles, and returns how many there were.
pub async fn end_backends(client: &impl GenericClient, roles: &[String]) -> Result<i64> {
    query::value(client, "end backends", TERMINATE, &[&roles]).await
}

/// Keeps a text in the maintenance database, where it outlives the operator and no declared role
/// sees it.
pub async fn keep(maintenance: &impl GenericClient, kind: &str, text: &str) -> Result<()> {
    write(maintenance, BASELINE_WRITE, kind, text).await
}

/// Keeps a text, unless one was kept under this name.
pub async fn keep_first(maintenance: &impl GenericClient, kind: &str, text: &str) -> Result<()> {
    write(maintenance, BASELINE_WRITE_FIRST, kind, text).await
}

/// Returns a text that was kept.
pub async fn kept(maintenance: &impl GenericClient, kind: &str) -> Result<String> {
    let doing = "read the baseline";
    let read = |row: &Row| row.try_get(0);
    let mut found = query::rows(maintenance, doing, BASELINE_READ, &[&kind], read).await?;
    let missing = || Error::other(doing, Class::Refused, format!("{kind} was never kept"));
    found.pop().ok_or_else(missing)
}

async fn write(
    maintenance: &impl GenericClient,
    statement: &str,
    kind: &str,
    text: &str,
) -> Result<()> {
    let doing = "keep the baseline";
    query::run(maintenance, doing, BASELINE_CREATE).await?;
    maintenance
        .execute(statement, &[&kind, &text])
        .await
        .map(drop)
        .map_err(|error| Error::new(doing, &error))
}
