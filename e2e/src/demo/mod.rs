//! `cargo demo`: the main job from nothing to its verdict. A tool is let loose on a copy of production: alice asks for it, bob approves the exact
//! plan, the operator does the rest. Everything that is applied stands in `e2e/demo` for people to read.

mod follow;
mod kubectl;
mod manifest;
mod times;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use dryrun_core::api::{DryRun, DryRunReport, Outcome};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, api::core::v1::ConfigMap};
use kube::{Api, ResourceExt, api::ObjectMeta};
use tokio::process::Command;

use crate::{
    cluster::{Cluster, Options},
    command,
    images::{Archive, Image},
    phase::Progress,
    tools::workspace,
};
use follow::Board;
use kubectl::Kubectl;

/// Name of the DryRun and of its approval, as in the manifests.
const NAME: &str = "cutter-v0-4";
/// Where DryRuns live, as in the manifests.
const REHEARSAL: &str = "rehearsal";
/// Where production lives, as in the manifests.
const PRODUCTION: &str = "incomex";
/// Where the operator lives.
const SYSTEM: &str = "dryrun-system";
/// Asks for the run.
const REQUESTER: &str = "alice";
/// Approves it.
const APPROVER: &str = "bob";

/// How long the operator may take to resolve a plan.
const PLAN: Duration = Duration::from_secs(60);
/// How long the run may take: a little more than `deadlines.total` of the manifest, and its teardown.
const RUN: Duration = Duration::from_secs(35 * 60);
/// How long the approval is good for.
const APPROVAL: SignedDuration = SignedDuration::from_hours(1);

/// The demo, from nothing to the verdict. `program` is this crate's own program.
///
/// # Errors
/// A phase fails, or a gate of the run does.
pub async fn run(program: PathBuf) -> Result<()> {
    let progress = Progress::new();
    let cluster = cluster(program, &progress).await?;
    let demo = Demo { administrator: Kubectl::administrator(&cluster), cluster, progress };
    demo.prepare().await?;
    let requested = demo.request().await?;
    demo.approve(&requested).await?;
    let finished = demo.watch().await?;
    demo.report(&finished).await
}

/// The cluster that `KUBECONFIG` names, else the local one, which is brought up if need be.
async fn cluster(program: PathBuf, progress: &Progress) -> Result<Cluster> {
    if let Some(cluster) = Cluster::existing(progress).await? {
        return Ok(cluster);
    }
    match Cluster::running(progress).await? {
        Some(cluster) => Ok(cluster),
        None => Cluster::up(&Options { nodes: 1, permissive: false, program }, progress).await,
    }
}

/// A directory or file of `e2e/demo`.
fn demo(path: &str) -> PathBuf {
    workspace().join("e2e/demo").join(path)
}

struct Demo {
    cluster: Cluster,
    administrator: Kubectl,
    progress: Progress,
}

impl Demo {
    /// Production with its data, the operator, and who may do what.
    async fn prepare(&self) -> Result<()> {
        let images = self.cluster.load_images(&[Image::Pause, Image::Postgres17, Image::Python, Image::Operator]).await?;
        let operator = images.iter().find(|archive| archive.image == Image::Operator).context("the operator's image was not made")?;
        self.progress.phase("removing the run of an earlier demo", async |_| self.clear().await).await?;
        // The namespace of production comes first: the operator gets rights in it.
        self.progress.phase("applying production's manifests", async |_| self.apply(&["--kustomize"], &demo("world")).await).await?;
        let production = self.progress.phase("waiting for production's data and workloads", async |_| {
            self.rolled_out(PRODUCTION, &["statefulset/postgres", "deployment/directus", "deployment/directus-worker", "deployment/redis"]).await
        });
        let operator = self.progress.phase("installing the operator with Helm", async |_| self.install(operator).await);
        tokio::try_join!(production, operator)?;
        self.progress.phase("saying who may ask and who may approve", async |_| self.apply(&["--filename"], &demo("rehearsal")).await).await
    }

