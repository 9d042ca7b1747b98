//! The next actions of a run, and its status.

use jiff::Timestamp;
use std::time::Duration;

use super::snapshot::{ReportView, Snapshot};
use super::status;
use crate::api::{DryRunStatus, Outcome};
use crate::commands::{
    self, Action, Command, Definition, Facts, Progress, Stopped, View, c13_teardown, later,
    watch_isolation, watch_protected,
};
use crate::gate::{self, Evidence, Gate, Status, Verdict};
use crate::plan::admission::Enforcement;
use crate::plan::approval::Approval;
use crate::problem::Problem;
use crate::run::container::Container;
use crate::run::object::{Object, RunPod};
use crate::run::observed::PodView;

/// First interval between looks at an incomplete plan.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// The part of its age after which it is looked at again: many incomplete plans must not keep the
/// operator and the apiserver busy.
const PART_OF_AGE: u32 = 8;
/// Interval between looks at a namespace in which the operator has no rights.
const LOOK_FOR_RIGHTS: Duration = Duration::from_secs(30);
/// Interval between looks at admission policies that are not in force, or at an earlier plan.
const LOOK_FOR_POLICIES: Duration = Duration::from_secs(30);
/// Reason of a command that nothing but time stopped.
const LATE: &str = "DeadlineExceeded";

/// The next actions, and what is to be said.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Actions to take, in order. Empty: wait for a change, or until `wake`.
    pub actions: Vec<Action>,
    /// The whole status of the DryRun.
    pub status: DryRunStatus,
    /// The facts with what the decision itself adds to them.
    pub facts: Facts,
    /// Time of the next pass if nothing changes before.
    pub wake: Option<Timestamp>,
    /// Every gate's verdict.
    pub verdicts: Vec<(&'static Gate, Verdict)>,
}

/// The state of a run.
pub(super) enum RunState {
    /// It waits for a plan or an approval, and has created nothing.
    Before {
        approved: Verdict,
        actions: Vec<Action>,
        wake: Option<Timestamp>,
    },
    /// It works on a command.
    At {
        command: Command,
        actions: Vec<Action>,
        wake: Option<Timestamp>,
    },
    /// It is over without having begun: nothing was created. The problem is that of `Approved`.
    Never { outcome: Outcome, problem: Problem },
    /// It is over.
    Over {
        outcome: Outcome,
        actions: Vec<Action>,
    },
}

/// Decides what to do next.
pub fn decide(world: &Snapshot<'_>) -> Decision {
    if world.status.outcome.is_some() {
        return ended(world);
    }
    if let Some(message) = &world.unprepared {
        return namespace_not_prepared(world, message);
    }
    let mut facts = world.facts.clone();
    remember(world, &mut facts);
    let state = match &world.report {
        None if !world.begun() => before(world),
        _ if world.abandoned_by.is_some() => abandon(world, &mut facts),
        report => report
            .as_ref()
            .and_then(|report| forward(world, report, &mut facts))
            .unwrap_or_else(|| tear_down(world, &mut facts)),
    };
    finish(world, facts, state)
}

/// Adds to the facts what is seen and may be gone later.
fn remember(world: &Snapshot<'_>, facts: &mut Facts) {
    let pod = |pod: RunPod| world.objects.get(&pod.into())?.pod.as_ref();
    if facts.node.is_empty() {
        let node = pod(RunPod::Dump).and_then(|dump| dump.node.clone());
        facts.node = node.unwrap_or_default();
    }
    // An operator that ended right after the release has not written it down.
    for container in Container::GATED {
        let view = world.view(world.facts, world.now);
        if view
            .pod(container.pod())
            .is_some_and(|pod| pod.succeeded(container))
        {
            facts.released.insert(container);
        }
    }
    // While the claim can still be asked: the volume must be gone in the end, too.
    for (object, seen) in world.objects {
        facts.volumes.extend(seen.volume.clone());
        match object {
            Object::Volume(_) => drop(facts.claims.insert(seen.uid.clone())),
            Object::Secret | Object::Policy(_) | Object::Pod(_) => {}
        }
    }
}

