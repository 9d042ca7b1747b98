//! The chart on a real apiserver: the behaviour of its schema, permissions and admission policies,
//! and that upgrade, uninstall and Kubernetes' controllers keep working with them. Run with
//! `--nocapture` to see every check.
//!
//! The operator does not run in these tests, so all results come from the apiserver.

mod actors;
mod approvals;
mod guards;
mod permissions;
mod release;
mod schema;

use anyhow::Result;

use actors::Actors;
use release::Release;

#[tokio::test]
async fn chart() -> Result<()> {
    let release = Release::install().await?;
    let actors = Actors::prepare(&release).await?;
    release.policies_are_well_typed().await?;
    schema::check(&actors).await?;
    permissions::check(&actors).await?;
    approvals::check(&actors).await?;
    guards::check(&actors).await?;
    guards::namespace_is_deleted(&actors).await?;
    release.policies_are_guarded().await?;
    release.locked_out_installer_can_recover().await?;
    actors.teardown().await?;
    release.upgrade().await?;
    release.uninstall().await
}
