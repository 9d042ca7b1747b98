//! The story of a pass: observe, decide, report, act; again until there is nothing to do but wait.

use dryrun_core::api::{DryRun, DryRunApproval, DryRunReport};
use dryrun_core::facts::Facts;
use dryrun_core::names::{ABANDONED_BY, FINALIZER, NAMESPACE_LABEL, RUN_LABEL};
use dryrun_core::step::{World, absorb, decide, is_edge};
use futures::channel::mpsc::UnboundedReceiver;
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::controller::{self, Action as Requeue, Controller};
use kube::runtime::events::Recorder;
use kube::runtime::reflector::{self, ObjectRef, reflector};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::admission_policies::Policies;
use crate::error::{Class, Error, call};
use crate::jobs::Supervisor;
use crate::objects::{Key, key};
use crate::pinned_operator::Pins;
use crate::run::act::Actor;
use crate::run::observe::observe;
use crate::run::report;

/// Turns of one pass: more than a run has steps, so that only a loop reaches it.
const TURNS: usize = 64;
/// How many runs are looked at side by side.
const CONCURRENCY: u16 = 16;

/// How soon to look again when a wake had passed before it was decided.
const OVERDUE: Duration = Duration::from_secs(1);

/// A DryRun as it is watched: one that another version wrote must not keep all others from being driven.
pub(crate) type Watched = DeserializeGuard<DryRun>;

/// What every pass works with.
pub(crate) struct Context {
    pub(crate) client: Client,
    /// What plans say of this operator.
    pub(crate) pins: Pins,
    /// Namespaces that are prepared for runs; the operator has rights in no other.
    pub(crate) namespaces: Vec<String>,
    /// The admission policies of the chart.
    pub(crate) policies: Policies,
    pub(crate) jobs: Supervisor,
    pub(crate) recorder: Recorder,
    /// Consecutive errors of each run, and what the last one was.
    pub(crate) troubles: Mutex<BTreeMap<Key, (u32, String)>>,
    /// What was found of runs whose report somebody has deleted: it stands nowhere else.
    pub(crate) orphans: Mutex<BTreeMap<Key, Facts>>,
}

impl Context {
    fn trouble(&self, run: &Key) -> Option<String> {
        let troubles = lock(&self.troubles);
        troubles.get(run).map(|(_, text)| text.clone())
    }

    /// What is remembered of a run without a report.
    pub(crate) fn orphan(&self, run: &Key) -> Facts {
        lock(&self.orphans).get(run).cloned().unwrap_or_default()
    }

    /// Remembers that, or forgets it.
    fn remember(&self, run: &Key, facts: Option<&Facts>) {
        let mut orphans = lock(&self.orphans);
        match facts {
            Some(facts) => drop(orphans.insert(run.clone(), facts.clone())),
            None => drop(orphans.remove(run)),
        }
    }

    /// Ends and forgets all work for runs of this name, but for the one that is there now. Somebody may have taken the finalizer off, and then no
    /// pass has let go of the run.
    fn forget(&self, (namespace, name): (&str, &str), but: Option<&str>) {
        let gone = |run: &Key| run.0 == namespace && run.1 == name && but != Some(&*run.2);
        self.jobs.forget(gone);
        lock(&self.troubles).retain(|run, _| !gone(run));
        lock(&self.orphans).retain(|run, _| !gone(run));
    }
}

/// A panic of another thread leaves these maps whole: every change of them is one insert or remove.
fn lock<T>(memory: &Mutex<T>) -> MutexGuard<'_, T> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Watches and reconciles until the process is told to stop.
pub(crate) async fn run(context: Arc<Context>, ended: UnboundedReceiver<ObjectRef<Watched>>) {
    let client = context.client.clone();
    let runs: Api<Watched> = Api::all(client.clone());
    let (store, writer) = reflector::store();
    // Deletions count: of a run whose finalizer somebody took off nothing else may ever be heard.
    let seen = reflector(writer, watcher(runs, watcher::Config::default())).touched_objects();
    let mut controller = Controller::for_stream(seen, store)
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .watches(
            Api::<DeserializeGuard<DryRunApproval>>::all(client.clone()),
            watcher::Config::default(),
            |approval| {
                let approval = approval.0.ok()?;
                let namespace = approval.namespace()?;
                Some(ObjectRef::new(&approval.spec.dry_run_name).within(&namespace))
            },
        )
        .reconcile_on(ended)
        .reconcile_on(deleted_reports(&client))
        .graceful_shutdown_on(crate::shutdown());
    let labelled = watcher::Config::default().labels(RUN_LABEL);
    let probes = Api::<Pod>::namespaced(client.clone(), &context.pins.probes_namespace);
    controller = controller.reconcile_on(children(probes, &labelled));
    for namespace in &context.namespaces {
        controller = controller
            .reconcile_on(children(
                Api::<Pod>::namespaced(client.clone(), namespace),
                &labelled,
            ))
            .reconcile_on(children(
                Api::<PersistentVolumeClaim>::namespaced(client.clone(), namespace),
                &labelled,
            ))
            .reconcile_on(children(
                Api::<NetworkPolicy>::namespaced(client.clone(), namespace),
                &labelled,
            ));
    }
    controller
        .run(reconcile, error_policy, Arc::clone(&context))
        .for_each(|result| async {
            match result {
                Err(controller::Error::ObjectNotFound(object)) => {
                    tracing::debug!(%object, "gone");
                    let namespace = object.namespace.as_deref().unwrap_or_default();
                    context.forget((namespace, &object.name), None);
                }
                Err(error) => tracing::debug!(%error, "pass ended with an error"),
                Ok(_) => {}
            }
        })
        .await;
}

