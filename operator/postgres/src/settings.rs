//! Settings of a server.

use std::collections::BTreeMap;

use tokio_postgres::GenericClient;

use crate::{
    error::Result,
    query,
    sql::{FILE_SETTINGS, SETTINGS},
};

/// A setting, as a new session begins with it.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
    /// The value is the server's own: no role, database or session has another one.
    pub of_server: bool,
}

/// Reads every setting that the role may see. The session must be one of
/// [`crate::Options::plain`]: what its options or a SET change hides the server's own value.
pub async fn settings(client: &impl GenericClient) -> Result<Vec<Setting>> {
    query::rows(client, "read the settings", SETTINGS, &[], |row| {
        Ok(Setting {
            name: row.try_get(0)?,
            value: row.try_get(1)?,
            of_server: row.try_get(2)?,
        })
    })
    .await
}

/// Reads the settings in the server's configuration files, in force or not.
pub async fn file_settings(client: &impl GenericClient) -> Result<BTreeMap<String, String>> {
    let doing = "read the configuration files";
    let found = query::rows(client, doing, FILE_SETTINGS, &[], |row| {
        Ok((row.try_get(0)?, row.try_get(1)?))
    });
    Ok(found.await?.into_iter().collect())
}
