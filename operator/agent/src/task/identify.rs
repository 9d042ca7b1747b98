//! C-13: production's identity, read again.

use dryrun_core::{agent_api::tasks::IdentifyTask, run::facts::SourceIdentity};
use dryrun_postgres::Options;

use super::{Agent, READING};
use crate::{
    connection::Credentials,
    failure::{self, Result},
};

/// Reads it in a read-only session.
pub(super) async fn run(agent: &Agent, task: &IdentifyTask) -> Result<SourceIdentity> {
    let session = Credentials::read(&agent.secrets, &task.server)?
        .connect(&task.server.database, READING, &Options::read_only())
        .await?;
    let identity = dryrun_postgres::identity(&session.client)
        .await
        .map_err(failure::unrecognised)?;
    session.close().await;
    Ok(identity.server)
}
