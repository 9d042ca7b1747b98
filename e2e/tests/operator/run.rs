//! A DryRun from its request to its end, with the assertions about it.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use dryrun_core::{
    api::{DryRun, DryRunApproval, DryRunApprovalSpec, DryRunReport, DryRunStatus, Outcome},
    commands::Command,
    conditions, gate,
    run::id,
};
use dryrun_e2e::fixture::{APPROVER, until};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{Api, ResourceExt, api::PostParams};
use serde_json::Value;

use crate::{
    environment::{Environment, eventually},
    leftovers,
};

/// Deadline of a run's transitions.
const RUN: Duration = Duration::from_secs(600);

/// A requested DryRun.
pub(crate) struct Run<'a> {
    pub(crate) env: &'a Environment,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    /// Names of foreign objects that look like the run's.
    pub(crate) foreign: Vec<String>,
}

impl<'a> Run<'a> {
    /// Creates the DryRun as alice.
    pub(crate) async fn request(env: &'a Environment, request: Value) -> Result<Self> {
        let request: DryRun =
            serde_json::from_value(request).context("the request is no DryRun")?;
        let namespace = request
            .namespace()
            .context("the request has no namespace")?;
        let api: Api<DryRun> = Api::namespaced(env.alice.clone(), &namespace);
        // A new role binding takes a moment to become effective.
        let created = eventually("the request is accepted", async || {
            match api.create(&PostParams::default(), &request).await {
                Err(kube::Error::Api(status)) if status.is_forbidden() => {
                    Ok(Err(status.message.clone()))
                }
                other => Ok(Ok(other?)),
            }
        })
        .await?;
        let uid = created.uid().context("the DryRun has no UID")?;
        Ok(Self {
            env,
            namespace,
            name: created.name_any(),
            uid,
            foreign: Vec::new(),
        })
    }

    /// Creates the DryRun as alice and approves it as bob.
    pub(crate) async fn start(env: &'a Environment, request: Value) -> Result<Self> {
        let run = Self::request(env, request).await?;
        run.approve().await?;
        Ok(run)
    }

    /// Approves the current plan as bob.
    pub(crate) async fn approve(&self) -> Result<()> {
        let planned = self
            .until("it has a plan", |run| plan_hash(run).is_some())
            .await?;
        self.approve_plan(plan_hash(&planned).context("no plan")?)
            .await
    }

    /// Approves this plan as bob.
    pub(crate) async fn approve_plan(&self, hash: &str) -> Result<()> {
        self.approve_as(&self.name, hash).await
    }

    /// Approves this plan as bob, with an approval of this name.
    pub(crate) async fn approve_as(&self, name: &str, hash: &str) -> Result<()> {
        let api: Api<DryRunApproval> = Api::namespaced(self.env.bob.clone(), &self.namespace);
        let approval = DryRunApproval::new(
            name,
            DryRunApprovalSpec {
                dry_run_name: self.name.clone(),
                dry_run_uid: self.uid.clone(),
                plan_hash: hash.to_owned(),
                approved_by: APPROVER.to_owned(),
                expires_at: Time(Timestamp::now() + SignedDuration::from_hours(1)),
            },
        );
        // The apiserver's policy sees a new DryRun with a short delay.
        eventually("the approval is accepted", async || {
            match api.create(&PostParams::default(), &approval).await {
                Err(kube::Error::Api(status)) if status.is_forbidden() || status.is_invalid() => {
                    Ok(Err(status.message.clone()))
                }
                other => Ok(Ok(other.map(drop)?)),
            }
        })
        .await
    }

    /// The DryRuns of its namespace, with the administrator's client.
    pub(crate) fn api(&self) -> Api<DryRun> {
        Api::namespaced(self.env.client.clone(), &self.namespace)
    }

    /// The first state that satisfies `done`.
    pub(crate) async fn until(&self, what: &str, done: impl Fn(&DryRun) -> bool) -> Result<DryRun> {
        let seen = until(&self.api(), &self.name, RUN, |_| (), done).await;
        match seen {
            Ok(run) => Ok(run),
            Err(error) => Err(error.context(format!(
                "waiting until {what}; it is\n{}",
                self.diagnostics().await
            ))),
        }
    }

    /// The first state with this current command.
    pub(crate) async fn at(&self, command: Command) -> Result<DryRun> {
        let here = |run: &DryRun| status(run).step.as_deref() == Some(command.id());
        let seen = self
            .until(&format!("it is at {}", command.id()), |run| {
                here(run) || status(run).outcome.is_some()
            })
            .await?;
        ensure!(
            here(&seen),
            "the run ended before {}\n{}",
            command.id(),
            self.diagnostics().await
        );
        Ok(seen)
    }

