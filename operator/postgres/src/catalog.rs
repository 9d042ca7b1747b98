//! Definitions and row counts of a database.

use dryrun_core::postgres::row_set::Rows;
use tokio_postgres::GenericClient;

use crate::{
    error::Result,
    query,
    sql::{CATALOG, COUNTS},
};

/// Reads every definition of the database. Postgres prints definitions as of now, also inside an
/// older snapshot; the snapshot decides which objects there are.
pub async fn catalog(client: &impl GenericClient) -> Result<Rows> {
    let doing = "read the catalog";
    let found = query::rows(client, doing, CATALOG, &[], |row| {
        let definition: Option<String> = row.try_get(2)?;
        Ok((row.try_get(0)?, row.try_get(1)?, definition))
    });
    let mut catalog = Rows::default();
    for (kind, identity, definition) in found.await? {
        let (kind, identity): (String, String) = (kind, identity);
        catalog.insert(&[&kind, &identity], &definition.unwrap_or_default());
    }
    Ok(catalog)
}

/// Counts the rows of every table, and returns their sum, too.
pub async fn counts(client: &impl GenericClient) -> Result<(Rows, u64)> {
    let statements = query::rows(client, "list tables", COUNTS, &[], |row| row.try_get(0)).await?;
    let (mut counts, mut total) = (Rows::default(), 0);
    for statement in statements {
        let statement: String = statement;
        let counted = query::rows(client, "count rows", &statement, &[], |row| {
            Ok((row.try_get(0)?, row.try_get(1)?))
        });
        for (table, count) in counted.await? {
            let (table, count): (String, i64) = (table, count);
            counts.insert(&[&table], &count.to_string());
            total += count.cast_unsigned();
        }
    }
    Ok((counts, total))
}
