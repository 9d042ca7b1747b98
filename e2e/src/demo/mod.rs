//! `cargo demo`: the main job from nothing to its verdict. A tool is let loose on a copy of production: alice asks for it, bob approves the exact
//! plan, the operator does the rest. Everything that is applied stands in `e2e/demo` for people to read.

mod follow;
mod probes;
mod times;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use dryrun_core::api::{DryRun, DryRunReport, Outcome};
use jiff::{SignedDuration, Timestamp};
use kube::{Api, ResourceExt};

use crate::{
    cluster::{Cluster, Options},
    fixture::{APPROVER, Kubectl, REHEARSAL, REQUESTER, Rehearsal, SYSTEM, demo, fill, until},
    toolchain::{
        interrupt::{self, Interrupted},
        progress::Progress,
    },
};
use follow::Board;

/// Name of the DryRun and of its approval, as in the manifests.
const NAME: &str = "cutter-v0-4";
/// How long the operator may take to resolve a plan.
const PLAN: Duration = Duration::from_secs(60);
/// How long the run may take: a little more than `deadlines.total` of the manifest, and its teardown.
const RUN: Duration = Duration::from_secs(35 * 60);
/// How long the approval is good for.
const APPROVAL: SignedDuration = SignedDuration::from_hours(1);

/// The demo, from nothing to the verdict. `program` is this crate's own program.
///
/// # Errors
/// A phase fails, a gate of the run does, or an interrupt ends it: what is up by then stays.
pub async fn run(program: PathBuf) -> Result<()> {
    let progress = Progress::new();
    let cluster = cluster(program, &progress).await?;
    let played = interrupt::unless(play(cluster, &progress)).await;
    if played
        .as_ref()
        .is_err_and(|error| error.is::<Interrupted>())
    {
        progress.say("the cluster stays up, with what is in it: `cargo cluster down` removes one that was brought up here");
    }
    played
}

async fn play(cluster: Cluster, progress: &Progress) -> Result<()> {
    let demo = Demo {
        rehearsal: Rehearsal::of(cluster, progress.clone()),
        progress: progress.clone(),
    };
    demo.prepare().await?;
    let requested = demo.request().await?;
    demo.approve(&requested).await?;
    let finished = demo.watch().await?;
    demo.report(&finished).await
}

/// The cluster that `KUBECONFIG` names, else the local one, which is brought up if need be.
async fn cluster(program: PathBuf, progress: &Progress) -> Result<Cluster> {
    if let Some(cluster) = interrupt::unless(Cluster::find(progress)).await? {
        return Ok(cluster);
    }
    let options = Options {
        nodes: 1,
        permissive: false,
        program,
    };
    Cluster::up(&options, progress).await
}

struct Demo {
    rehearsal: Rehearsal,
    progress: Progress,
}

impl Demo {
    /// Production with its data, the operator, and who may do what.
    async fn prepare(&self) -> Result<()> {
        self.progress
            .phase("removing the run of an earlier demo", async |_| {
                self.clear().await
            })
            .await?;
        self.rehearsal.prepare(&[]).await?;
        self.progress
            .phase("saying who may ask and who may approve", async |_| {
                self.rehearsal
                    .apply(&["--filename"], &demo("rehearsal"))
                    .await
            })
            .await
    }

    /// What an earlier demo in the same cluster left that cannot be changed.
    async fn clear(&self) -> Result<()> {
        if self
            .rehearsal
            .administrator
            .run(&[
                "get",
                "customresourcedefinition",
                "dryruns.dryrun.dev",
                "--ignore-not-found",
                "--output=name",
            ])
            .await?
            .is_empty()
        {
            return Ok(());
        }
        for objects in [
            ["dryrun", NAME],
            ["dryrunapproval", NAME],
            ["configmap", "iu-cutter"],
            ["configmap", "dr-harness"],
        ] {
            self.rehearsal
                .administrator
                .run(&[
                    "delete",
                    objects[0],
                    objects[1],
                    "--namespace",
                    REHEARSAL,
                    "--ignore-not-found",
                    "--timeout=120s",
                ])
                .await?;
        }
        Ok(())
    }

