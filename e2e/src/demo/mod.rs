//! `cargo demo`: the main use case from an empty cluster to the verdict. A tool is run against a
//! copy of production: alice requests the run, bob approves the exact plan, and the operator does
//! the rest. All manifests are in `e2e/demo`.

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
    fixture::{APPROVER, Fixture, Kubectl, REHEARSAL, REQUESTER, SYSTEM, demo, fill, until},
    toolchain::{
        interrupt::{self, Interrupted},
        progress::Progress,
    },
};
use follow::Board;

/// Name of the DryRun and of its approval, as in the manifests.
const NAME: &str = "cutter-v0-4";
/// Deadline for the operator to resolve a plan.
const PLAN: Duration = Duration::from_secs(60);
/// Deadline for the run: `deadlines.total` of the manifest plus time for teardown.
const RUN: Duration = Duration::from_secs(35 * 60);
/// Validity of the approval.
const APPROVAL: SignedDuration = SignedDuration::from_hours(1);

/// Runs the demo. `program` is this crate's own program.
///
/// # Errors
/// A phase or a gate of the run fails, or an interrupt ends the demo. The cluster and its workloads
/// stay.
pub async fn run(program: PathBuf) -> Result<()> {
    let progress = Progress::new();
    let cluster = cluster(program, &progress).await?;
    let ended = interrupt::unless(run_to_verdict(cluster, &progress)).await;
    if ended.as_ref().is_err_and(|error| error.is::<Interrupted>()) {
        progress.say("the cluster and its workloads stay: `cargo cluster down` removes a cluster that was brought up here");
    }
    ended
}

async fn run_to_verdict(cluster: Cluster, progress: &Progress) -> Result<()> {
    let demo = Demo {
        fixture: Fixture::new(cluster, progress.clone()),
        progress: progress.clone(),
    };
    demo.prepare().await?;
    let requested = demo.request().await?;
    demo.approve(&requested).await?;
    let finished = demo.watch().await?;
    demo.report(&finished).await
}

/// The cluster that `KUBECONFIG` names, otherwise the local one, which is brought up if it is not
/// running.
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
    fixture: Fixture,
    progress: Progress,
}

impl Demo {
    /// Installs production with its data, the operator, and the users' permissions.
    async fn prepare(&self) -> Result<()> {
        self.progress
            .phase("removing the run of an earlier demo", async |_| {
                self.clear().await
            })
            .await?;
        self.fixture.prepare(&[]).await?;
        self.progress
            .phase("granting the requester and approver roles", async |_| {
                self.fixture
                    .apply(&["--filename"], &demo("rehearsal"))
                    .await
            })
            .await
    }

    /// Deletes the immutable objects that an earlier demo left in the same cluster.
    async fn clear(&self) -> Result<()> {
        if self
            .fixture
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
            self.fixture
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

    /// Submits the tool under test, its scenarios and the DryRun as alice, and waits for the plan.
    async fn request(&self) -> Result<DryRun> {
        let alice = Kubectl::user(&self.fixture.cluster, REQUESTER)?;
        let request = self.fixture.request().await?;
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
        println!("\nThe plan consists of this spec and what the operator resolved:\n");
        println!("{}", indented(&serde_saphyr::to_string(&plan.resolved)?));
        println!("    {}", plan.hash);
        Ok(planned)
    }

    /// Approves exactly this plan of this object, as bob.
    async fn approve(&self, requested: &DryRun) -> Result<()> {
        let bob = Kubectl::user(&self.fixture.cluster, APPROVER)?;
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

    /// Prints each gate as it changes, until the run has ended.
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

    /// Prints the run's result, the duration of its commands, and the next steps.
    async fn report(&self, finished: &DryRun) -> Result<()> {
        println!("\n$ kubectl describe dryrun {NAME}\n");
        print!(
            "{}",
            self.fixture
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
                Api::namespaced(self.fixture.cluster.client().await?, REHEARSAL);
            let found = reports.get(report).await?.status.unwrap_or_default();
            println!("\nConnections per attempts, by pod and target:\n");
            for line in probes::table(&found.facts.isolation) {
                println!("  {line}");
            }
            let probing = probes::milliseconds(&found.facts.isolation);
            println!(
                "\nDuration of each command, of which {probing} ms were spent on probes and their controls:\n"
            );
            for line in times::table(
                &found.facts.began,
                found.finished_at.map_or_else(Timestamp::now, |at| at.0),
            ) {
                println!("  {line}");
            }
        }
        let kubectl = self.fixture.cluster.kubectl();
        println!("\nThe cluster stays up. To look around:\n");
        println!(
            "  export KUBECONFIG={} PATH={}:$PATH",
            self.fixture.administrator.kubeconfig().display(),
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
            self.fixture.cluster.client().await?,
            REHEARSAL,
        ))
    }
}

/// The hash of the plan that awaits approval.
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