fn judge(world: &Snapshot<'_>, facts: &Facts) -> Vec<(&'static Gate, Verdict)> {
    let evidence = Evidence {
        spec: world.spec,
        facts,
        uid: &world.run.uid,
    };
    gate::judge(&evidence, &world.status.conditions)
}

/// The first command that is not done. Nothing is returned when the run ends: all commands are
/// done, one has stopped, or something else ends it.
fn forward(world: &Snapshot<'_>, report: &ReportView, facts: &mut Facts) -> Option<RunState> {
    let failed = || {
        let verdicts = judge(world, facts);
        verdicts.iter().any(|(_, v)| v.status == Status::False)
    };
    // A teardown that has begun is never left: it deletes what the commands before it look at.
    if facts.began.contains_key(&Command::Teardown)
        || world.deleted
        || facts.stopped.is_some()
        || world.namespace_terminating
        || failed()
    {
        return None;
    }
    let deadlines = &world.spec.deadlines;
    let end = world.after(report.began, &deadlines.total);
    for definition in commands::ALL {
        let command = definition.command;
        let began = *facts.began.get(&command).unwrap_or(&world.now);
        let start = deadlines.start.or(Duration::ZERO);
        let budget = start.saturating_add((definition.budget)(deadlines));
        let deadline = later(began, budget).min(end);
        let view = world.view(facts, deadline);
        let Some(mut steps) = steps(&view, (definition.advance)(&view)) else {
            continue;
        };
        // What the copy's server does not outlive, no later command can bring on.
        if command > Command::Isolate
            && let Some(stop) = view.pod_ended(RunPod::Postgres)
        {
            steps = self::steps(&view, stop).unwrap_or(steps);
        }
        facts.began.entry(command).or_insert(world.now);
        match steps {
            Ok(mut actions) if world.now < deadline => {
                actions.extend(watch(world, report, facts));
                actions.extend(watch_isolation(&world.view(facts, end)));
                return Some(RunState::At {
                    command,
                    actions,
                    wake: Some(deadline),
                });
            }
            Ok(_) => {
                let problem = why_waiting(world, definition);
                commands::stop(facts, command, problem);
            }
            Err(problem) => commands::stop(facts, command, problem),
        }
        break;
    }
    None
}

/// The next actions of a command, or the problem that stops it; nothing when it is done.
fn steps(view: &View<'_>, progress: Progress) -> Option<Result<Vec<Action>, Problem>> {
    match progress {
        Progress::Done => None,
        Progress::Act(actions) => Some(Ok(actions)),
        Progress::Stop(problem) => Some(Err(problem)),
        Progress::Prove(id, next) => match unproven(view, id) {
            Some(problem) => Some(Err(problem)),
            None => steps(view, *next),
        },
    }
}

/// The problem of a gate that is not True.
fn unproven(view: &View<'_>, id: &str) -> Option<Problem> {
    let gate = gate::ALL.into_iter().find(|gate| gate.id == id)?;
    let verdict = (gate.evaluate)(&Evidence {
        spec: view.spec,
        facts: view.facts,
        uid: &view.run.uid,
    });
    let message = format!("{id}: {}", verdict.message);
    (verdict.status != Status::True).then(|| Problem::permanent(&verdict.reason, message))
}

/// The problem of a command whose deadline has passed. The reason is the scheduler's or the
/// kubelet's if a pod says why it does not run.
fn why_waiting(world: &Snapshot<'_>, definition: &Definition) -> Problem {
    let view = world.view(world.facts, world.now);
    let waiting = definition.delayed_by.iter().find_map(|pod| {
        let waiting = view.pod(*pod)?.waiting.as_ref()?;
        let late =
            waiting.reason.is_empty() || PodView::STARTING.contains(&waiting.reason.as_str());
        let reason = if late { LATE } else { &waiting.reason };
        let message = format!("{} waits: {waiting}", world.run.reference(*pod));
        Some(Problem::permanent(reason, message))
    });
    waiting.unwrap_or_else(|| {
        let late = || format!("{} did not end before its deadline", definition.id);
        Problem::permanent(LATE, world.trouble.clone().unwrap_or_else(late))
    })
}

