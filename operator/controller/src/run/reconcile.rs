//! The story of a pass: observe, decide, report, act; again until there is nothing to do but wait.

use dryrun_core::api::{DryRun, DryRunStatus};
use dryrun_core::commands::{Command, Facts, Job, JobResult, absorb};
use dryrun_core::run::id::RunRef;
use dryrun_core::run::id::{ABANDONED_BY, FINALIZER};
use dryrun_core::step::report::fitting;
use dryrun_core::step::{Decision, Snapshot, decide, is_edge};
use jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action as Requeue;
use kube::{Api, ResourceExt};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::act::Actor;
use super::observe::{Observation, observe};
use super::report;
use crate::context::{Context, Watched};
use crate::error::{Class, Error, call};

/// Turns of one pass: more than a run has steps, so that only a loop reaches it.
const TURNS: usize = 64;

/// Interval to the next pass when a wake had passed before the decision.
const OVERDUE: Duration = Duration::from_secs(1);

/// Reconciles one DryRun: brings it as far as it can come now.
///
/// # Errors
/// A call to the apiserver failed. What could be done beside it was done.
pub async fn reconcile(run: Arc<Watched>, context: Arc<Context>) -> Result<Requeue, Error> {
    let id = RunRef::of(&*run);
    let RunRef {
        namespace,
        name,
        uid,
    } = &id;
    // An earlier DryRun of this name may have vanished without an event.
    context.forget((namespace, name), Some(uid));
    let passed = pass(&id, &context).await;
    match &passed {
        Ok(_) => context.succeeded(&id),
        Err(error) => {
            context.failed(&id, &error.to_string());
            match error.class() {
                Class::Stale => tracing::debug!(namespace, name, %error, "looking again"),
                Class::Refused | Class::Transient => {
                    tracing::warn!(namespace, name, %error, "pass failed")
                }
            }
        }
    }
    passed
}

/// One pass. Each turn sees the world anew, since an action has changed it.
async fn pass(id: &RunRef, context: &Context) -> Result<Requeue, Error> {
    let runs: Api<DeserializeGuard<DryRun>> =
        Api::namespaced(context.client.clone(), &id.namespace);
    for _ in 0..TURNS {
        // Not from the cache: a decision must not be made from what an earlier turn has already
        // changed.
        let Some(run) = call("read the DryRun", runs.get_opt(&id.name))
            .await?
            .filter(|r| r.uid().as_deref() == Some(&id.uid))
        else {
            context.jobs.cancel(&id.uid, |_| true);
            context.remember(id, None);
            return Ok(Requeue::await_change());
        };
        let run = match run.0 {
            Ok(run) => run,
            // One that another version wrote must not keep all others from being driven.
            Err(error) => {
                tracing::warn!(id.name, %error, "a DryRun of another version cannot be read and is left alone");
                return Ok(Requeue::await_change());
            }
        };
        if let Some(requeue) = turn(&run, context).await? {
            return Ok(requeue);
        }
    }
    Ok(Requeue::requeue(Duration::ZERO))
}

/// Observe, decide, report, act. Returns nothing when something was done and the world is worth
/// another look.
async fn turn(run: &DryRun, context: &Context) -> Result<Option<Requeue>, Error> {
    let seen = observe(context, run).await?;
    let (findings, facts) = take_findings(context, &seen);
    let previous = run.status.clone().unwrap_or_default();
    let running = context.jobs.running(&seen.run.uid);
    let world = world(run, context, &seen, &previous, &facts, &running);
    let decision = decide(&world);
    let orphan = seen.report.is_none() && world.begun() && decision.status.outcome.is_none();
    if seen.unprepared.is_none() {
        context.remember(&seen.run, orphan.then_some(&decision.facts));
    }
    let forget = || {
        let jobs = findings.iter().map(|(job, _)| *job);
        context.jobs.taken(&seen.run.uid, jobs);
    };
    if let Some(view) = &seen.report
        && let Some(smaller) = fitting(&decision.facts)?
    {
        let (client, status) = (&context.client, &decision.status);
        let version = seen.report_version.as_deref();
        report::write_report(client, run, (view, version), &smaller, status).await?;
        forget();
        // A gate that the whole facts fail stays False without them.
        write_status(run, context, &previous, &decision).await?;
        return Ok(None);
    }
    // The report is written before anything that depends on its facts, and before the findings are
    // forgotten.
    match write_report(run, context, &seen, &previous, &decision).await {
        Ok(()) => forget(),
        // Nothing holds a run that is abandoned, and no refusal one that is torn down.
        Err(error) if world.abandoned_by.is_some() || is_unwritable(&error, &decision) => {
            tracing::warn!(seen.run.namespace, seen.run.name, %error, "going on without the report");
        }
        Err(error) => return Err(error),
    }
    let run = write_status(run, context, &previous, &decision).await?;
    if decision.actions.is_empty() {
        return Ok(Some(match decision.wake {
            Some(wake) => Requeue::requeue(pause(wake, world.now, Timestamp::now())),
            None => Requeue::await_change(),
        }));
    }
    act(&run, context, &seen, decision).await.map(|()| None)
}

/// Returns true if a run in teardown would wait forever to write its report.
fn is_unwritable(error: &Error, decision: &Decision) -> bool {
    error.class() == Class::Refused && decision.facts.began.contains_key(&Command::Teardown)
}

