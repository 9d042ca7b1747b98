//! Definitions and row counts of a database.

use dryrun_core::postgres::row_set::Rows;
use tokio_postgres::GenericClient;

use crate::{
    error::Result,
    query,
    session::Session,
    snapshot::{TransactionState, end, import_snapshot},
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

/// A statement that counts tables.
struct Count {
    statement: String,
    /// The table that the statement copies; without one, its rows are counts.
    copied: Option<String>,
}

/// Counts the rows of every table.
pub async fn counts(client: &impl GenericClient) -> Result<Rows> {
    let mut counts = Rows::default();
    for statement in statements(client).await? {
        count(client, &statement, &mut counts).await?;
    }
    Ok(counts)
}

/// Counts the rows of every table in an exported snapshot. Each statement has a transaction of its
/// own, so that few locks are held at a time. Returns what those transactions were, too.
pub async fn counts_in(session: &mut Session, snapshot: &str) -> Result<(Rows, TransactionState)> {
    let transaction = import_snapshot(session, snapshot).await?;
    let statements = statements(&transaction).await?;
    let mut state = end(transaction).await?;
    let mut counts = Rows::default();
    for statement in statements {
        let transaction = import_snapshot(session, snapshot).await?;
        count(&transaction, &statement, &mut counts).await?;
        state = state.and(end(transaction).await?);
    }
    Ok((counts, state))
}

async fn statements(client: &impl GenericClient) -> Result<Vec<Count>> {
    query::rows(client, "list tables", COUNTS, &[], |row| {
        Ok(Count {
            statement: row.try_get(0)?,
            copied: row.try_get(1)?,
        })
    })
    .await
}

async fn count(client: &impl GenericClient, count: &Count, counts: &mut Rows) -> Result<()> {
    let doing = "count rows";
    if let Some(table) = &count.copied {
        let lines = query::lines(client, doing, &count.statement).await?;
        counts.insert(&[table], &lines.to_string());
        return Ok(());
    }
    let counted = query::rows(client, doing, &count.statement, &[], |row| {
        Ok((row.try_get(0)?, row.try_get(1)?))
    });
    for (table, count) in counted.await? {
        let (table, count): (String, i64) = (table, count);
        counts.insert(&[&table], &count.to_string());
    }
    Ok(())
}