    /// Waits until its report satisfies `done`.
    pub(crate) async fn reported(
        &self,
        what: &str,
        done: impl Fn(&DryRunReport) -> bool,
    ) -> Result<()> {
        eventually(what, async || {
            let report = self.report().await?;
            Ok(if done(&report) {
                Ok(())
            } else {
                Err(self.diagnostics().await)
            })
        })
        .await
    }

    /// The final state: it has an outcome and no finalizer.
    pub(crate) async fn end(&self) -> Result<DryRun> {
        self.until("it has ended", |run| {
            status(run).outcome.is_some() && run.finalizers().is_empty()
        })
        .await
    }

    /// Its report.
    pub(crate) async fn report(&self) -> Result<DryRunReport> {
        let api: Api<DryRunReport> = Api::namespaced(self.env.client.clone(), &self.namespace);
        api.get(&id::report(&self.name, &self.uid))
            .await
            .with_context(|| format!("reading the report of {}", self.name))
    }

    /// Asserts that it ended at this gate, whose condition has this reason and a message with all
    /// of `expected`, and that the last command before teardown was `last`.
    pub(crate) async fn ends_at(
        &self,
        id: &str,
        reason: &str,
        expected: &[&str],
        last: Command,
    ) -> Result<()> {
        self.ends(id, reason, expected, Some(last)).await
    }

    /// Like [`Run::ends_at`], during any command: the failure was caused from outside.
    pub(crate) async fn ends_during_any_command(
        &self,
        id: &str,
        reason: &str,
        expected: &[&str],
    ) -> Result<()> {
        self.ends(id, reason, expected, None).await
    }

    async fn ends(
        &self,
        id: &str,
        reason: &str,
        expected: &[&str],
        last: Option<Command>,
    ) -> Result<()> {
        let run = self.end().await?;
        let checked = self.stopped(&run, id, reason, expected, last).await;
        if checked.is_err() {
            return checked.context(self.diagnostics().await);
        }
        Ok(())
    }

    /// Asserts that it ended at `last` with no gate False, and with each of `gates` Unknown for
    /// this reason.
    pub(crate) async fn ends_unknown(
        &self,
        gates: &[&str],
        reasons: &[&str],
        expected: &str,
        last: Command,
    ) -> Result<()> {
        let ended = self.end().await?;
        let status = status(&ended);
        let diagnostics = self.diagnostics().await;
        ensure!(
            status.outcome == Some(Outcome::Inconclusive),
            "{diagnostics}"
        );
        for type_ in gates {
            let gate = condition(&status, type_)?;
            ensure!(
                gate.status == "Unknown" && reasons.contains(&gate.reason.as_str()),
                "{type_} is {gate:?}\n{diagnostics}"
            );
            ensure!(
                gate.message.contains(expected),
                "{type_} lacks {expected:?}: {}\n{diagnostics}",
                gate.message
            );
        }
        let report = self.report().await?.status.unwrap_or_default();
        self.started_no_later_command(&report.facts.began.keys().cloned().collect(), Some(last))?;
        self.left_nothing().await
    }

    /// Asserts that it ended with no gate False, and none Unknown except `open`, by type and
    /// reason.
    pub(crate) async fn ends_passed(&self, open: &[(&str, &str)]) -> Result<()> {
        let ended = self.end().await?;
        let status = status(&ended);
        let diagnostics = self.diagnostics().await;
        for gate in gate::ALL {
            let found = condition(&status, gate.name)?;
            let known = open.contains(&(gate.name, found.reason.as_str()));
            ensure!(
                found.status == "True" || found.status == "Unknown" && known,
                "{} is {found:?}\n{diagnostics}",
                gate.id
            );
        }
        for (type_, reason) in open {
            ensure!(is(&ended, type_, "Unknown", reason), "{diagnostics}");
        }
        self.left_nothing().await
    }