/// The runs whose objects of this kind changed. Deletions count: teardown waits for them.
fn children<K>(
    api: Api<K>,
    config: &watcher::Config,
) -> impl Stream<Item = ObjectRef<Watched>> + Send + 'static
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    watcher(api, config.clone())
        .default_backoff()
        .touched_objects()
        .filter_map(|object| async move {
            let object = object
                .inspect_err(|error| tracing::debug!(%error, "watch interrupted"))
                .ok()?;
            run_of(&object)
        })
}

/// The runs whose report somebody has deleted. All that changes in a report is the operator's own doing, and wakes nobody.
fn deleted_reports(client: &Client) -> impl Stream<Item = ObjectRef<Watched>> + Send + 'static {
    let reports = Api::<PartialObjectMeta<DryRunReport>>::all(client.clone());
    watcher(reports, watcher::Config::default())
        .default_backoff()
        .filter_map(|event| async move {
            let event = event
                .inspect_err(|error| tracing::debug!(%error, "watch interrupted"))
                .ok()?;
            match event {
                watcher::Event::Delete(report) => run_of(&report),
                watcher::Event::Init
                | watcher::Event::InitApply(_)
                | watcher::Event::InitDone
                | watcher::Event::Apply(_) => None,
            }
        })
}

/// The run that an object is part of, by its labels.
fn run_of(object: &impl Resource) -> Option<ObjectRef<Watched>> {
    let labels = object.labels();
    let run = labels.get("app.kubernetes.io/instance")?;
    // Objects outside of the DryRun's own namespace say which that is.
    let namespace = labels.get(NAMESPACE_LABEL).cloned();
    Some(ObjectRef::new(run).within(&namespace.or_else(|| object.namespace())?))
}

async fn reconcile(run: Arc<Watched>, context: Arc<Context>) -> Result<Requeue, Error> {
    let run = match &run.0 {
        Ok(run) => run,
        Err(error) => {
            let name = error.metadata.name.as_deref();
            tracing::warn!(name, %error, "a DryRun of another version cannot be read and is left alone");
            return Ok(Requeue::await_change());
        }
    };
    let id = key(run);
    let (namespace, name, uid) = &id;
    // Another of the same name may have gone without a word.
    context.forget((namespace, name), Some(uid));
    match pass(run, &context).await {
        Ok(requeue) => {
            lock(&context.troubles).remove(&id);
            Ok(requeue)
        }
        Err(error) => {
            let mut troubles = lock(&context.troubles);
            let (count, text) = troubles.entry(id.clone()).or_default();
            *count += 1;
            *text = error.to_string();
            match error.class() {
                Class::Stale => tracing::debug!(namespace, name, %error, "looking again"),
                Class::Refused | Class::Transient => {
                    tracing::warn!(namespace, name, %error, "pass failed")
                }
            }
            Err(error)
        }
    }
}

/// One pass. Each turn sees the world anew, since an action has changed it.
async fn pass(run: &DryRun, context: &Context) -> Result<Requeue, Error> {
    let (namespace, name, uid) = key(run);
    let runs: Api<DryRun> = Api::namespaced(context.client.clone(), &namespace);
    for _ in 0..TURNS {
        // Not from the cache: a decision must not be made from what an earlier turn has already changed.
        let Some(run) = call("read the DryRun", runs.get_opt(&name))
            .await?
            .filter(|r| r.uid().as_deref() == Some(&uid))
        else {
            context.jobs.cancel(&uid, |_| true);
            context.remember(&key(run), None);
            return Ok(Requeue::await_change());
        };
        if let Some(requeue) = turn(&run, context).await? {
            return Ok(requeue);
        }
    }
    Ok(Requeue::requeue(Duration::ZERO))
}

