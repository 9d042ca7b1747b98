//! The chart, installed with Helm.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dryrun_e2e::cluster::Cluster;
use dryrun_e2e::command;
use dryrun_e2e::phase::Progress;
use dryrun_e2e::tools::workspace;
use futures::future::try_join_all;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::core::v1::{Namespace, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::conditions::is_deleted;
use kube::runtime::wait::await_condition;
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

/// The rehearsal namespace of these checks.
pub(crate) const REHEARSAL: &str = "chart-rehearsal";
/// A rehearsal namespace that is deleted while the policies are in force.
pub(crate) const DOOMED: &str = "chart-doomed";
/// A protected namespace.
pub(crate) const PROTECTED: &str = "chart-protected";
/// The operator's namespace.
pub(crate) const SYSTEM: &str = "dryrun-system";
/// Name of the release, the demo's as well: CRDs that a removed release has left belong to its name.
const RELEASE: &str = "dryrun";
/// Namespaces that are made for these checks.
const NAMESPACES: [&str; 3] = [REHEARSAL, DOOMED, PROTECTED];
/// How long a namespace may take to go.
const GONE: Duration = Duration::from_secs(60);

/// The chart in a cluster.
pub(crate) struct Release {
    pub(crate) cluster: Cluster,
    client: Client,
}

impl Release {
    /// Installs the chart over whatever an earlier run has left.
    pub(crate) async fn install() -> Result<Self> {
        let cluster = Cluster::find(&Progress::new())
            .await?
            .context("no cluster: set KUBECONFIG, or run `cargo cluster up`")?;
        let client = cluster.client().await?;
        let release = Self { cluster, client };
        release
            .helm(&["uninstall", RELEASE, "--ignore-not-found", "--wait"])
            .await?;
        release.remove_namespaces().await?;
        let namespace = serde_json::from_value(json!({"metadata": {"name": PROTECTED}}))?;
        Api::<Namespace>::all(release.client.clone())
            .create(&PostParams::default(), &namespace)
            .await?;
        release.apply(&[]).await?;
        Ok(release)
    }

    /// Installs or upgrades with these further arguments.
    async fn apply(&self, arguments: &[&str]) -> Result<()> {
        let chart = workspace().join("charts/dryrun-operator");
        let chart = chart
            .to_str()
            .context("the path of the work tree is not UTF-8")?;
        let rehearsal = format!("--set=rehearsalNamespaces={{{REHEARSAL},{DOOMED}}}");
        let protected = format!("--set=protectedNamespaces={{{PROTECTED}}}");
        let fixed = [
            "upgrade",
            "--install",
            "--create-namespace",
            "--set=image.pullPolicy=Never",
            RELEASE,
            chart,
            &rehearsal,
            &protected,
        ];
        let all: Vec<&str> = fixed.iter().chain(arguments).copied().collect();
        self.helm(&all).await
    }

    async fn helm(&self, arguments: &[&str]) -> Result<()> {
        let mut helm = Command::new(self.cluster.helm());
        helm.args(arguments)
            .args(["--namespace", SYSTEM])
            .env("KUBECONFIG", self.cluster.kubeconfig());
        command::stdout(&mut helm).await.map(drop)
    }

    /// The apiserver has no doubts about any expression of our policies.
    pub(crate) async fn policies_are_well_typed(&self) -> Result<()> {
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(self.client.clone());
        let ours = self.of_release();
        let deadline = tokio::time::Instant::now() + GONE;
        loop {
            let all = policies.list(&ours).await?.items;
            ensure!(
                all.len() == 9,
                "the chart has 9 policies, the cluster {}",
                all.len()
            );
            let checks: Vec<_> = all
                .iter()
                .filter_map(|policy| policy.status.as_ref()?.type_checking.as_ref())
                .collect();
            let doubts: Vec<_> = checks
                .iter()
                .flat_map(|check| check.expression_warnings.iter().flatten())
                .collect();
            ensure!(doubts.is_empty(), "the apiserver doubts: {doubts:#?}");
            if checks.len() == all.len() {
                return Ok(());
            }
            ensure!(
                tokio::time::Instant::now() < deadline,
                "the policies are not checked"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn of_release(&self) -> ListParams {
        ListParams::default().labels(&format!("app.kubernetes.io/instance={RELEASE}"))
    }

    /// An upgrade changes what values say, and passes the policies where it does not.
    pub(crate) async fn upgrade(&self) -> Result<()> {
        self.apply(&["--set=quota.pods=21"]).await?;
        let quota = Api::<ResourceQuota>::namespaced(self.client.clone(), REHEARSAL)
            .get("dryrun")
            .await?;
        let hard = quota.spec.and_then(|spec| spec.hard).unwrap_or_default();
        ensure!(
            hard.get("pods").is_some_and(|pods| pods.0 == "21"),
            "the quota was not upgraded: {hard:?}"
        );
        println!("upgraded");
        Ok(())
    }

    /// An uninstall leaves what holds reports and keeps rehearsal namespaces closed, and nothing else.
    pub(crate) async fn uninstall(self) -> Result<()> {
        self.helm(&["uninstall", RELEASE, "--wait"]).await?;
        let ours = self.of_release();
        let policies = Api::<ValidatingAdmissionPolicy>::all(self.client.clone())
            .list(&ours)
            .await?;
        let roles = Api::<ClusterRole>::all(self.client.clone())
            .list(&ours)
            .await?;
        ensure!(
            policies.items.is_empty() && roles.items.is_empty(),
            "the uninstall left policies or roles"
        );
        Api::<NetworkPolicy>::namespaced(self.client.clone(), REHEARSAL)
            .get("dryrun-deny-all")
            .await?;
        let crds: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        for crd in dryrun_core::api::crds() {
            crds.get(&crd.name_any()).await?;
        }
        println!("uninstalled; CRDs, namespaces and deny-all are still there");
        self.remove_namespaces().await
    }

    async fn remove_namespaces(&self) -> Result<()> {
        try_join_all(NAMESPACES.map(async |name| remove_namespace(&self.client, name).await))
            .await
            .map(drop)
    }
}

/// Deletes a namespace and waits until it is gone.
pub(crate) async fn remove_namespace(client: &Client, name: &str) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let Some(found) = namespaces.get_opt(name).await? else {
        return Ok(());
    };
    namespaces.delete(name, &DeleteParams::default()).await?;
    let uid = found.uid().context("a namespace has no UID")?;
    timeout(GONE, await_condition(namespaces, name, is_deleted(&uid)))
        .await
        .with_context(|| format!("{name} does not go"))??;
    Ok(())
}