    /// What an earlier demo in the same cluster left that cannot be changed.
    async fn clear(&self) -> Result<()> {
        if self.administrator.run(&["get", "customresourcedefinition", "dryruns.dryrun.dev", "--ignore-not-found", "--output=name"]).await?.is_empty() {
            return Ok(());
        }
        for objects in [["dryrun", NAME], ["dryrunapproval", NAME], ["configmap", "iu-cutter"], ["configmap", "dr-harness"]] {
            self.administrator.run(&["delete", objects[0], objects[1], "--namespace", REHEARSAL, "--ignore-not-found", "--timeout=120s"]).await?;
        }
        Ok(())
    }

    async fn apply(&self, arguments: &[&str], path: &Path) -> Result<()> {
        let path = path.to_str().context("the path of the work tree is not UTF-8")?;
        let arguments: Vec<&str> = ["apply"].iter().chain(arguments).chain([&path]).copied().collect();
        self.administrator.run(&arguments).await.map(drop)
    }

    async fn rolled_out(&self, namespace: &str, workloads: &[&str]) -> Result<()> {
        for workload in workloads {
            self.administrator.run(&["rollout", "status", workload, "--namespace", namespace, "--timeout=180s"]).await?;
        }
        Ok(())
    }

    async fn install(&self, operator: &Archive) -> Result<()> {
        let (_, tag) = operator.name.rsplit_once(':').context("the operator's image has no tag")?;
        let mut helm = Command::new(self.cluster.helm());
        helm.args(["upgrade", "--install", "dryrun", "--namespace", SYSTEM, "--create-namespace", "--wait", "--timeout=180s"]);
        helm.arg("--values").arg(demo("operator.yaml")).arg(format!("--set=image.tag={tag}"));
        helm.arg(workspace().join("charts/dryrun-operator")).env("KUBECONFIG", self.cluster.kubeconfig());
        command::stdout(&mut helm).await.map(drop)
    }

    /// Alice hands in the tool under test, its scenarios and the DryRun, and waits for the plan.
    async fn request(&self) -> Result<DryRun> {
        let alice = Kubectl::user(&self.cluster, REQUESTER)?;
        let source = manifest::pack(&demo("iu-cutter"))?;
        let harness = fs::read(demo("dr_harness_v0_4.py")).context("reading the harness")?;
        let manifest = manifest::fill(
            &fs::read_to_string(demo("dryrun.yaml")).context("reading the DryRun")?,
            &[
                ("SYSTEM_IDENTIFIER", &self.production().await?),
                ("IU_CUTTER_SHA256", &manifest::sha256(&source)),
                ("DR_HARNESS_SHA256", &manifest::sha256(&harness)),
            ],
        )?;
        for input in [config_map("iu-cutter", "source.tar", source), config_map("dr-harness", "dr_harness_v0_4.py", harness)] {
            alice.feed(&["create", "--filename=-"], &serde_json::to_string(&input)?).await?;
        }
        println!("\n{REQUESTER}$ kubectl apply -f e2e/demo/dryrun.yaml");
        print!("{}", alice.feed(&["apply", "--filename=-"], &manifest).await?);
        let planned = follow::until(&self.dry_runs().await?, NAME, PLAN, |_| (), |run| plan_hash(run).is_some()).await?;
        let plan = planned.status.as_ref().and_then(|status| status.plan.as_ref()).context("the DryRun has no plan")?;
        println!("\nThe plan is this spec and what the operator resolved beside it:\n");
        println!("{}", indented(&serde_saphyr::to_string(&plan.resolved)?));
        println!("    {}", plan.hash);
        Ok(planned)
    }

