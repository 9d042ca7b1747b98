//! Requests with their errors classified. Columns are read by `try_get` alone: one of another type
//! is an error, not a panic.

use futures::{StreamExt, TryStreamExt};
use tokio_postgres::{
    GenericClient, Row,
    types::{FromSql, ToSql},
};

use crate::error::{Class, Error, Result};

/// Parameters of a request.
type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Returns the rows of a query, each through `read`.
pub(crate) async fn rows<T>(
    client: &impl GenericClient,
    doing: &str,
    query: &str,
    parameters: Parameters<'_>,
    read: impl Fn(&Row) -> Result<T, tokio_postgres::Error>,
) -> Result<Vec<T>> {
    let failed = |error: tokio_postgres::Error| Error::new(doing, &error);
    let stream = client
        .query_raw(query, parameters.iter().copied())
        .await
        .map_err(failed)?;
    stream
        .map(|row| row.and_then(|row| read(&row)))
        .try_collect()
        .await
        .map_err(failed)
}

/// Returns the only row of a query, through `read`.
pub(crate) async fn row<T>(
    client: &impl GenericClient,
    doing: &str,
    query: &str,
    parameters: Parameters<'_>,
    read: impl Fn(&Row) -> Result<T, tokio_postgres::Error>,
) -> Result<T> {
    let mut rows = rows(client, doing, query, parameters, read).await?;
    match (rows.pop(), rows.len()) {
        (Some(row), 0) => Ok(row),
        (last, more) => {
            let count = more + usize::from(last.is_some());
            let said = format!("{count} rows instead of one");
            Err(Error::other(doing, Class::Refused, said))
        }
    }
}

/// Returns the only column of the only row of a query.
pub(crate) async fn value<T: for<'a> FromSql<'a>>(
    client: &impl GenericClient,
    doing: &str,
    query: &str,
    parameters: Parameters<'_>,
) -> Result<T> {
    row(client, doing, query, parameters, |row| row.try_get(0)).await
}

/// Returns how many lines a `COPY … TO STDOUT` gives.
pub(crate) async fn lines(client: &impl GenericClient, doing: &str, copy: &str) -> Result<u64> {
    let failed = |error: tokio_postgres::Error| Error::new(doing, &error);
    let stream = client.client().copy_out(copy).await.map_err(failed)?;
    stream
        .try_fold(0, async |lines, data| {
            // A line break in a value is escaped.
            Ok(lines + data.iter().filter(|byte| **byte == b'\n').count() as u64)
        })
        .await
        .map_err(failed)
}

/// Runs statements that return nothing, in one message.
pub async fn run(client: &impl GenericClient, doing: &str, statements: &str) -> Result<()> {
    client
        .batch_execute(statements)
        .await
        .map_err(|error| Error::new(doing, &error))
}
