//! `kubectl` as one user.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tokio::process::Command;

use crate::{cluster::Cluster, command};

/// `kubectl`, acting as one user.
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// As the cluster's administrator.
    pub fn administrator(cluster: &Cluster) -> Self {
        Self {
            program: cluster.kubectl(),
            kubeconfig: cluster.kubeconfig().to_owned(),
        }
    }

    /// As `user`: by a client certificate that the local cluster's authority signed, by impersonation in another cluster.
    ///
    /// # Errors
    /// The kubeconfig cannot be made.
    pub fn user(cluster: &Cluster, user: &str) -> Result<Self> {
        Ok(Self {
            program: cluster.kubectl(),
            kubeconfig: cluster.user_kubeconfig(user, None)?,
        })
    }

    /// Where this user's kubeconfig is.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Runs `kubectl` and gives what it prints.
    ///
    /// # Errors
    /// It fails: what it says is part of the error.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        command::stdout(self.command().args(arguments)).await
    }

    /// Runs `kubectl` with `manifest` on its standard input.
    ///
    /// # Errors
    /// As [`Kubectl::run`].
    pub async fn feed(&self, arguments: &[&str], manifest: &str) -> Result<String> {
        command::pipe(self.command().args(arguments), manifest).await
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env_remove("KUBECONFIG")
            .arg("--kubeconfig")
            .arg(&self.kubeconfig);
        command
    }
}
