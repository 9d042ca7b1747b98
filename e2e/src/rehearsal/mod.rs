//! What must be there before a DryRun can be asked for: production with its data, the operator, and what a requester hands in. The demo and
//! the operator's tests begin here. Everything that is applied stands in `e2e/demo` for people to read.

mod kubectl;
mod manifest;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use dryrun_core::api::DryRun;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::{ByteString, api::core::v1::ConfigMap};
use kube::{
    Api,
    api::ObjectMeta,
    runtime::{WatchStreamExt, watcher},
};
use tokio::process::Command;

use crate::{
    cluster::Cluster,
    command,
    images::{Archive, Image},
    phase::Progress,
    release,
    tools::workspace,
};
pub use kubectl::Kubectl;
pub use manifest::fill;

/// Where DryRuns live, as in the manifests.
pub const REHEARSAL: &str = "rehearsal";
/// Where production lives, as in the manifests.
pub const PRODUCTION: &str = "incomex";
/// Where the operator lives.
pub const SYSTEM: &str = "dryrun-system";
/// Asks for runs.
pub const REQUESTER: &str = "alice";
/// Approves them.
pub const APPROVER: &str = "bob";

/// A directory or file of `e2e/demo`.
pub fn demo(path: &str) -> PathBuf {
    workspace().join("e2e/demo").join(path)
}

/// A cluster with production and the operator in it.
pub struct Rehearsal {
    /// The cluster.
    pub cluster: Cluster,
    /// Its administrator.
    pub administrator: Kubectl,
    progress: Progress,
}

/// What a requester hands in.
pub struct Request {
    /// The DryRun, as YAML.
    pub manifest: String,
    /// The inputs that it pins.
    pub inputs: Vec<ConfigMap>,
}

impl Rehearsal {
    /// This cluster, as it is.
    pub fn of(cluster: Cluster, progress: Progress) -> Self {
        Self {
            administrator: Kubectl::administrator(&cluster),
            cluster,
            progress,
        }
    }

    /// Brings production with its data and the operator into the cluster; `values` are further arguments of Helm.
    ///
    /// # Errors
    /// The cluster has a release of the operator that is somebody else's, an image cannot be made, a manifest is refused, or a workload does
    /// not come up.
    pub async fn prepare(&self, values: &[&str]) -> Result<()> {
        release::require_ours(&self.cluster.client().await?).await?;
        let images = self
            .cluster
            .load_images(&[
                Image::Pause,
                Image::Postgres17,
                Image::Python,
                Image::Operator,
            ])
            .await?;
        let operator = images
            .iter()
            .find(|archive| archive.image == Image::Operator)
            .context("the operator's image was not made")?;
        // The namespace of production comes first: the operator gets rights in it.
        self.progress
            .phase("applying production's manifests", async |_| {
                self.apply(&["--kustomize"], &demo("world")).await
            })
            .await?;
        let production =
            self.progress
                .phase("waiting for production's data and workloads", async |_| {
                    self.rolled_out(
                        PRODUCTION,
                        &[
                            "statefulset/postgres",
                            "deployment/directus",
                            "deployment/directus-worker",
                            "deployment/redis",
                        ],
                    )
                    .await
                });
        let operator = self
            .progress
            .phase("installing the operator with Helm", async |_| {
                self.install(operator, values).await
            });
        tokio::try_join!(production, operator).map(drop)
    }

    /// `kubectl apply` of a file or directory.
    ///
    /// # Errors
    /// A manifest is refused.
    pub async fn apply(&self, arguments: &[&str], path: &Path) -> Result<()> {
        let path = path
            .to_str()
            .context("the path of the work tree is not UTF-8")?;
        let arguments: Vec<&str> = ["apply"]
            .iter()
            .chain(arguments)
            .chain([&path])
            .copied()
            .collect();
        self.administrator.run(&arguments).await.map(drop)
    }

