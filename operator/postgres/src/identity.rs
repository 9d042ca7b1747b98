//! The server that answers.

use dryrun_core::{postgres::sql::system_identifier, run::facts::SourceIdentity};
use tokio_postgres::GenericClient;

use crate::{error::Result, query, sql::IDENTITY};

/// Identity of a server.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Identifier, version, start, timeline and address.
    pub server: SourceIdentity,
    /// `cluster_name`: in a copy, the UID of its run.
    pub cluster_name: String,
}

/// Reads the identity of the session's server. Its names are those of pg_catalog under every search
/// path.
pub async fn identity(client: &impl GenericClient) -> Result<Identity> {
    query::row(client, "read the server's identity", IDENTITY, &[], |row| {
        Ok(Identity {
            server: SourceIdentity {
                system_identifier: system_identifier(row.try_get("system_identifier")?),
                version_num: row.try_get::<_, i32>("version_num")?.cast_unsigned(),
                started_at: row.try_get("started_at")?,
                timeline: row.try_get::<_, i32>("timeline_id")?.cast_unsigned(),
                address: row.try_get("address")?,
                in_recovery: row.try_get("in_recovery")?,
            },
            cluster_name: row.try_get("cluster_name")?,
        })
    })
    .await
}
