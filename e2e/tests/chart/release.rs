//! Installation, upgrade and removal of the chart with Helm.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dryrun_core::plan::admission::{Enforcement, Found, Policies, Reading};
use dryrun_e2e::cluster::Cluster;
use dryrun_e2e::fixture::release;
use dryrun_e2e::toolchain::command;
use dryrun_e2e::toolchain::progress::Progress;
use dryrun_e2e::toolchain::workspace;
use futures::future::try_join_all;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::conditions::is_deleted;
use kube::runtime::wait::await_condition;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

use crate::actors::ROOT;

/// The rehearsal namespace of these checks.
pub(crate) const REHEARSAL: &str = "chart-rehearsal";
/// A rehearsal namespace that is deleted while the policies are active.
pub(crate) const DOOMED: &str = "chart-doomed";
/// The canaries' namespace, which the release creates and removes.
pub(crate) const PROBES: &str = "dryrun-probes";
/// A protected namespace.
pub(crate) const PROTECTED: &str = "chart-protected";
/// The operator's namespace.
pub(crate) const SYSTEM: &str = "dryrun-system";
/// Namespaces created for these checks.
const NAMESPACES: [&str; 3] = [REHEARSAL, DOOMED, PROTECTED];
/// Additional arguments of an upgrade that restores modified policies.
const REPAIR: &[&str] = &["--force-conflicts"];
/// Deadline for the deletion of a namespace.
const GONE: Duration = Duration::from_secs(60);

/// The chart in a cluster.
pub(crate) struct Release {
    pub(crate) cluster: Cluster,
    client: Client,
}

impl Release {
    /// Installs the chart over the remains of an earlier test or of the demo.
    pub(crate) async fn install() -> Result<Self> {
        let cluster = Cluster::find(&Progress::new())
            .await?
            .context("no cluster: set KUBECONFIG, or run `cargo cluster up`")?;
        let client = cluster.client().await?;
        release::require_ours(&client).await?;
        let release = Self { cluster, client };
        release
            .helm(&["uninstall", release::NAME, "--ignore-not-found", "--wait"])
            .await?;
        release.remove_namespaces().await?;
        let namespace = serde_json::from_value(json!({"metadata": {"name": PROTECTED}}))?;
        Api::<Namespace>::all(release.client.clone())
            .create(&PostParams::default(), &namespace)
            .await?;
        release.apply(&[]).await?;
        Ok(release)
    }