    async fn rolled_out(&self, namespace: &str, workloads: &[&str]) -> Result<()> {
        for workload in workloads {
            self.administrator
                .run(&[
                    "rollout",
                    "status",
                    workload,
                    "--namespace",
                    namespace,
                    "--timeout=180s",
                ])
                .await?;
        }
        Ok(())
    }

    async fn install(&self, operator: &Archive, values: &[&str]) -> Result<()> {
        let (_, tag) = operator
            .name
            .rsplit_once(':')
            .context("the operator's image has no tag")?;
        let mut helm = Command::new(self.cluster.helm());
        helm.args([
            "upgrade",
            "--install",
            release::NAME,
            &release::mark(),
            "--namespace",
            SYSTEM,
            "--create-namespace",
            "--wait",
            "--timeout=180s",
        ]);
        helm.arg("--values")
            .arg(demo("operator.yaml"))
            .arg(format!("--set=image.tag={tag}"))
            .args(values);
        helm.arg(workspace().join("charts/dryrun-operator"))
            .env("KUBECONFIG", self.cluster.kubeconfig());
        command::stdout(&mut helm).await.map(drop)
    }

    /// The demo's DryRun with its places filled in, and the tool under test with its harness.
    ///
    /// # Errors
    /// A file of the demo cannot be read, or production does not answer.
    pub async fn request(&self) -> Result<Request> {
        let source = manifest::pack(&demo("iu-cutter"))?;
        let harness = fs::read(demo("dr_harness_v0_4.py")).context("reading the harness")?;
        let identifier = self
            .query("directus", include_str!("system_identifier.sql"))
            .await?;
        let manifest = fill(
            &fs::read_to_string(demo("dryrun.yaml")).context("reading the DryRun")?,
            &[
                ("SYSTEM_IDENTIFIER", &identifier),
                ("IU_CUTTER_SHA256", &manifest::sha256(&source)),
                ("DR_HARNESS_SHA256", &manifest::sha256(&harness)),
            ],
        )?;
        let inputs = vec![
            config_map("iu-cutter", "source.tar", source),
            config_map("dr-harness", "dr_harness_v0_4.py", harness),
        ];
        Ok(Request { manifest, inputs })
    }

    /// What production's administrator is told by `psql`, values alone. `script` may hold several statements.
    ///
    /// # Errors
    /// A statement fails.
    pub async fn query(&self, database: &str, script: &str) -> Result<String> {
        let database = format!("--dbname={database}");
        let arguments = [
            "exec",
            "--stdin",
            "--namespace",
            PRODUCTION,
            "statefulset/postgres",
            "--container=postgres",
            "--",
            "psql",
            "--username=postgres",
            &database,
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--set=ON_ERROR_STOP=1",
        ];
        let answer = self.administrator.feed(&arguments, script).await?;
        Ok(answer.trim().to_owned())
    }
}

/// An input of the harness, as a ConfigMap that nobody can change.
fn config_map(name: &str, key: &str, contents: Vec<u8>) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(REHEARSAL.to_owned()),
            ..ObjectMeta::default()
        },
        binary_data: Some(BTreeMap::from([(key.to_owned(), ByteString(contents))])),
        immutable: Some(true),
        ..ConfigMap::default()
    }
}

/// The first state of the DryRun in which `done` holds; every state on the way is shown to `see`.
///
/// # Errors
/// The time limit passes first, or the DryRun vanishes.
pub async fn until(
    api: &Api<DryRun>,
    name: &str,
    limit: Duration,
    mut see: impl FnMut(&DryRun),
    done: impl Fn(&DryRun) -> bool,
) -> Result<DryRun> {
    let only_this = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let states = watcher(api.clone(), only_this)
        .default_backoff()
        .applied_objects();
    let follow = async {
        let mut states = states.boxed();
        while let Some(state) = states.try_next().await? {
            see(&state);
            if done(&state) {
                return Ok(state);
            }
        }
        bail!("the DryRun is gone")
    };
    tokio::time::timeout(limit, follow)
        .await
        .with_context(|| format!("DryRun {name}: not within {} s", limit.as_secs()))?
}
