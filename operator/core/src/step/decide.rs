//! What is done next, and what is said of it.

use jiff::Timestamp;
use std::time::Duration;

use super::snapshot::{self, ReportView, World};
use super::{Job, absorb, forward, status, teardown};
use crate::api::{DryRunStatus, Outcome};
use crate::commands::Command;
use crate::gate::{self, Evidence, Gate, Status, Verdict};
use crate::plan::admission::Enforcement;
use crate::plan::approval::Approval;
use crate::problem::Problem;
use crate::run::facts::{Facts, Stopped};
use crate::run::id;
use crate::run::object::Object;

/// How long the protected workloads are watched after the run's own end.
const WATCH_BEYOND: Duration = Duration::from_secs(24 * 3600);
/// How soon an incomplete plan is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How soon a namespace in which the operator has no rights is looked at again.
const LOOK_FOR_RIGHTS: Duration = Duration::from_secs(30);
/// How soon admission policies that are not in force, or a plan that was there before, are looked at again.
const LOOK_FOR_POLICIES: Duration = Duration::from_secs(30);

/// What the shell does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Put our finalizer on the DryRun.
    AddFinalizer,
    /// Take our finalizer off the DryRun.
    RemoveFinalizer,
    /// Create the report: the run begins, and the approval is used.
    CreateReport,
    /// Create this object.
    Create(Object),
    /// Delete this object by its UID.
    Delete(Object),
    /// Begin this job, to be given up at the time.
    Start(Job, Timestamp),
    /// End every job that does not belong to teardown.
    CancelJobs,
    /// End this job.
    End(Job),
    /// End every job of the run.
    EndJobs,
}

/// What is to be done, and what is to be said.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What to do, in order. Empty: wait for a change, or until `wake`.
    pub actions: Vec<Action>,
    /// The whole status of the DryRun.
    pub status: DryRunStatus,
    /// The facts with what the decision itself adds to them.
    pub facts: Facts,
    /// When to look again although nothing changed.
    pub wake: Option<Timestamp>,
    /// Every gate's verdict.
    pub verdicts: Vec<(&'static Gate, Verdict)>,
}

/// Where a run stands.
pub(super) enum Stand {
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
    /// It is over without having begun: nothing was created. Reason and message are those of `Approved`.
    Never { outcome: Outcome, problem: Problem },
    /// It is over.
    Over {
        outcome: Outcome,
        actions: Vec<Action>,
    },
}

/// How far a command is.
pub(super) enum Progress {
    /// Its facts are there.
    Done,
    /// These actions bring it on. None: something must change first.
    Act(Vec<Action>),
    /// It cannot go on.
    Stop(Problem),
}

/// Decides what to do next.
pub fn decide(world: &World<'_>) -> Decision {
    if world.status.outcome.is_some() {
        return ended(world);
    }
    if let Some(message) = &world.unprepared {
        return shut_out(world, message);
    }
    let mut facts = world.facts.clone();
    if facts.node.is_empty() {
        let dump = world.objects.get(&Object::DumpPod);
        let node = dump.and_then(|dump| dump.pod.as_ref()?.node.clone());
        facts.node = node.unwrap_or_default();
    }
    // An operator that ended right after the release has not written it down.
    for (pod, container) in [
        (Object::PostgresPod, "isolate"),
        (Object::HarnessPod, "inputs"),
    ] {
        if world.pod(pod).is_some_and(|pod| pod.succeeded(container)) {
            facts.released.insert(container.to_owned());
        }
    }
    // Remembered while the claim can still be asked: the volume must be gone in the end, too.
    facts.volumes.extend(
        world
            .objects
            .values()
            .filter_map(|object| object.volume.clone()),
    );
    facts.claims.extend(
        world
            .objects
            .iter()
            .filter(|(object, _)| object.kind() == "PersistentVolumeClaim")
            .map(|(_, claim)| claim.uid.clone()),
    );
    let judged = |facts: &Facts| {
        gate::judge(
            &Evidence {
                spec: world.spec,
                facts,
                uid: world.uid,
            },
            &world.status.conditions,
        )
    };
    let mut verdicts = judged(&facts);
    let stand = match &world.report {
        None if !world.begun() => before(world),
        _ if world.abandoned_by.is_some() => {
            let stand = abandon(world, &mut facts);
            verdicts = judged(&facts);
            stand
        }
        None => {
            let (actions, wake, proven) = report_deleted(world, &mut facts);
            if proven {
                verdicts = judged(&facts);
                let outcome = status::outcome(&verdicts);
                Stand::Over {
                    outcome,
                    actions: let_go(world),
                }
            } else {
                Stand::At {
                    command: Command::Teardown,
                    actions,
                    wake,
                }
            }
        }
        Some(report) => {
            let failed = verdicts.iter().any(|(_, v)| v.status == Status::False);
            let mut command = Command::Teardown;
            // A teardown that has begun is never left: it deletes what the commands before it look at.
            let ending = facts.began.contains_key(&Command::Teardown);
            if !(ending
                || world.deleted
                || failed
                || facts.stopped.is_some()
                || world.namespace_terminating)
            {
                let (at, progress, deadline) = forward::advance(world, report, &mut facts);
                match progress {
                    Progress::Act(mut actions) if world.now < deadline => {
                        actions.extend(watch(world, report, &mut facts));
                        actions.extend(watch_isolation(world, report));
                        let wake = Some(deadline);
                        let stand = Stand::At {
                            command: at,
                            actions,
                            wake,
                        };
                        return finish(world, facts, verdicts, stand);
                    }
                    Progress::Act(_) => {
                        facts.stopped = Some(stopped(at, forward::why_waiting(world, at)));
                    }
                    Progress::Stop(problem) => {
                        absorb::refused(&mut facts, at, &problem.reason);
                        facts.stopped = Some(stopped(at, problem));
                    }
                    Progress::Done => command = Command::Teardown,
                }
                verdicts = judged(&facts);
            }
            let (mut actions, wake, proven) = teardown::advance(world, &mut facts);
            if proven {
                verdicts = judged(&facts);
                let outcome = status::outcome(&verdicts);
                Stand::Over {
                    outcome,
                    actions: let_go(world),
                }
            } else {
                actions.extend(watch(world, report, &mut facts));
                Stand::At {
                    command,
                    actions,
                    wake,
                }
            }
        }
    };
    finish(world, facts, verdicts, stand)
}

