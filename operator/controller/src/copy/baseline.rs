//! State of the copy before the scenarios, kept in its maintenance database: there it outlives the
//! operator, and no declared role sees it.

use dryrun_core::problem::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Session;
use super::session::failed;

/// Keeps a text under a name.
pub(crate) async fn keep(maintenance: &Session, kind: &str, text: &str) -> Result<(), Problem> {
    dryrun_postgres::keep(maintenance.client(), kind, text)
        .await
        .map_err(failed)
}

/// Returns a text that was kept.
pub(crate) async fn kept(maintenance: &Session, kind: &str) -> Result<String, Problem> {
    dryrun_postgres::kept(maintenance.client(), kind)
        .await
        .map_err(failed)
}

/// Keeps a value unless an earlier attempt has kept one, after which the copy may have changed.
/// Returns what is kept.
pub(crate) async fn first<T: Serialize + DeserializeOwned>(
    maintenance: &Session,
    kind: &str,
    value: T,
) -> Result<T, Problem> {
    let text = as_text(&value)?;
    dryrun_postgres::keep_first(maintenance.client(), kind, &text)
        .await
        .map_err(failed)?;
    parse(&kept(maintenance, kind).await?)
}

/// A value in the form that is kept.
pub(super) fn as_text(value: &impl Serialize) -> Result<String, Problem> {
    serde_json::to_string(value).map_err(|e| unreadable(&e))
}

/// A value that was kept.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    serde_json::from_str(text).map_err(|e| unreadable(&e))
}

fn unreadable(error: &serde_json::Error) -> Problem {
    Problem::permanent("BaselineUnreadable", error.to_string())
}
