//! What the agent reads of a server: identity, catalog, row counts.

use dryrun_core::{
    postgres::{row_set::Rows, sql},
    run::facts::SourceIdentity,
};
use futures::{StreamExt, TryStreamExt};
use tokio_postgres::{Client, Error, GenericClient, Row, types::FromSql};

use crate::failure::{self, Result};

/// Who the server of this session is.
pub(crate) async fn identity(client: &impl GenericClient) -> Result<SourceIdentity> {
    let what = "cannot read the server's identity";
    let row = client
        .query_one(sql::IDENTITY, &[])
        .await
        .map_err(|error| failure::query(what, &error))?;
    let read = || -> Result<_, Error> {
        Ok(SourceIdentity {
            system_identifier: sql::system_identifier(row.try_get("system_identifier")?),
            version_num: row.try_get::<_, i32>("version_num")?.cast_unsigned(),
            started_at: row.try_get("started_at")?,
            timeline: row.try_get::<_, i32>("timeline_id")?.cast_unsigned(),
            address: row.try_get("address")?,
            in_recovery: row.try_get("in_recovery")?,
        })
    };
    read().map_err(|error| failure::query(what, &error))
}

/// Makes catalog and counts of this session comparable with those of another server.
pub(crate) async fn prepare(client: &Client) -> Result<()> {
    client
        .batch_execute(sql::SESSION)
        .await
        .map_err(|error| failure::query("cannot set up the session", &error))
}

/// Every definition of the database. Reads the present, not a snapshot: Postgres' catalog functions do.
pub(crate) async fn catalog(client: &impl GenericClient) -> Result<Rows> {
    let mut set = Rows::default();
    for (kind, identity, definition) in rows(client, sql::CATALOG, |row| {
        Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
    })
    .await?
    {
        let (kind, identity, definition): (String, String, Option<String>) =
            (kind, identity, definition);
        set.insert(&[&kind, &identity], &definition.unwrap_or_default());
    }
    Ok(set)
}

/// The exact number of rows of every table, and their sum.
pub(crate) async fn counts(client: &impl GenericClient) -> Result<(Rows, u64)> {
    let (mut set, mut total) = (Rows::default(), 0);
    for statement in column::<String>(client, sql::COUNTS).await? {
        let counted = self::rows(client, &statement, |row| {
            Ok((row.try_get::<_, String>(0)?, row.try_get::<_, i64>(1)?))
        })
        .await?;
        for (table, count) in counted {
            set.insert(&[&table], &count.to_string());
            total += count.cast_unsigned();
        }
    }
    Ok((set, total))
}

/// The first column of a query.
pub(crate) async fn column<T>(client: &impl GenericClient, query: &str) -> Result<Vec<T>>
where
    T: for<'a> FromSql<'a>,
{
    rows(client, query, |row| row.try_get(0)).await
}

/// The rows of a query, each through `read`.
pub(crate) async fn rows<T>(
    client: &impl GenericClient,
    query: &str,
    read: impl Fn(&Row) -> Result<T, Error>,
) -> Result<Vec<T>> {
    let failed = |error: Error| failure::query("cannot read the catalog", &error);
    let parameters: [&str; 0] = [];
    let stream = client.query_raw(query, parameters).await.map_err(failed)?;
    stream
        .map(|row| row.and_then(|row| read(&row)))
        .try_collect()
        .await
        .map_err(failed)
}