    /// Installs or upgrades with additional arguments.
    async fn apply(&self, arguments: &[&str]) -> Result<()> {
        let chart = workspace().join("charts/dryrun-operator");
        let chart = chart
            .to_str()
            .context("the path of the work tree is not UTF-8")?;
        let rehearsal = format!("--set=rehearsalNamespaces={{{REHEARSAL},{DOOMED}}}");
        let protected = format!("--set=protectedNamespaces={{{PROTECTED}}}");
        let mark = release::mark();
        let fixed = [
            "upgrade",
            "--install",
            "--create-namespace",
            "--set=image.pullPolicy=Never",
            &mark,
            release::NAME,
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

    /// The apiserver reports no type-checking warnings for the policies' expressions.
    pub(crate) async fn policies_are_well_typed(&self) -> Result<()> {
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(self.client.clone());
        let ours = self.of_release();
        let deadline = tokio::time::Instant::now() + GONE;
        loop {
            let all = policies.list(&ours).await?.items;
            ensure!(
                all.len() == 14,
                "the chart has 14 policies, the cluster {}",
                all.len()
            );
            let checks: Vec<_> = all
                .iter()
                .filter_map(|policy| policy.status.as_ref()?.type_checking.as_ref())
                .collect();
            let warnings: Vec<_> = checks
                .iter()
                .flat_map(|check| check.expression_warnings.iter().flatten())
                .collect();
            ensure!(warnings.is_empty(), "the apiserver warnings: {warnings:#?}");
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

    /// The operator compares the active policies with those of the chart: initially both are equal,
    /// and each modification is reported until an upgrade restores it.
    pub(crate) async fn policies_are_guarded(&self) -> Result<()> {
        self.in_force("Whole").await?;
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(self.client.clone());
        let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(self.client.clone());
        let merge = PatchParams::default();

        policies
            .delete("dryrun-approver", &DeleteParams::default())
            .await?;
        self.in_force("PolicyMissing").await?;
        self.apply(REPAIR).await?;
        self.in_force("Whole").await?;

        let lenient = json!({"spec": {"validationActions": ["Audit"]}});
        bindings
            .patch("dryrun-requester", &merge, &Patch::Merge(lenient))
            .await?;
        self.in_force("PolicyAltered").await?;
        self.apply(REPAIR).await?;
        self.in_force("Whole").await?;

        let nowhere =
            json!({"spec": {"matchConstraints": {"objectSelector": {"matchLabels": {"a": "b"}}}}});
        policies
            .patch("dryrun-records", &merge, &Patch::Merge(nowhere))
            .await?;
        self.in_force("PolicyAltered").await?;
        self.apply(REPAIR).await?;
        self.in_force("Whole").await
    }

    /// An installer who is not among the chart's admins is refused at the next upgrade, with an
    /// explanation, and can recover.
    pub(crate) async fn locked_out_installer_can_recover(&self) -> Result<()> {
        let them = format!("--kube-as-user={ROOT}");
        let admins = format!("--set=admins.users={{{ROOT}}}");
        let refused = self.apply(&[&them, &admins]).await;
        let message = format!(
            "{:#}",
            refused.err().context("the upgrade was not refused")?
        );
        let expected = format!(
            "maintained by the chart's admins (values admins.users, admins.groups), not by {ROOT}"
        );
        ensure!(message.contains(&expected), "the message is {message}");

        let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(self.client.clone());
        bindings
            .delete("dryrun-networkpolicies", &DeleteParams::default())
            .await?;
        self.in_force("PolicyMissing").await?;
        // A deleted binding stays active for a moment.
        let deadline = tokio::time::Instant::now() + GONE;
        while let Err(error) = self.apply(&[&them, &admins]).await {
            ensure!(tokio::time::Instant::now() < deadline, "{error:#}");
        }
        self.in_force("Whole").await?;
        self.apply(&[&them, &admins]).await?;
        println!("an installer who was locked out upgrades");
        self.apply(&[]).await
    }

    /// Waits until the operator's view of the policies matches this word.
    async fn in_force(&self, expected: &str) -> Result<()> {
        let mounted: Api<ConfigMap> = Api::namespaced(self.client.clone(), SYSTEM);
        let mounted = mounted.get("dryrun-admission-policies").await?;
        let text = mounted
            .data
            .and_then(|mut data| data.remove("policies.yaml"))
            .context("the chart mounts no policies")?;
        let (mut policies, mut bindings) = (Vec::new(), Vec::new());
        for object in serde_saphyr::from_multiple::<serde_json::Value>(&text)? {
            if object["kind"] == "ValidatingAdmissionPolicy" {
                policies.push(serde_json::from_value(object)?);
            } else {
                bindings.push(serde_json::from_value(object)?);
            }
        }
        let chart = Policies::new(policies, bindings).map_err(anyhow::Error::msg)?;
        let found = Found {
            policies: by_name(Api::all(self.client.clone())).await?,
            bindings: by_name(Api::all(self.client.clone())).await?,
        };
        let seen = chart.judge(&found);
        let holds = match &seen {
            Enforcement::Whole { .. } => expected == "Whole",
            Enforcement::Broken(problem) => expected == problem.reason,
            Enforcement::Unseen => false,
        };
        ensure!(holds, "expected {expected}, seen {seen:?}");
        println!("the policies are {seen:?}");
        Ok(())
    }

    fn of_release(&self) -> ListParams {
        ListParams::default().labels(&format!("app.kubernetes.io/instance={}", release::NAME))
    }

    /// An upgrade applies changed values, and is not blocked by the policies elsewhere.
    pub(crate) async fn upgrade(&self) -> Result<()> {
        self.apply(&["--set=quota.pods=21", "--set=image.pullSecrets={registry}"])
            .await?;
        let quota = Api::<ResourceQuota>::namespaced(self.client.clone(), REHEARSAL)
            .get("dryrun")
            .await?;
        let hard = quota.spec.and_then(|spec| spec.hard).unwrap_or_default();
        ensure!(
            hard.get("pods").is_some_and(|pods| pods.0 == "21"),
            "the quota was not upgraded: {hard:?}"
        );
        let operator = Api::<Deployment>::namespaced(self.client.clone(), SYSTEM)
            .get("dryrun-operator")
            .await?;
        let pod = operator.spec.and_then(|spec| spec.template.spec);
        let secrets = pod.and_then(|pod| pod.image_pull_secrets);
        ensure!(
            secrets
                .iter()
                .flatten()
                .map(|of| of.name.as_str())
                .eq(["registry"]),
            "the image is pulled with {secrets:?}"
        );
        println!("upgraded");
        Ok(())
    }

    /// An uninstall keeps the CRDs, the rehearsal namespaces and their deny-all policies, and
    /// removes the rest.
    pub(crate) async fn uninstall(self) -> Result<()> {
        self.helm(&["uninstall", release::NAME, "--wait"]).await?;
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
        let namespaces = Api::<Namespace>::all(self.client.clone());
        let probes = namespaces.get_opt(PROBES).await?;
        ensure!(
            probes.is_none_or(|found| found.metadata.deletion_timestamp.is_some()),
            "the uninstall left {PROBES}"
        );
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

async fn by_name<K>(api: Api<K>) -> Result<BTreeMap<String, Reading<K>>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let all = api.list(&ListParams::default()).await?.items;
    Ok(all
        .into_iter()
        .map(|k| (k.name_any(), Ok(Some(k))))
        .collect())
}

/// Deletes a namespace and waits for its removal.
pub(crate) async fn remove_namespace(client: &Client, name: &str) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let Some(found) = namespaces.get_opt(name).await? else {
        return Ok(());
    };
    namespaces.delete(name, &DeleteParams::default()).await?;
    let uid = found.uid().context("a namespace has no UID")?;
    timeout(GONE, await_condition(namespaces, name, is_deleted(&uid)))
        .await
        .with_context(|| format!("{name} is not deleted"))??;
    Ok(())
}
