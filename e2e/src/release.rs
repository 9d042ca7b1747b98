//! The Helm release of the operator's chart that demo and tests install, upgrade and remove at will, and how it is told from a release that
//! somebody works with.

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt, api::ListParams};

use crate::rehearsal::SYSTEM;

/// Its name. CRDs that a removed release has left belong to it, so there is one for all.
pub const NAME: &str = "dryrun";

const LABEL: (&str, &str) = ("dryrun.dev/installed-by", "dryrun-e2e");

/// Helm's argument that marks the release as ours; Helm keeps the mark in every revision.
pub fn mark() -> String {
    format!("--labels={}={}", LABEL.0, LABEL.1)
}

/// Refuses to touch a release of our name that is not ours.
///
/// # Errors
/// There is one, or the cluster does not answer.
pub async fn require_ours(client: &Client) -> Result<()> {
    let revisions: Api<Secret> = Api::namespaced(client.clone(), SYSTEM);
    let of_it = ListParams::default().labels(&format!("owner=helm,name={NAME}"));
    for revision in revisions.list(&of_it).await? {
        if revision.labels().get(LABEL.0).map(String::as_str) != Some(LABEL.1) {
            bail!(
                "the Helm release {NAME} in {SYSTEM} was not installed by the demo or by a test, which would change and remove it: use another \
                 cluster, or remove it yourself (`helm uninstall {NAME} --namespace {SYSTEM}`)"
            );
        }
    }
    Ok(())
}
