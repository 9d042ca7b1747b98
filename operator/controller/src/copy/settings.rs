//! Settings of the copy's server: before the scenarios, after them, and on the source.

use dryrun_core::{
    postgres::{settings, sql},
    problem::TaskError,
    run::facts::{SettingsFacts, SourceRequirements},
};
use std::collections::BTreeMap;

use super::session::failed;
use super::statements::FILE_SETTINGS;
use super::{Session, reading};

/// The name under which they are kept.
const KIND: &str = "settings";
/// What the operator itself changes right after they were read, as [`super::log::trace`] does.
const TRACED: [(&str, &str); 2] = [
    ("log_statement", "all"),
    ("postgresql.auto.conf: log_statement", "all"),
];

/// C-10: keeps the settings as they have to be after the scenarios. The log of statements is turned on afterwards.
pub(crate) async fn keep(maintenance: &Session) -> Result<(), TaskError> {
    let mut settings = read(maintenance).await?;
    settings.extend(TRACED.map(|(name, value)| (name.to_owned(), value.to_owned())));
    reading::keep(maintenance, KIND, &reading::as_text(&settings)?).await
}

/// C-11: compares. The session must be a new one: it began with what new sessions begin with.
pub(crate) async fn compare(
    maintenance: &Session,
    source: &SourceRequirements,
) -> Result<SettingsFacts, TaskError> {
    let before = reading::parse(&reading::kept(maintenance, KIND).await?)?;
    let after = read(maintenance).await?;
    Ok(settings::compare(&source.settings, &before, &after))
}

/// The server's own settings, and those in its files. The maintenance database and the bootstrap role have none of their own.
async fn read(maintenance: &Session) -> Result<BTreeMap<String, String>, TaskError> {
    let mut found = BTreeMap::new();
    for query in [sql::SETTINGS, FILE_SETTINGS] {
        let rows = maintenance
            .client
            .query(query, &[])
            .await
            .map_err(|e| failed("read the settings", &e))?;
        found.extend(rows.iter().map(|row| (row.get(0), row.get(1))));
    }
    Ok(found)
}
