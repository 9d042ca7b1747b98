//! Settings of the copy's server: before the scenarios, after them, and on the source.

use dryrun_core::postgres::settings;
use dryrun_core::problem::Problem;
use dryrun_core::run::facts::{SettingsFacts, SourceRequirements};
use std::collections::BTreeMap;

use super::session::failed;
use super::{Endpoint, Session, baseline};

/// The name under which they are kept.
const KIND: &str = "settings";
/// Settings that the operator itself changes right after they were read, as [`super::log::trace`]
/// does.
const TRACED: [(&str, &str); 2] = [
    ("log_statement", "all"),
    ("postgresql.auto.conf: log_statement", "all"),
];

/// C-10: keeps the settings as they have to be after the scenarios. The log of statements is turned
/// on afterwards.
pub(crate) async fn keep(endpoint: &Endpoint, maintenance: &Session) -> Result<(), Problem> {
    let mut settings = read(endpoint).await?;
    settings.extend(TRACED.map(|(name, value)| (name.to_owned(), value.to_owned())));
    baseline::keep(maintenance, KIND, &baseline::as_text(&settings)?).await
}

/// C-11: compares the settings with those before the scenarios, and with the source's.
pub(crate) async fn compare(
    endpoint: &Endpoint,
    maintenance: &Session,
    source: &SourceRequirements,
) -> Result<SettingsFacts, Problem> {
    let before = baseline::parse(&baseline::kept(maintenance, KIND).await?)?;
    let after = read(endpoint).await?;
    Ok(settings::compare(&source.settings, &before, &after))
}

/// Reads the settings that a new session begins with, and those in the server's files. The
/// maintenance database and the bootstrap role have none of their own.
async fn read(endpoint: &Endpoint) -> Result<BTreeMap<String, String>, Problem> {
    let session = Session::plain(endpoint).await?;
    let mut found = dryrun_postgres::file_settings(session.client())
        .await
        .map_err(failed)?;
    let settings = dryrun_postgres::settings(session.client())
        .await
        .map_err(failed)?;
    found.extend(
        settings
            .into_iter()
            .map(|setting| (setting.name, setting.value)),
    );
    Ok(found)
}