/// Observe, decide, report, act. Nothing is returned when something was done and the world is worth another look.
async fn turn(run: &DryRun, context: &Context) -> Result<Option<Requeue>, Error> {
    let (namespace, name, uid) = key(run);
    let seen = observe(context, run).await?;
    // Without its report nothing can be written down: what jobs found is kept until it can be read again.
    let findings = match seen.unprepared {
        Some(_) => Vec::new(),
        None => context.jobs.findings(&uid),
    };
    let mut facts = seen.facts.clone();
    for (job, finding) in findings.clone() {
        absorb(&mut facts, job, finding);
    }
    let previous = run.status.clone().unwrap_or_default();
    let running = context.jobs.running(&uid);
    let world = World {
        name: &name,
        namespace: &namespace,
        probes_namespace: &seen.pins.probes_namespace,
        uid: &uid,
        generation: run.metadata.generation.unwrap_or_default(),
        created: run
            .creation_timestamp()
            .map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        deleted: run.metadata.deletion_timestamp.is_some(),
        finalizer: run.finalizers().iter().any(|f| f == FINALIZER),
        abandoned_by: run.annotations().get(ABANDONED_BY).map(String::as_str),
        namespace_terminating: seen.namespace_terminating,
        unprepared: seen.unprepared.clone(),
        spec: &run.spec,
        status: &previous,
        plan: &seen.plan,
        approval: seen.approval.clone(),
        enforcement: seen.enforcement.clone(),
        report: seen.report.clone(),
        facts: &facts,
        objects: &seen.objects,
        blind: seen.blind,
        running: &running,
        trouble: context.trouble(&key(run)),
        now: Timestamp::now(),
    };
    let decision = decide(&world);
    let orphan = seen.report.is_none() && world.begun() && decision.status.outcome.is_none();
    if seen.unprepared.is_none() {
        context.remember(&key(run), orphan.then_some(&decision.facts));
    }
    let status_changed = is_edge(&previous, &decision.status);
    // The report is written before anything that depends on its facts, and before the finding is forgotten.
    if let Some(view) = &seen.report
        && (decision.facts != seen.facts || (status_changed && decision.status.outcome.is_some()))
        && !seen.namespace_terminating
    {
        let written = report::write_report(
            &context.client,
            run,
            view,
            &decision.facts,
            &decision.status,
        )
        .await;
        // Nothing holds a run that somebody lets go of by force.
        if world.abandoned_by.is_none() {
            written?;
        }
    }
    context
        .jobs
        .taken(&uid, findings.iter().map(|(job, _)| *job));
    let run = if status_changed {
        let written = report::write_status(&context.client, run, &decision.status).await?;
        report::publish(
            &context.recorder,
            run,
            &previous.conditions,
            &decision.status.conditions,
            &decision.verdicts,
        )
        .await;
        written
    } else {
        run.clone()
    };
    if decision.actions.is_empty() {
        return Ok(Some(match decision.wake {
            Some(wake) => Requeue::requeue(pause(wake, world.now, Timestamp::now())),
            None => Requeue::await_change(),
        }));
    }
    let actor = Actor {
        client: &context.client,
        jobs: &context.jobs,
        run: &run,
        facts: &decision.facts,
        objects: &seen.objects,
        approval: &seen.approval,
        plan: seen.plan.as_ref().ok(),
        pins: &seen.pins,
    };
    // What can be done is done: a delete that is refused keeps no other object, and a create that a quota refuses no watch.
    let mut done = Ok(());
    for action in decision.actions {
        tracing::info!(namespace, name, ?action, "acting");
        if let Err(error) = actor.act(action).await {
            tracing::warn!(namespace, name, ?action, %error, "not done");
            done = done.and(Err(error));
        }
    }
    done.map(|()| None)
}

/// How long to wait for the wake of a decision of this moment. One that had passed by then has changed nothing, and would be met again at once.
fn pause(wake: Timestamp, decided: Timestamp, now: Timestamp) -> Duration {
    if wake <= decided {
        OVERDUE
    } else {
        Duration::try_from(wake.duration_since(now)).unwrap_or(Duration::ZERO)
    }
}

/// When to look again after an error: by its class, and ever more slowly for one run.
fn error_policy(run: Arc<Watched>, error: &Error, context: Arc<Context>) -> Requeue {
    let troubles = lock(&context.troubles);
    let trouble = run.0.as_ref().ok().and_then(|run| troubles.get(&key(run)));
    let count = trouble.map_or(1, |(count, _)| *count);
    Requeue::requeue(delay(error.class(), count))
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
    use dryrun_core::names;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    #[test]
    fn a_report_and_a_canary_say_which_run_they_are_of() {
        let object = |namespace: &str, labels: BTreeMap<String, String>| Pod {
            metadata: ObjectMeta {
                namespace: Some(namespace.into()),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            ..Pod::default()
        };
        let expected = Some(ObjectRef::new("a").within("rehearsal"));
        let mut labels = names::retained_labels("a", "uid");
        assert_eq!(run_of(&object("rehearsal", labels.clone())), expected);
        labels.insert(NAMESPACE_LABEL.into(), "rehearsal".into());
        assert_eq!(run_of(&object("probes", labels)), expected);
        assert_eq!(run_of(&object("rehearsal", BTreeMap::new())), None);
    }

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