/// Watches the protected workloads. Each begin of the watch is a fact: before the second and later
/// ones they were not watched.
fn watch(world: &Snapshot<'_>, report: &ReportView, facts: &mut Facts) -> Option<Action> {
    let end = world.after(report.began, &world.spec.deadlines.total);
    let action = watch_protected(&world.view(facts, end))?;
    facts.watched_since.push(world.now);
    Some(action)
}

/// Teardown, for any reason.
fn tear_down(world: &Snapshot<'_>, facts: &mut Facts) -> RunState {
    // The report is the mark that the approval was used, and it carried the facts. Without it a run
    // neither continues nor begins anew. In a namespace that is being deleted it goes with
    // everything else.
    if world.report.is_none() && !world.namespace_terminating {
        let report = world.run.report();
        let message =
            format!("DryRunReport {report} was deleted, and what the run had found with it");
        stopped_by(world, facts, Problem::permanent("ReportDeleted", message));
    }
    let view = world.view(world.facts, world.now);
    let steps = c13_teardown::advance(&view, facts, world.namespace_terminating);
    if steps.over {
        return RunState::Over {
            outcome: status::outcome(&judge(world, facts)),
            actions: release_finalizer(world),
        };
    }
    let mut actions = steps.actions;
    if let Some(report) = &world.report {
        actions.extend(watch(world, report, facts));
    }
    RunState::At {
        command: Command::Teardown,
        actions,
        wake: steps.wake,
    }
}

/// Stops the run at the command that its status shows, unless it was stopped before.
fn stopped_by(world: &Snapshot<'_>, facts: &mut Facts, problem: Problem) {
    let step = world.status.step.as_deref();
    let mut all = commands::ALL.into_iter();
    let current = all.find(|definition| step == Some(definition.id));
    let command = current.map_or(Command::Preflight, |definition| definition.command);
    facts.stopped.get_or_insert(Stopped { command, problem });
}

/// Ends the jobs of a run that is over and removes the finalizer.
fn release_finalizer(world: &Snapshot<'_>) -> Vec<Action> {
    let jobs = (!world.running.is_empty()).then_some(Action::EndJobs);
    let finalizer = world.finalizer.then_some(Action::RemoveFinalizer);
    jobs.into_iter().chain(finalizer).collect()
}

/// Ends a run that is abandoned, without waiting for anything.
fn abandon(world: &Snapshot<'_>, facts: &mut Facts) -> RunState {
    let message = format!("abandoned by {}", world.abandoned_by.unwrap_or_default());
    stopped_by(world, facts, Problem::permanent("Abandoned", message));
    RunState::Over {
        outcome: Outcome::Abandoned,
        actions: delete_everything(world),
    }
}

/// Requests deletion of all objects, pods first, and removes the finalizer without waiting. Deletes
/// may keep failing; that is usually why the run was abandoned.
fn delete_everything(world: &Snapshot<'_>) -> Vec<Action> {
    let there = world.objects.iter().filter(|(_, seen)| !seen.deleting);
    let (pods, others): (Vec<Object>, Vec<Object>) = there
        .map(|(object, _)| *object)
        .partition(|object| object.is_pod());
    let all = pods.into_iter().chain(others).map(Action::Delete);
    all.chain(release_finalizer(world)).collect()
}

/// A run that has ended: only the finalizer may be left, and an abandoned run may still lack its
/// last deletes. Its status stays as it is, also without its report.
fn ended(world: &Snapshot<'_>) -> Decision {
    let abandoned = world.status.outcome == Some(Outcome::Abandoned);
    let actions = if abandoned && world.finalizer {
        delete_everything(world)
    } else {
        release_finalizer(world)
    };
    Decision {
        actions,
        status: world.status.clone(),
        facts: world.facts.clone(),
        wake: None,
        verdicts: Vec::new(),
    }
}

/// A run whose objects can be neither seen nor deleted: it waits, and says for what.
fn namespace_not_prepared(world: &Snapshot<'_>, message: &str) -> Decision {
    Decision {
        actions: Vec::new(),
        status: status::waiting(world, "NotPrepared", message),
        facts: world.facts.clone(),
        wake: Some(later(world.now, LOOK_FOR_RIGHTS)),
        verdicts: Vec::new(),
    }
}