    /// Bob approves this plan of this object, and no other.
    async fn approve(&self, requested: &DryRun) -> Result<()> {
        let bob = Kubectl::user(&self.cluster, APPROVER)?;
        let manifest = manifest::fill(
            &fs::read_to_string(demo("approval.yaml")).context("reading the approval")?,
            &[
                ("DRY_RUN_UID", &requested.uid().context("the DryRun has no UID")?),
                ("PLAN_HASH", plan_hash(requested).context("the DryRun has no plan")?),
                ("EXPIRES_AT", &format!("{:.0}", Timestamp::now() + APPROVAL)),
            ],
        )?;
        println!("\n{APPROVER}$ kubectl apply -f e2e/demo/approval.yaml");
        print!("{}", bob.feed(&["apply", "--filename=-"], &manifest).await?);
        Ok(())
    }

    /// Shows each gate as it turns, until the run is over.
    async fn watch(&self) -> Result<DryRun> {
        println!();
        let mut board = Board::new();
        let show = |run: &DryRun| {
            let elapsed = board.elapsed().as_secs_f64();
            for line in run.status.iter().flat_map(|status| board.update(status)) {
                println!("{elapsed:>7.1}s  {line}");
            }
        };
        let over = |run: &DryRun| run.status.as_ref().is_some_and(|status| status.outcome.is_some());
        follow::until(&self.dry_runs().await?, NAME, RUN, show, over).await
    }

    /// What a person sees of the run, how long its commands took, and how to go on from here.
    async fn report(&self, finished: &DryRun) -> Result<()> {
        println!("\n$ kubectl describe dryrun {NAME}\n");
        print!("{}", self.administrator.run(&["describe", "dryrun", NAME, "--namespace", REHEARSAL]).await?);
        let status = finished.status.as_ref().context("the DryRun has no status")?;
        if let Some(report) = &status.report {
            let reports: Api<DryRunReport> = Api::namespaced(self.cluster.client().await?, REHEARSAL);
            let found = reports.get(report).await?.status.unwrap_or_default();
            println!("\nTime of each command:\n");
            for line in times::table(&found.facts.began, found.finished_at.map_or_else(Timestamp::now, |at| at.0)) {
                println!("  {line}");
            }
        }
        let kubectl = self.cluster.kubectl();
        println!("\nThe cluster stays up. To look around:\n");
        println!("  export KUBECONFIG={} PATH={}:$PATH", self.administrator.kubeconfig().display(), kubectl.parent().unwrap_or(&kubectl).display());
        println!("  kubectl get dryruns,dryrunreports --namespace {REHEARSAL}");
        println!("  kubectl describe dryrunreports --namespace {REHEARSAL}");
        println!("  kubectl get pods --all-namespaces");
        println!("  kubectl logs --namespace {SYSTEM} deployment/dryrun-operator");
        println!("  cargo cluster down\n");
        ensure!(status.outcome != Some(Outcome::Failed), "the run failed at {}", status.failed_gate.as_deref().unwrap_or("no gate"));
        Ok(())
    }

    /// Production's system identifier, as its administrator reads it on the spot.
    async fn production(&self) -> Result<String> {
        let query = concat!("--command=", include_str!("system_identifier.sql"));
        let psql = ["psql", "--username=postgres", "--dbname=directus", "--tuples-only", "--no-align", query];
        let arguments: Vec<&str> = ["exec", "--namespace", PRODUCTION, "statefulset/postgres", "--container=postgres", "--"].into_iter().chain(psql).collect();
        Ok(self.administrator.run(&arguments).await?.trim().to_owned())
    }

    async fn dry_runs(&self) -> Result<Api<DryRun>> {
        Ok(Api::namespaced(self.cluster.client().await?, REHEARSAL))
    }
}

/// The hash of the plan that waits for approval.
fn plan_hash(run: &DryRun) -> Option<&str> {
    run.status.as_ref()?.plan.as_ref().map(|plan| plan.hash.as_str())
}

/// An input of the harness, as a ConfigMap that nobody can change.
fn config_map(name: &str, key: &str, contents: Vec<u8>) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta { name: Some(name.to_owned()), namespace: Some(REHEARSAL.to_owned()), ..ObjectMeta::default() },
        binary_data: Some(BTreeMap::from([(key.to_owned(), ByteString(contents))])),
        immutable: Some(true),
        ..ConfigMap::default()
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