    /// Alice hands in the tool under test, its scenarios and the DryRun, and waits for the plan.
    async fn request(&self) -> Result<DryRun> {
        let alice = Kubectl::user(&self.rehearsal.cluster, REQUESTER)?;
        let request = self.rehearsal.request().await?;
        for input in &request.inputs {
            alice
                .feed(&["create", "--filename=-"], &serde_json::to_string(input)?)
                .await?;
        }
        println!("\n{REQUESTER}$ kubectl apply -f e2e/demo/dryrun.yaml");
        print!(
            "{}",
            alice
                .feed(&["apply", "--filename=-"], &request.manifest)
                .await?
        );
        let planned = until(
            &self.dry_runs().await?,
            NAME,
            PLAN,
            |_| (),
            |run| plan_hash(run).is_some(),
        )
        .await?;
        let plan = planned
            .status
            .as_ref()
            .and_then(|status| status.plan.as_ref())
            .context("the DryRun has no plan")?;
        println!("\nThe plan is this spec and what the operator resolved beside it:\n");
        println!("{}", indented(&serde_saphyr::to_string(&plan.resolved)?));
        println!("    {}", plan.hash);
        Ok(planned)
    }

    /// Bob approves this plan of this object, and no other.
    async fn approve(&self, requested: &DryRun) -> Result<()> {
        let bob = Kubectl::user(&self.rehearsal.cluster, APPROVER)?;
        let manifest = fill(
            &fs::read_to_string(demo("approval.yaml")).context("reading the approval")?,
            &[
                (
                    "DRY_RUN_UID",
                    &requested.uid().context("the DryRun has no UID")?,
                ),
                (
                    "PLAN_HASH",
                    plan_hash(requested).context("the DryRun has no plan")?,
                ),
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
        let over = |run: &DryRun| {
            run.status
                .as_ref()
                .is_some_and(|status| status.outcome.is_some())
        };
        until(&self.dry_runs().await?, NAME, RUN, show, over).await
    }

    /// What a person sees of the run, how long its commands took, and how to go on from here.
    async fn report(&self, finished: &DryRun) -> Result<()> {
        println!("\n$ kubectl describe dryrun {NAME}\n");
        print!(
            "{}",
            self.rehearsal
                .administrator
                .run(&["describe", "dryrun", NAME, "--namespace", REHEARSAL])
                .await?
        );
        let status = finished
            .status
            .as_ref()
            .context("the DryRun has no status")?;
        if let Some(report) = &status.report {
            let reports: Api<DryRunReport> =
                Api::namespaced(self.rehearsal.cluster.client().await?, REHEARSAL);
            let found = reports.get(report).await?.status.unwrap_or_default();
            println!("\nConnections of attempts, by who tried to reach what:\n");
            for line in probes::table(&found.facts.isolation) {
                println!("  {line}");
            }
            let probing = probes::milliseconds(&found.facts.isolation);
            println!(
                "\nTime of each command; {probing} ms of it were probes and their controls:\n"
            );
            for line in times::table(
                &found.facts.began,
                found.finished_at.map_or_else(Timestamp::now, |at| at.0),
            ) {
                println!("  {line}");
            }
        }
        let kubectl = self.rehearsal.cluster.kubectl();
        println!("\nThe cluster stays up. To look around:\n");
        println!(
            "  export KUBECONFIG={} PATH={}:$PATH",
            self.rehearsal.administrator.kubeconfig().display(),
            kubectl.parent().unwrap_or(&kubectl).display()
        );
        println!("  kubectl get dryruns,dryrunreports --namespace {REHEARSAL}");
        println!("  kubectl describe dryrunreports --namespace {REHEARSAL}");
        println!("  kubectl get pods --all-namespaces");
        println!("  kubectl logs --namespace {SYSTEM} deployment/dryrun-operator");
        println!("  cargo cluster down\n");
        ensure!(
            status.outcome == Some(Outcome::Passed),
            "the run did not pass; failed: {}",
            status.failed_gate.as_deref().unwrap_or("no gate")
        );
        Ok(())
    }

    async fn dry_runs(&self) -> Result<Api<DryRun>> {
        Ok(Api::namespaced(
            self.rehearsal.cluster.client().await?,
            REHEARSAL,
        ))
    }
}

/// The hash of the plan that waits for approval.
fn plan_hash(run: &DryRun) -> Option<&str> {
    run.status
        .as_ref()?
        .plan
        .as_ref()
        .map(|plan| plan.hash.as_str())
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
