//! Definitions and row counts of a database.

use std::collections::BTreeMap;

use dryrun_core::postgres::{effects::Counted, row_set::Rows};
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
    for statement in statements(client, None).await? {
        for (table, counted) in count(client, &statement).await? {
            counts.insert(&[&table], &counted.rows.to_string());
        }
    }
    Ok(counts)
}

/// Counts the rows of every table, and those that were written since a transaction ID.
pub async fn counts_since(
    client: &impl GenericClient,
    xid: &str,
) -> Result<BTreeMap<String, Counted>> {
    let mut counts = BTreeMap::new();
    for statement in statements(client, Some(xid)).await? {
        counts.extend(count(client, &statement).await?);
    }
    Ok(counts)
}

/// Counts the rows of every table in an exported snapshot. Each statement has its own transaction,
/// so that few locks are held at a time. Returns what those transactions were, too.
pub async fn counts_in(session: &mut Session, snapshot: &str) -> Result<(Rows, TransactionState)> {
    let transaction = import_snapshot(session, snapshot).await?;
    let statements = statements(&transaction, None).await?;
    let mut state = end(transaction).await?;
    let mut counts = Rows::default();
    for statement in statements {
        let transaction = import_snapshot(session, snapshot).await?;
        for (table, counted) in count(&transaction, &statement).await? {
            counts.insert(&[&table], &counted.rows.to_string());
        }
        state = state.and(end(transaction).await?);
    }
    Ok((counts, state))
}

async fn statements(client: &impl GenericClient, since: Option<&str>) -> Result<Vec<Count>> {
    query::rows(client, "list tables", COUNTS, &[&since], |row| {
        Ok(Count {
            statement: row.try_get(0)?,
            copied: row.try_get(1)?,
        })
    })
    .await
}

async fn count(client: &impl GenericClient, count: &Count) -> Result<Vec<(String, Counted)>> {
    let doing = "count rows";
    if let Some(table) = &count.copied {
        let rows = query::lines(client, doing, &count.statement).await?;
        let counted = Counted {
            rows,
            written: None,
        };
        return Ok(vec![(table.clone(), counted)]);
    }
    query::rows(client, doing, &count.statement, &[], |row| {
        let written: Option<i64> = row.try_get(2)?;
        let counted = Counted {
            rows: row.try_get::<_, i64>(1)?.cast_unsigned(),
            written: written.map(i64::cast_unsigned),
        };
        Ok((row.try_get(0)?, counted))
    })
    .await
}