    async fn stopped(
        &self,
        run: &DryRun,
        id: &str,
        reason: &str,
        expected: &[&str],
        last: Option<Command>,
    ) -> Result<()> {
        let gate = gate::ALL
            .iter()
            .find(|gate| gate.id == id)
            .with_context(|| format!("there is no {id}"))?;
        let status = status(run);
        let failed = condition(&status, gate.name)?;
        ensure!(
            (failed.status.as_str(), failed.reason.as_str()) == ("False", reason),
            "{id} is {failed:?}"
        );
        for needle in expected {
            ensure!(
                failed.message.contains(needle),
                "{id} lacks {needle:?}: {}",
                failed.message
            );
        }
        let name = format!("{id} {}", gate.name);
        ensure!(
            status.failed_gate.as_ref() == Some(&name),
            "the failed gate is {:?}",
            status.failed_gate
        );
        ensure!(
            status.outcome == Some(Outcome::Failed),
            "the outcome is {:?}",
            status.outcome
        );
        let succeeded = condition(&status, "Succeeded")?;
        ensure!(
            succeeded.status == "False" && succeeded.message.contains(id),
            "Succeeded is {succeeded:?}"
        );
        ensure!(
            condition(&status, "Stalled")?.status == "True",
            "Stalled is not True"
        );

        let report = self.report().await?.status.unwrap_or_default();
        ensure!(
            report.outcome == Some(Outcome::Failed) && report.finished_at.is_some(),
            "the report's outcome is {:?}",
            report.outcome
        );
        ensure!(
            report
                .verdict
                .first()
                .is_some_and(|line| line.starts_with(id)),
            "the report's first line is {:?}",
            report.verdict.first()
        );
        self.started_no_later_command(&report.facts.began.keys().cloned().collect(), last)?;
        self.left_nothing().await
    }

    /// Asserts that only teardown started after `last`, which did start.
    fn started_no_later_command(
        &self,
        began: &BTreeSet<Command>,
        last: Option<Command>,
    ) -> Result<()> {
        ensure!(began.contains(&Command::Teardown), "only started {began:?}");
        let Some(last) = last else {
            return Ok(());
        };
        let later = |command: &&Command| **command > last && **command != Command::Teardown;
        let further: Vec<_> = began.iter().filter(later).collect();
        ensure!(
            further.is_empty(),
            "after {} started {further:?}",
            last.id()
        );
        ensure!(began.contains(&last), "only started {began:?}");
        Ok(())
    }

    /// Asserts that nothing is left of it in the cluster, that NetZero is True, and that production
    /// is unchanged.
    pub(crate) async fn left_nothing(&self) -> Result<()> {
        if let Some(run) = self.api().get_opt(&self.name).await? {
            let net_zero = condition(&status(&run), "NetZero")?.clone();
            ensure!(net_zero.status == "True", "NetZero is {net_zero:?}");
        }
        self.is_gone().await
    }

    /// Asserts that nothing is left of it in the cluster, and that production is unchanged.
    pub(crate) async fn is_gone(&self) -> Result<()> {
        let key = leftovers::Key {
            namespace: &self.namespace,
            name: &self.name,
            uid: &self.uid,
        };
        let left = self.env.leftovers(&key, &self.foreign).await?;
        ensure!(left.is_empty(), "left behind: {left:?}");
        self.env.production_is_untouched().await
    }

    /// The run's state, for the message of a failed assertion.
    pub(crate) async fn diagnostics(&self) -> String {
        match self.api().get_opt(&self.name).await {
            Ok(Some(run)) => {
                let status = status(&run);
                let summaries = status
                    .conditions
                    .iter()
                    .filter(|c| gate::ALL.iter().all(|gate| gate.name != c.type_));
                let summaries = summaries
                    .map(|c| format!("  {} {} {}: {}\n", c.type_, c.status, c.reason, c.message));
                let verdict = status.verdict.iter().map(|line| format!("  {line}\n"));
                format!(
                    "  {} at {}\n",
                    self.name,
                    status.step.as_deref().unwrap_or("no step")
                ) + &summaries.chain(verdict).collect::<String>()
            }
            Ok(None) => format!("  {} is gone\n", self.name),
            Err(error) => format!("  {} cannot be read: {error}\n", self.name),
        }
    }
}

/// Its status; empty before the operator's first write.
pub(crate) fn status(run: &DryRun) -> DryRunStatus {
    run.status.clone().unwrap_or_default()
}

/// The condition of this type.
pub(crate) fn condition<'a>(status: &'a DryRunStatus, type_: &str) -> Result<&'a Condition> {
    conditions::find(&status.conditions, type_)
        .with_context(|| format!("there is no condition {type_}"))
}

/// Returns whether the condition of this type has this status and reason.
pub(crate) fn is(run: &DryRun, type_: &str, value: &str, reason: &str) -> bool {
    let status = status(run);
    conditions::find(&status.conditions, type_)
        .is_some_and(|c| c.status == value && c.reason == reason)
}

/// The hash of the plan that awaits approval.
pub(crate) fn plan_hash(run: &DryRun) -> Option<&str> {
    run.status
        .as_ref()?
        .plan
        .as_ref()
        .map(|plan| plan.hash.as_str())
}
