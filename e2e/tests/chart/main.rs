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

use actors::Desk;
use release::Release;

#[tokio::test]
async fn chart() -> Result<()> {
    let release = Release::install().await?;
    let desk = Desk::open(&release).await?;
    release.policies_are_well_typed().await?;
    schema::check(&desk).await?;
    permissions::check(&desk).await?;
    approvals::check(&desk).await?;
    guards::check(&desk).await?;
    guards::namespace_goes(&desk).await?;
    release.policies_are_guarded().await?;
    release.lock_out_has_a_way_out().await?;
    desk.close().await?;
    release.upgrade().await?;
    release.uninstall().await
}
