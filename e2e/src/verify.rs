//! `cargo verify`: every check and every test, from formatting to a real cluster.

use std::{ffi::OsStr, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::{process::Command, time::timeout};

use crate::{
    cluster::{Cluster, Options},
    toolchain::{
        cache::Cache,
        command,
        interrupt::{self, Interrupted},
        packages,
        progress::Progress,
        tools::{self, Tools, cargo},
        workspace,
    },
};

/// Nodes of the cluster that the tests share: two, because isolation must hold across nodes too.
const NODES: u8 = 2;

/// Deadline of a phase of tests. With a cold build on two busy cores, the longest takes less than
/// half of it.
const LONGEST: Duration = Duration::from_mins(40);

/// With this variable set, tests fail that would otherwise be skipped for a missing program or
/// permission.
const MUST_RUN: &str = "DRYRUN_TESTS_MUST_RUN";

/// Runs everything. `program` is this crate's own program. An interrupt ends it early; a cluster
/// that it brought up is always removed.
///
/// # Errors
/// A check or a test fails; the error names it and the path of its log.
pub async fn run(program: PathBuf) -> Result<()> {
    let progress = Progress::new();
    let verification = Verification {
        cache: Cache::open()?,
        progress: progress.clone(),
    };
    let existing = interrupt::unless(verification.before_any_cluster()).await?;
    match existing {
        Some(cluster) => interrupt::unless(verification.tests_in(&cluster)).await?,
        None => verification.tests_of_local_clusters(program).await?,
    }
    progress.say(&format!(
        "\nverified in {:.0}s",
        progress.elapsed().as_secs_f64()
    ));
    Ok(())
}

struct Verification {
    cache: Cache,
    progress: Progress,
}

impl Verification {
    /// Runs everything that needs no cluster. Returns the cluster that `KUBECONFIG` names, for the
    /// remaining tests.
    async fn before_any_cluster(&self) -> Result<Option<Cluster>> {
        let given = Cluster::is_given()?;
        if !given && Cluster::running(&self.progress).await?.is_some() {
            bail!(
                "a cluster is running, and the tests begin with bringing one up: remove it with `cargo cluster down`"
            );
        }
        if !given {
            // The tests of the NetworkPolicy agent load its tables into the kernel with the node's
            // tools.
            packages::ensure_for_cluster(&self.cache, &self.progress).await?;
        }
        self.checks().await?;
        Cluster::existing(&self.progress).await
    }

    /// Runs the tests that bring clusters up and down themselves, and then those that share one.
    async fn tests_of_local_clusters(&self, program: PathBuf) -> Result<()> {
        let alone = self.tests(
            "tests of bring-up and teardown",
            &["--features", "local-cluster", "--test", "cluster"],
            None,
        );
        if let Err(error) = interrupt::unless(alone).await {
            // A test that was killed has had no time to remove its cluster.
            self.print_error(Cluster::remove(&self.progress).await);
            return Err(error);
        }
        let options = Options {
            nodes: NODES,
            permissive: false,
            program,
        };
        let cluster = Cluster::up(&options, &self.progress).await?;
        let tested = interrupt::unless(self.tests_in(&cluster)).await;
        if tested
            .as_ref()
            .is_err_and(|error| !error.is::<Interrupted>())
        {
            self.print_error(interrupt::unless(self.keep_logs(&cluster)).await);
        }
        let removed = cluster.down().await;
        if tested.is_err() {
            self.print_error(removed);
            return tested;
        }
        removed
    }

    /// Prints an error that is secondary to the one being returned.
    fn print_error(&self, outcome: Result<()>) {
        if let Err(error) = outcome {
            self.progress.say(&format!("{error:#}"));
        }
    }

    async fn keep_logs(&self, cluster: &Cluster) -> Result<()> {
        let logs = self.cache.directory("failed-verify");
        cluster
            .logs(&logs)
            .await
            .with_context(|| format!("not all logs could be kept in {}", logs.display()))?;
        self.progress.say(&format!(
            "the cluster's logs are kept in {}",
            logs.display()
        ));
        Ok(())
    }

    /// Runs formatting, lints, unit tests, and the lints of the chart and of the workflows.
    async fn checks(&self) -> Result<()> {
        self.cargo("formatting", &["fmt", "--all", "--check"])
            .await?;
        let clippy = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--all-features",
            "--",
            "--deny",
            "warnings",
        ];
        self.cargo("clippy", &clippy).await?;
        let complete = packages::ensure_for_tests(&self.cache, &self.progress).await?;
        self.tests(
            "tests without a cluster",
            &["--workspace"],
            complete.then_some((MUST_RUN, OsStr::new("1"))),
        )
        .await?;
        let helm = Tools::ensure(&self.cache, &self.progress)
            .await?
            .path("helm");
        for chart in std::fs::read_dir(workspace().join("charts")).context("reading charts")? {
            let chart = chart?.path();
            let name = format!(
                "lint of {}",
                chart.file_name().unwrap_or_default().to_string_lossy()
            );
            let mut lint = Command::new(&helm);
            lint.args(["lint", "--strict"]).arg(&chart);
            self.progress
                .phase(name, async |_| {
                    command::run(&mut lint, &self.cache.log("helm-lint")).await
                })
                .await?;
        }
        self.workflows().await
    }

    /// Checks the workflows of the hosted runners. Optional helpers of actionlint are disabled: the
    /// result must not depend on the machine's programs.
    async fn workflows(&self) -> Result<()> {
        let mut lint = Command::new(tools::actionlint(&self.cache, &self.progress).await?);
        lint.args(["-shellcheck=", "-pyflakes="])
            .current_dir(workspace());
        self.progress
            .phase("lint of workflows".to_owned(), async |_| {
                command::run(&mut lint, &self.cache.log("actionlint")).await
            })
            .await
    }

    async fn tests_in(&self, cluster: &Cluster) -> Result<()> {
        // `--tests` skips targets whose features are off; a pattern for `--test` would require
        // them.
        let targets = [
            "--package",
            "dryrun-e2e",
            "--features",
            "cluster",
            "--tests",
        ];
        let kubeconfig = ("KUBECONFIG", cluster.kubeconfig().as_os_str());
        self.tests("tests in the cluster", &targets, Some(kubeconfig))
            .await
    }

    async fn cargo(&self, name: &str, arguments: &[&str]) -> Result<()> {
        let log = self.cache.log(&name.replace(' ', "-"));
        self.progress
            .phase(name.to_owned(), async |phase| {
                let note = |line: &str| phase.note(line.trim().to_owned());
                command::run_watched(cargo().args(arguments), &log, note).await
            })
            .await
    }

    /// Runs test programs one after the other, and prints the number of passed tests. `variable` is
    /// set in their environment.
    async fn tests(
        &self,
        name: &str,
        arguments: &[&str],
        variable: Option<(&str, &OsStr)>,
    ) -> Result<()> {
        let log = self.cache.log(&name.replace(' ', "-"));
        let mut passed = 0;
        self.progress
            .phase(name.to_owned(), async |phase| {
                let mut cargo = cargo();
                cargo.arg("test").args(arguments);
                cargo.envs(variable);
                let note = |line: &str| {
                    passed += passed_in(line);
                    phase.note(line.trim().to_owned());
                };
                let running = command::run_watched(&mut cargo, &log, note);
                let Ok(ended) = timeout(LONGEST, running).await else {
                    bail!(
                        "timed out after {}s; {}",
                        LONGEST.as_secs(),
                        command::tail(&log)
                    );
                };
                ended
            })
            .await?;
        self.progress
            .say(&format!("          {passed} tests passed"));
        Ok(())
    }
}

/// The number of passed tests in the last line of a test program.
fn passed_in(line: &str) -> u32 {
    let counts = line.strip_prefix("test result: ok. ");
    counts
        .and_then(|counts| counts.split(' ').next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passed_tests_are_counted_and_nothing_else() {
        assert_eq!(
            passed_in("test result: ok. 12 passed; 0 failed; 0 ignored"),
            12
        );
        assert_eq!(passed_in("test result: FAILED. 3 passed; 1 failed"), 0);
        assert_eq!(passed_in("running 4 tests"), 0);
    }
}