fn stopped(command: Command, problem: Problem) -> Stopped {
    Stopped { command, problem }
}

/// The protected workloads are watched from the moment they were recorded until they are looked at for the last time. Each begin of the watch is a
/// fact: before the second and later ones nobody watched.
fn watch(world: &World<'_>, report: &ReportView, facts: &mut Facts) -> Option<Action> {
    let recorded = facts
        .preflight
        .as_ref()
        .is_some_and(|preflight| !preflight.protected.is_empty());
    let told = !facts.protected_changes.is_empty() || facts.watch_error.is_some();
    let over = facts
        .teardown
        .as_ref()
        .is_some_and(|t| t.protected.is_some() || !t.protected_errors.is_empty());
    if !recorded || told || over || world.running.contains(&Job::WatchProtected) {
        return None;
    }
    facts.watched_since.push(world.now);
    let end = world.after(report.began, &world.spec.deadlines.total);
    // Teardown follows the run, and has no deadline of its own.
    Some(Action::Start(
        Job::WatchProtected,
        snapshot::later(end, WATCH_BEYOND),
    ))
}

/// The copy and the harness are watched from when the harness was probed until both are probed for the last time.
fn watch_isolation(world: &World<'_>, report: &ReportView) -> Option<Action> {
    let isolation = &world.facts.isolation;
    let running = world.running.contains(&Job::WatchIsolation);
    if isolation.after.is_some() {
        return running.then_some(Action::End(Job::WatchIsolation));
    }
    let told = !isolation.during.is_empty() || isolation.watch_error.is_some();
    let due = isolation.harness.is_some() && !told && !running;
    due.then(|| {
        let end = world.after(report.began, &world.spec.deadlines.total);
        Action::Start(Job::WatchIsolation, end)
    })
}

/// What is left to do when a run is over.
fn let_go(world: &World<'_>) -> Vec<Action> {
    let jobs = (!world.running.is_empty()).then_some(Action::EndJobs);
    let finalizer = world.finalizer.then_some(Action::RemoveFinalizer);
    jobs.into_iter().chain(finalizer).collect()
}

/// The command that a run is at, as its status says.
fn current(world: &World<'_>) -> Command {
    let step = world.status.step.as_deref();
    let mut all = Command::ALL.into_iter();
    all.find(|command| step == Some(command.id()))
        .unwrap_or(Command::Preflight)
}

/// Somebody lets go of a run by force: everything of it is told to go, and nothing is waited for.
fn abandon(world: &World<'_>, facts: &mut Facts) -> Stand {
    facts.stopped.get_or_insert_with(|| {
        let message = format!("abandoned by {}", world.abandoned_by.unwrap_or_default());
        stopped(current(world), Problem::permanent("Abandoned", message))
    });
    Stand::Over {
        outcome: Outcome::Abandoned,
        actions: tell_to_go(world),
    }
}