/// A run that has not begun: nothing was created, so nothing is to be torn down.
fn before(world: &Snapshot<'_>) -> RunState {
    if world.deleted || world.namespace_terminating {
        let actions = if world.finalizer {
            vec![Action::RemoveFinalizer]
        } else {
            Vec::new()
        };
        return RunState::Before {
            approved: Verdict::unknown("Deleted", "deleted before it was approved"),
            actions,
            wake: None,
        };
    }
    let never = |outcome, reason: &str, message: String| RunState::Never {
        outcome,
        problem: Problem::permanent(reason, message),
    };
    if let Some(who) = world.abandoned_by {
        let message = format!("abandoned by {who} before it began");
        return never(Outcome::Abandoned, "Abandoned", message);
    }
    let wait = |reason: &str, message: String, wake| RunState::Before {
        approved: Verdict::unknown(reason, message),
        actions: Vec::new(),
        wake: Some(wake),
    };
    let expires = world.after(world.created, &world.spec.approval.expires_after);
    let plan = match world.plan {
        Ok(plan) => plan,
        Err(problem) => {
            let (reason, message) = (&problem.reason, problem.message.clone());
            // A plan that was there once may come back, as while a Secret is made anew: it has as
            // long as its approval.
            let (pause, deadline) = if world.status.plan.is_some() {
                (LOOK_FOR_POLICIES, expires)
            } else {
                let start = world.after(world.created, &world.spec.deadlines.start);
                let age = world.now.duration_since(world.created);
                let age = Duration::try_from(age).unwrap_or_default();
                (LOOK_AGAIN.max(age / PART_OF_AGE), start)
            };
            if world.now >= deadline {
                return never(Outcome::Failed, reason, message);
            }
            // ConfigMaps and Secrets are read by name alone, never watched.
            return wait(reason, message, later(world.now, pause).min(deadline));
        }
    };
    if world.now >= expires {
        let message = format!(
            "nobody approved it within {}; nothing was created",
            world.spec.approval.expires_after.0
        );
        return never(Outcome::Expired, "Expired", message);
    }
    match &world.enforcement {
        Enforcement::Whole {
            requester_since, ..
        } if world.created > *requester_since => {}
        // Nothing proves that the requester is the user in the spec.
        Enforcement::Whole { .. } => {
            let message =
                "the admission policies have changed since it was asked for: make a new DryRun";
            return wait("RequestOlderThanPolicy", message.into(), expires);
        }
        Enforcement::Broken(problem) => {
            let again = later(world.now, LOOK_FOR_POLICIES).min(expires);
            return wait("ApprovalNotEnforced", problem.message.clone(), again);
        }
        Enforcement::Unseen => {
            let message = "the admission policies have not been looked at";
            let again = later(world.now, LOOK_FOR_POLICIES).min(expires);
            return wait("ApprovalNotEnforced", message.into(), again);
        }
    }
    match &world.approval {
        Approval::None => {
            let message = format!("a second person must approve plan {}", plan.hash);
            wait("AwaitingApproval", message, expires)
        }
        Approval::Refused(problem) => wait(&problem.reason, problem.message.clone(), expires),
        Approval::Void { message } => {
            let message = format!("{message}; make a new DryRun");
            never(Outcome::Failed, "PlanChanged", message)
        }
        Approval::Valid { approved_by, .. } => RunState::Before {
            approved: Verdict::new(
                Status::True,
                "Approved",
                format!("approved by {approved_by}"),
            ),
            actions: vec![if world.finalizer {
                Action::CreateReport
            } else {
                Action::AddFinalizer
            }],
            wake: Some(expires),
        },
    }
}

fn finish(world: &Snapshot<'_>, facts: Facts, state: RunState) -> Decision {
    let verdicts = status::explain(&facts, judge(world, &facts), &state);
    let status = status::build(world, &facts, &verdicts, &state);
    let (actions, wake) = match state {
        RunState::Before { actions, wake, .. } | RunState::At { actions, wake, .. } => {
            (actions, wake)
        }
        RunState::Never { .. } => (release_finalizer(world), None),
        RunState::Over { actions, .. } => (actions, None),
    };
    Decision {
        actions,
        status,
        facts,
        wake,
        verdicts,
    }
}
