//! The ledger of the copy, as [`dryrun_core::postgres::effects`] has it.

use std::collections::BTreeMap;

use dryrun_core::{
    postgres::effects::{LedgerEntry, Relation, Sequence},
    run::facts::RowEffects,
};
use tokio_postgres::GenericClient;

use crate::{
    error::{Class, Error, Result},
    query,
    sql::{BARRIER, CHANGES, LARGE_OBJECTS, RELATIONS, SEQUENCES, TABLE_NAMES},
    statements::{ADVANCE_SLOT, CREATE_SLOT, DROP_SLOT, FLUSH_LOG},
};

/// The operator's replication slot: the only one that the copy has room for.
const SLOT: &str = "dryrun_effects";

const DOING: &str = "read the copy's ledger";

/// Opens the ledger of this database, which begins here, and returns its first entry. Needs
/// `wal_level = logical`.
pub async fn open_ledger(client: &impl GenericClient) -> Result<LedgerEntry> {
    let doing = "open the copy's ledger";
    // An earlier attempt may have made it.
    let _: i64 = query::value(client, doing, DROP_SLOT, &[&SLOT]).await?;
    let begin: String = query::value(client, doing, CREATE_SLOT, &[&SLOT]).await?;
    let entry = read_ledger(client).await?;
    if entry.from != begin || !entry.rows.is_empty() || entry.prepared > 0 {
        let said = "the copy is not at rest before the scenarios";
        return Err(Error::other(doing, Class::Refused, said));
    }
    advance_ledger(client, &entry.upto).await?;
    Ok(entry)
}

/// Reads what was committed since the ledger was advanced, and the copy as it is. The same is read
/// again until [`advance_ledger`].
pub async fn read_ledger(client: &impl GenericClient) -> Result<LedgerEntry> {
    query::run(client, DOING, FLUSH_LOG).await?;
    let mut entry = query::row(client, DOING, BARRIER, &[&SLOT], |row| {
        let from: Option<String> = row.try_get(0)?;
        Ok(LedgerEntry {
            from: from.unwrap_or_default(),
            upto: row.try_get(1)?,
            next_xid: row.try_get(2)?,
            large_objects: row.try_get::<_, i64>(3)?.cast_unsigned(),
            prepared: row.try_get::<_, i64>(4)?.cast_unsigned(),
            ..LedgerEntry::default()
        })
    })
    .await?;
    if !entry.from.is_empty() {
        changes(client, &mut entry).await?;
    }
    if entry.prepared == 0 {
        entry.relations = relations(client).await?;
        entry.sequences = sequences(client).await?;
    }
    Ok(entry)
}

/// Lets the server forget the log up to the end of an entry that is kept.
pub async fn advance_ledger(client: &impl GenericClient, upto: &str) -> Result<()> {
    let doing = "advance the copy's ledger";
    let _: i64 = query::value(client, doing, ADVANCE_SLOT, &[&SLOT, &upto]).await?;
    Ok(())
}

/// Counts the large objects that were created, written or removed since `first`.
pub async fn large_objects(client: &impl GenericClient, first: &LedgerEntry) -> Result<u64> {
    let doing = "look at large objects";
    query::row(client, doing, LARGE_OBJECTS, &[&first.next_xid], |row| {
        let (written, untouched): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        let gone = first
            .large_objects
            .saturating_sub(untouched.cast_unsigned());
        Ok(written.cast_unsigned() + gone)
    })
    .await
}

async fn changes(client: &impl GenericClient, entry: &mut LedgerEntry) -> Result<()> {
    let found = query::rows(client, DOING, CHANGES, &[&SLOT, &entry.upto], |row| {
        let number: i64 = row.try_get(2)?;
        Ok((row.try_get(0)?, row.try_get(1)?, number.cast_unsigned()))
    })
    .await?;
    for (tables, what, number) in found {
        let (tables, what): (Option<String>, Option<String>) = (tables, what);
        let (tables, what) = match (tables, what) {
            (Some(tables), Some(what)) => (tables, what),
            (None, Some(_)) => continue,
            (_, None) => {
                entry.unreadable += number;
                continue;
            }
        };
        let rows = match &*what {
            "INSERT" => RowEffects {
                inserted: number,
                ..RowEffects::default()
            },
            "UPDATE" => RowEffects {
                updated: number,
                ..RowEffects::default()
            },
            "DELETE" => RowEffects {
                deleted: number,
                ..RowEffects::default()
            },
            _ => RowEffects {
                truncated: number,
                ..RowEffects::default()
            },
        };
        if rows.truncated == 0 {
            entry.rows.entry(tables).or_default().add(rows);
            continue;
        }
        let names: Vec<String> =
            query::rows(client, DOING, TABLE_NAMES, &[&tables], |row| row.try_get(0)).await?;
        for name in names {
            entry.rows.entry(name).or_default().add(rows);
        }
    }
    Ok(())
}

async fn relations(client: &impl GenericClient) -> Result<BTreeMap<String, Relation>> {
    let found = query::rows(client, DOING, RELATIONS, &[], |row| {
        let relation = Relation {
            file: row.try_get(1)?,
            entry: row.try_get(2)?,
            unlogged: row.try_get(3)?,
        };
        Ok((row.try_get(0)?, relation))
    });
    Ok(found.await?.into_iter().collect())
}

async fn sequences(client: &impl GenericClient) -> Result<BTreeMap<String, Sequence>> {
    let statements = query::rows(client, DOING, SEQUENCES, &[], |row| row.try_get(0));
    let mut sequences = BTreeMap::new();
    for statement in statements.await? {
        let statement: String = statement;
        let found = query::rows(client, DOING, &statement, &[], |row| {
            let sequence = Sequence {
                value: row.try_get(1)?,
                called: row.try_get(2)?,
                start: row.try_get(3)?,
                increment: row.try_get(4)?,
                cache: row.try_get(5)?,
                tables: row.try_get(6)?,
            };
            Ok((row.try_get(0)?, sequence))
        });
        sequences.extend(found.await?);
    }
    Ok(sequences)
}
