//! A snapshot that several sessions share, and transactions in it.

use dryrun_core::postgres::sql::literal;
use tokio_postgres::{IsolationLevel, Transaction};

use crate::{
    error::{Error, Result},
    query,
    session::Session,
    sql::REWRITTEN,
    statements::{EXPORT_SNAPSHOT, SNAPSHOT, TRANSACTION},
};

/// State of a transaction at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionState {
    /// It was read-only.
    pub read_only: bool,
    /// It has a transaction ID: it wrote.
    pub xid_assigned: bool,
}

impl TransactionState {
    /// Returns the state of two transactions together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            read_only: self.read_only && other.read_only,
            xid_assigned: self.xid_assigned || other.xid_assigned,
        }
    }
}

/// Begins a transaction that exports its snapshot for as long as it lasts. It reads nothing, so it
/// holds no lock.
pub async fn export_snapshot(session: &mut Session) -> Result<(Transaction<'_>, String)> {
    let transaction = begin(session).await?;
    let doing = "export a snapshot";
    let snapshot = query::value(&transaction, doing, EXPORT_SNAPSHOT, &[]).await?;
    Ok((transaction, snapshot))
}

/// Begins a transaction in an exported snapshot.
pub async fn import_snapshot<'a>(
    session: &'a mut Session,
    snapshot: &str,
) -> Result<Transaction<'a>> {
    let transaction = begin(session).await?;
    let statement = SNAPSHOT.fill([&literal(snapshot)]);
    query::run(&transaction, "import the snapshot", &statement).await?;
    Ok(transaction)
}

/// Ends a transaction.
pub async fn end(transaction: Transaction<'_>) -> Result<TransactionState> {
    let doing = "end the transaction";
    let state = query::row(&transaction, doing, TRANSACTION, &[], |row| {
        Ok(TransactionState {
            read_only: row.try_get(0)?,
            xid_assigned: row.try_get(1)?,
        })
    })
    .await?;
    let committed = transaction.commit().await;
    committed.map_err(|error| Error::new(doing, &error))?;
    Ok(state)
}

/// Returns the tables that were emptied or rewritten since the snapshot of this transaction.
pub async fn rewritten(transaction: &Transaction<'_>) -> Result<Vec<String>> {
    let doing = "look for tables that were rewritten";
    query::rows(transaction, doing, REWRITTEN, &[], |row| row.try_get(0)).await
}

async fn begin(session: &mut Session) -> Result<Transaction<'_>> {
    session
        .client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await
        .map_err(|error| Error::new("begin a transaction", &error))
}