/// Everything is told to go, and the run is let go of. Deletes may fail, as may have been the reason: the finalizer goes whatever is left.
fn tell_to_go(world: &World<'_>) -> Vec<Action> {
    let there = world.objects.iter().filter(|(_, seen)| !seen.deleting);
    let (pods, others): (Vec<Object>, Vec<Object>) = there
        .map(|(object, _)| *object)
        .partition(|object| Object::PODS.contains(object));
    let all = pods.into_iter().chain(others).map(Action::Delete);
    all.chain(let_go(world)).collect()
}

/// The report is the mark that the approval was used, and it carried the facts. Without it a run neither goes on nor begins anew.
fn report_deleted(world: &World<'_>, facts: &mut Facts) -> (Vec<Action>, Option<Timestamp>, bool) {
    // In a namespace that is being deleted it goes with everything else.
    if !world.namespace_terminating {
        facts.stopped.get_or_insert_with(|| {
            let report = id::report(world.name, world.uid);
            let message =
                format!("DryRunReport {report} was deleted, and what the run had found with it");
            stopped(current(world), Problem::permanent("ReportDeleted", message))
        });
    }
    teardown::advance(world, facts)
}

/// A run that has ended: only the finalizer may be left, and what an abandoned run has not been told yet. Its status stays, whatever has become
/// of its report since.
fn ended(world: &World<'_>) -> Decision {
    let actions = match world.status.outcome {
        Some(Outcome::Abandoned) if world.finalizer => tell_to_go(world),
        _ => let_go(world),
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
fn shut_out(world: &World<'_>, message: &str) -> Decision {
    Decision {
        actions: Vec::new(),
        status: status::waiting(world, "NotPrepared", message),
        facts: world.facts.clone(),
        wake: Some(snapshot::later(world.now, LOOK_FOR_RIGHTS)),
        verdicts: Vec::new(),
    }
}

/// A run that has not begun: nothing was created, so nothing is to be torn down.
fn before(world: &World<'_>) -> Stand {
    if world.deleted || world.namespace_terminating {
        let actions = if world.finalizer {
            vec![Action::RemoveFinalizer]
        } else {
            Vec::new()
        };
        return Stand::Before {
            approved: Verdict::unknown("Deleted", "deleted before it was approved"),
            actions,
            wake: None,
        };
    }
    let never = |outcome, reason: &str, message: String| Stand::Never {
        outcome,
        problem: Problem::permanent(reason, message),
    };
    if let Some(who) = world.abandoned_by {
        let message = format!("abandoned by {who} before it began");
        return never(Outcome::Abandoned, "Abandoned", message);
    }
    let wait = |reason: &str, message: String, wake| Stand::Before {
        approved: Verdict::unknown(reason, message),
        actions: Vec::new(),
        wake: Some(wake),
    };
    let expires = world.after(world.created, &world.spec.approval.expires_after);
    let plan = match world.plan {
        Ok(plan) => plan,
        Err(problem) => {
            let (reason, message) = (&problem.reason, problem.message.clone());
            // A plan that was there once may come back, as while a Secret is made anew: it has as long as its approval.
            let (pause, deadline) = if world.status.plan.is_some() {
                (LOOK_FOR_POLICIES, expires)
            } else {
                let start = world.after(world.created, &world.spec.deadlines.start);
                (LOOK_AGAIN, start)
            };
            if world.now >= deadline {
                return never(Outcome::Failed, reason, message);
            }
            // ConfigMaps and Secrets are read by name alone, never watched.
            return wait(
                reason,
                message,
                snapshot::later(world.now, pause).min(deadline),
            );
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
        // Nothing proves that whoever asked is who the spec says.
        Enforcement::Whole { .. } => {
            let message =
                "the admission policies have changed since it was asked for: make a new DryRun";
            return wait("RequestOlderThanPolicy", message.into(), expires);
        }
        Enforcement::Broken(problem) => {
            let again = snapshot::later(world.now, LOOK_FOR_POLICIES).min(expires);
            return wait("ApprovalNotEnforced", problem.message.clone(), again);
        }
        Enforcement::Unseen => {
            let message = "the admission policies have not been looked at";
            let again = snapshot::later(world.now, LOOK_FOR_POLICIES).min(expires);
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
        Approval::Valid { approved_by, .. } => Stand::Before {
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

fn finish(
    world: &World<'_>,
    facts: Facts,
    verdicts: Vec<(&'static Gate, Verdict)>,
    stand: Stand,
) -> Decision {
    let verdicts = status::explain(&facts, verdicts, &stand);
    let status = status::build(world, &facts, &verdicts, &stand);
    let (actions, wake) = match stand {
        Stand::Before { actions, wake, .. } | Stand::At { actions, wake, .. } => (actions, wake),
        Stand::Never { .. } => (let_go(world), None),
        Stand::Over { actions, .. } => (actions, None),
    };
    Decision {
        actions,
        status,
        facts,
        wake,
        verdicts,
    }
}
