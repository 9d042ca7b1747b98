//! The ledger of what the scenarios do to the copy. Its entries are kept in the maintenance
//! database before the server may forget what they were made from.

use dryrun_core::api::Verification;
use dryrun_core::postgres::effects::{Declared, LedgerEntry, settle};
use dryrun_core::problem::Problem;
use dryrun_core::run::facts::{CopyEffects, ScenarioEffects};
use std::collections::BTreeMap;

use super::session::failed;
use super::{Session, baseline};

/// The name of an entry: 0 before the scenarios, then one for each.
fn kind(number: usize) -> String {
    format!("effects {number}")
}

/// C-10: opens the ledger, before the first scenario.
pub(crate) async fn open(restored: &Session, maintenance: &Session) -> Result<(), Problem> {
    let entry = dryrun_postgres::open_ledger(restored.client())
        .await
        .map_err(failed)?;
    baseline::keep(maintenance, &kind(0), &baseline::as_text(&entry)?).await
}

/// C-10: reads what a scenario did, when its sessions have ended.
pub(crate) async fn close(
    restored: &Session,
    maintenance: &Session,
    scenario: usize,
    verification: &Verification,
) -> Result<ScenarioEffects, Problem> {
    let read = dryrun_postgres::read_ledger(restored.client())
        .await
        .map_err(failed)?;
    // An earlier attempt may have kept it and advanced the slot, after which there is nothing to
    // read.
    let entry = baseline::first(maintenance, &kind(scenario + 1), read).await?;
    dryrun_postgres::advance_ledger(restored.client(), &entry.upto)
        .await
        .map_err(failed)?;
    let before = kept(maintenance, scenario).await?;
    Ok(entry.since(&before, &Declared::of(verification)))
}

/// C-11: compares the copy with the scenarios' effects. Returns the counts of its tables, too.
pub(crate) async fn compare(
    restored: &Session,
    maintenance: &Session,
    scenarios: usize,
    before: &BTreeMap<String, u64>,
    verification: &Verification,
) -> Result<(BTreeMap<String, u64>, CopyEffects), Problem> {
    let mut entries = Vec::new();
    for number in 0..=scenarios {
        entries.push(kept(maintenance, number).await?);
    }
    let nothing = LedgerEntry::default();
    let first = entries.first().unwrap_or(&nothing);
    let after = dryrun_postgres::counts_since(restored.client(), &first.next_xid)
        .await
        .map_err(failed)?;
    let large_objects = dryrun_postgres::large_objects(restored.client(), first)
        .await
        .map_err(failed)?;
    let declared = Declared::of(verification);
    let effects = settle(&entries, before, &after, large_objects, &declared);
    let counts = after
        .into_iter()
        .map(|(table, counted)| (table, counted.rows));
    Ok((counts.collect(), effects))
}

async fn kept(maintenance: &Session, number: usize) -> Result<LedgerEntry, Problem> {
    baseline::parse(&baseline::kept(maintenance, &kind(number)).await?)
}