/// The findings of ended jobs, and the facts with them. Without its report nothing can be written
/// down: findings are kept until it can be read.
fn take_findings(context: &Context, seen: &Observation) -> (Vec<(Job, JobResult)>, Facts) {
    let findings = match seen.unprepared {
        Some(_) => Vec::new(),
        None => context.jobs.findings(&seen.run.uid),
    };
    let mut facts = seen.facts.clone();
    for (job, result) in &findings {
        absorb(&mut facts, *job, result);
    }
    (findings, facts)
}

/// Returns the snapshot that the decision is made from.
fn world<'a>(
    run: &'a DryRun,
    context: &Context,
    seen: &'a Observation,
    status: &'a DryRunStatus,
    facts: &'a Facts,
    running: &'a BTreeSet<Job>,
) -> Snapshot<'a> {
    let metadata = &run.metadata;
    Snapshot {
        run: &seen.run,
        probes_namespace: &seen.operator.probes_namespace,
        generation: metadata.generation.unwrap_or_default(),
        created: run
            .creation_timestamp()
            .map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        deleted: metadata.deletion_timestamp.is_some(),
        finalizer: run.finalizers().iter().any(|f| f == FINALIZER),
        abandoned_by: run.annotations().get(ABANDONED_BY).map(String::as_str),
        namespace_terminating: seen.namespace_terminating,
        unprepared: seen.unprepared.clone(),
        spec: &run.spec,
        status,
        plan: &seen.plan,
        approval: seen.approval.clone(),
        enforcement: seen.enforcement.clone(),
        report: seen.report.clone(),
        facts,
        objects: &seen.objects,
        blind: seen.blind,
        running,
        trouble: context.trouble(&seen.run),
        now: Timestamp::now(),
    }
}

/// Writes the report, if there is one and it has changed.
async fn write_report(
    run: &DryRun,
    context: &Context,
    seen: &Observation,
    previous: &DryRunStatus,
    decision: &Decision,
) -> Result<(), Error> {
    let (facts, status) = (&decision.facts, &decision.status);
    let changed = *facts != seen.facts || (status.outcome.is_some() && is_edge(previous, status));
    match &seen.report {
        Some(view) if changed && !seen.namespace_terminating => {
            let version = seen.report_version.as_deref();
            report::write_report(&context.client, run, (view, version), facts, status).await
        }
        Some(_) | None => Ok(()),
    }
}

/// Writes the status if it has changed, and publishes what has changed as events. Returns the
/// DryRun as it is then.
async fn write_status(
    run: &DryRun,
    context: &Context,
    previous: &DryRunStatus,
    decision: &Decision,
) -> Result<DryRun, Error> {
    let status = &decision.status;
    if !is_edge(previous, status) {
        return Ok(run.clone());
    }
    let written = report::write_status(&context.client, run, status).await?;
    let (before, after) = (&previous.conditions, &status.conditions);
    report::publish(&context.recorder, run, before, after, &decision.verdicts).await;
    Ok(written)
}

/// Does what can be done: a delete that is refused keeps no other object, and a create that a quota
/// refuses no watch.
async fn act(
    run: &DryRun,
    context: &Context,
    seen: &Observation,
    decision: Decision,
) -> Result<(), Error> {
    let RunRef {
        namespace, name, ..
    } = &seen.run;
    let actor = Actor {
        client: &context.client,
        access: &context.access,
        jobs: &context.jobs,
        dry_run: run,
        run: &seen.run,
        facts: &decision.facts,
        objects: &seen.objects,
        approval: &seen.approval,
        plan: seen.plan.as_ref().ok(),
        operator: &seen.operator,
    };
    let mut done = Ok(());
    for action in decision.actions {
        tracing::info!(namespace, name, ?action, "acting");
        if let Err(error) = actor.act(action).await {
            tracing::warn!(namespace, name, ?action, %error, "not done");
            done = done.and(Err(error));
        }
    }
    done
}

/// Returns the time until the wake of a decision. One that had passed by then has changed nothing,
/// and would be met again at once.
fn pause(wake: Timestamp, decided: Timestamp, now: Timestamp) -> Duration {
    if wake <= decided {
        OVERDUE
    } else {
        Duration::try_from(wake.duration_since(now)).unwrap_or(Duration::ZERO)
    }
}

/// Returns the time of the next pass after an error: by its class, and ever more slowly for one
/// run.
pub(super) fn error_policy(run: Arc<Watched>, error: &Error, context: Arc<Context>) -> Requeue {
    let failures = context.failures(&RunRef::of(&*run));
    Requeue::requeue(delay(error.class(), failures.max(1)))
}

fn delay(class: Class, count: u32) -> Duration {
    let doubled = |first: u64, limit: u64| {
        Duration::from_millis(
            first
                .saturating_mul(1 << count.saturating_sub(1).min(16))
                .min(limit),
        )
    };
    match class {
        Class::Stale => doubled(20, 1_000),
        Class::Refused => doubled(1_000, 30_000),
        Class::Transient => doubled(200, 30_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_that_has_passed_is_no_hot_loop() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(pause(at(15), at(10), at(12)), Duration::from_secs(3));
        // It came while the decision was written down.
        assert_eq!(pause(at(11), at(10), at(12)), Duration::ZERO);
        for past in [9, 10] {
            assert_eq!(pause(at(past), at(10), at(12)), OVERDUE);
        }
    }

    #[test]
    fn delays_grow_and_have_a_limit() {
        for class in [Class::Stale, Class::Refused, Class::Transient] {
            let delays: Vec<Duration> = (1..40).map(|count| delay(class, count)).collect();
            assert!(delays.is_sorted(), "{class:?}");
            assert!(delays[0] < delays[1]);
            assert!(delays[38] <= Duration::from_secs(30));
        }
    }
}
