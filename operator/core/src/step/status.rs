//! Status of a run: built whole from what is known, and written only if it changed.

use super::decide::RunState;
use super::snapshot::Snapshot;
use crate::api::{Child, DryRunStatus, Outcome};
use crate::commands::{Command, Facts, c13_teardown};
use crate::conditions::{self, DesiredCondition, upsert};
use crate::gate::{Gate, NOT_REACHED, PENDING, Status, Verdict};
use crate::plan::admission::Enforcement;
use crate::run::object::Object;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// Returns the outcome of a run by its gates alone.
pub(super) fn outcome(verdicts: &[(&'static Gate, Verdict)]) -> Outcome {
    let any = |status| verdicts.iter().any(|(_, v)| v.status == status);
    if any(Status::False) {
        Outcome::Failed
    } else if any(Status::Unknown) {
        Outcome::Inconclusive
    } else {
        Outcome::Passed
    }
}

/// Maximum number of remaining objects that are named.
const NAMED: usize = 3;
/// Commands that take moments: they are shown with the one that follows.
const MOMENTARY: [Command; 3] = [Command::Preflight, Command::Secrets, Command::Evidence];

/// Returns true if a status is worth a write: a plan, an approval, the next command, a failure or
/// an end. Verdicts that passed go with the command that they let begin, UIDs and messages with the
/// next write: more would wake watchers for nothing.
pub fn is_edge(before: &DryRunStatus, after: &DryRunStatus) -> bool {
    fn said(status: &DryRunStatus, of: impl Fn(&Condition) -> bool) -> Vec<(&str, &str, &str)> {
        let said = status.conditions.iter().filter(|c| of(c));
        said.map(|c| (c.type_.as_str(), c.status.as_str(), c.reason.as_str()))
            .collect()
    }
    let approved = |c: &Condition| ["Approved", "ApprovalEnforced"].contains(&c.type_.as_str());
    let failed = |c: &Condition| c.status == Status::False.as_str();
    let waits = |c: &Condition| c.type_ == RECONCILING && c.reason != RUNNING;
    let momentary = MOMENTARY
        .iter()
        .any(|command| after.step.as_deref() == Some(command.id()));
    before.observed_generation != after.observed_generation
        || before.plan != after.plan
        || before.outcome != after.outcome
        || said(before, approved) != said(after, approved)
        || said(before, failed) != said(after, failed)
        || said(before, waits) != said(after, waits)
        || (!hangs(before) && hangs(after))
        || (before.step != after.step && !momentary)
}

/// Returns true if the status says what teardown waits for.
fn hangs(status: &DryRunStatus) -> bool {
    conditions::find(&status.conditions, "NetZero")
        .is_some_and(|c| c.reason == TEARING_DOWN && !c.message.is_empty())
}

/// Reason of `NetZero` while teardown works.
const TEARING_DOWN: &str = "TearingDown";

/// Says why a gate without facts has none: what stopped its command, or that the run ended before
/// it.
pub(super) fn explain(
    facts: &Facts,
    mut verdicts: Vec<(&'static Gate, Verdict)>,
    state: &RunState,
) -> Vec<(&'static Gate, Verdict)> {
    let stopping = match state {
        RunState::Before { .. } => false,
        RunState::At { command, .. } => *command == Command::Teardown,
        RunState::Never { .. } | RunState::Over { .. } => true,
    };
    if !stopping {
        return verdicts;
    }
    for (gate, verdict) in &mut verdicts {
        let late = gate.command == Command::Teardown && matches!(state, RunState::At { .. });
        if verdict.reason != PENDING || late {
            continue;
        }
        *verdict = match &facts.stopped {
            Some(stopped) if stopped.command == gate.command => {
                Verdict::unknown(&stopped.problem.reason, stopped.problem.message.clone())
            }
            Some(stopped) => Verdict::unknown(
                NOT_REACHED,
                format!(
                    "{} stopped the run: {}",
                    stopped.command.id(),
                    stopped.problem.reason
                ),
            ),
            None => Verdict::unknown(NOT_REACHED, "the run ended before it"),
        };
    }
    verdicts
}

/// The whole status.
pub(super) fn build(
    world: &Snapshot<'_>,
    facts: &Facts,
    verdicts: &[(&'static Gate, Verdict)],
    state: &RunState,
) -> DryRunStatus {
    let mut status = world.status.clone();
    status.observed_generation = Some(world.generation);
    if !world.begun()
        && let Ok(plan) = world.plan
    {
        status.plan = Some(plan.clone());
    }
    for (gate, verdict) in verdicts {
        set(world, &mut status, gate.name, verdict);
    }
    enforced(world, &mut status);
    approved(world, &mut status, state);
    summaries(world, facts, &mut status, verdicts, state);
    if world.begun() || status.approved.as_deref() == Some("True") {
        status.children = children(world);
        // Kept when the report is deleted: a run that has one named never begins again.
        if world.begun() {
            status.report = Some(world.run.report());
        }
    }
    status.step = Some(match state {
        RunState::Before { .. } if world.plan.is_err() => "Plan".into(),
        RunState::Before { .. } => "Approval".into(),
        RunState::At { command, .. } => command.id().into(),
        RunState::Never { .. } | RunState::Over { .. } => "Done".into(),
    });
    if let RunState::Never { outcome, .. } | RunState::Over { outcome, .. } = state {
        status.outcome = Some(*outcome);
    }
    let passed = verdicts
        .iter()
        .filter(|(_, v)| v.status == Status::True)
        .count();
    status.gates = Some(format!("{passed}/{}", verdicts.len()));
    status.failed_gate = verdicts
        .iter()
        .find(|(_, v)| v.status == Status::False)
        .map(|(g, _)| format!("{} {}", g.id, g.name));
    status.verdict = table(verdicts);
    status
}

/// The status as it was, with the reason why a blocked run waits.
pub(super) fn waiting(world: &Snapshot<'_>, reason: &str, message: &str) -> DryRunStatus {
    let mut status = world.status.clone();
    let waits = Verdict::new(Status::True, reason, message);
    set(world, &mut status, RECONCILING, &waits);
    status
}

/// Condition of a run that has something to do.
const RECONCILING: &str = "Reconciling";
/// Its reason when it does it.
const RUNNING: &str = "Running";

fn set(world: &Snapshot<'_>, status: &mut DryRunStatus, type_: &str, said: &Verdict) {
    let desired = DesiredCondition {
        type_,
        status: said.status.as_str(),
        reason: &said.reason,
        message: &said.message,
    };
    upsert(
        &mut status.conditions,
        &desired,
        world.generation,
        world.now,
    );
}

/// Says a condition again as it stands, of the present generation; or that nothing is known yet.
fn repeat(world: &Snapshot<'_>, status: &mut DryRunStatus, type_: &str) -> Status {
    let said = conditions::find(&status.conditions, type_).map_or_else(Verdict::pending, |c| {
        Verdict::new(Status::of(&c.status), &c.reason, c.message.clone())
    });
    set(world, status, type_, &said);
    said.status
}

/// Writes the state of the admission policies into the status. Looked at until the run begins; then
/// it stays as it was.
fn enforced(world: &Snapshot<'_>, status: &mut DryRunStatus) {
    let said = match &world.enforcement {
        Enforcement::Unseen => {
            repeat(world, status, "ApprovalEnforced");
            return;
        }
        Enforcement::Whole { .. } => Verdict::new(
            Status::True,
            "Enforced",
            "the admission policies are in force as the chart has them",
        ),
        Enforcement::Broken(problem) => Verdict::fail(&problem.reason, problem.message.clone()),
    };
    set(world, status, "ApprovalEnforced", &said);
}

fn approved(world: &Snapshot<'_>, status: &mut DryRunStatus, state: &RunState) {
    let said = match (state, &world.report) {
        (RunState::Before { approved, .. }, _) => approved.clone(),
        (RunState::Never { problem, .. }, _) => {
            Verdict::fail(&problem.reason, problem.message.clone())
        }
        (RunState::At { .. } | RunState::Over { .. }, Some(report)) => Verdict::new(
            Status::True,
            "Approved",
            format!("approved by {}", report.approved_by),
        ),
        // Its report is gone: what it said stands.
        (RunState::At { .. } | RunState::Over { .. }, None) => {
            let value = repeat(world, status, "Approved");
            status.approved = Some(value.as_str().to_owned());
            return;
        }
    };
    set(world, status, "Approved", &said);
    status.approved = Some(said.status.as_str().to_owned());
}

fn summaries(
    world: &Snapshot<'_>,
    facts: &Facts,
    status: &mut DryRunStatus,
    verdicts: &[(&'static Gate, Verdict)],
    state: &RunState,
) {
    let begins = status.approved.as_deref() == Some("True");
    let succeeded = match state {
        RunState::Before { .. } if begins => Verdict::unknown(RUNNING, "the run begins"),
        RunState::Before { .. } => Verdict::unknown("NotBegun", "nothing was created"),
        RunState::At { command, .. } => Verdict::unknown(RUNNING, format!("at {}", command.id())),
        RunState::Over {
            outcome: Outcome::Passed,
            ..
        } => Verdict::pass(format!("all {} gates passed", verdicts.len())),
        RunState::Never { outcome, problem } => {
            Verdict::fail(outcome.as_str(), problem.message.clone())
        }
        RunState::Over { outcome, .. } => {
            Verdict::fail(outcome.as_str(), why(facts, verdicts, *outcome))
        }
    };
    let proven = facts.teardown.as_ref().is_some_and(|t| t.proven);
    let proof_error = || {
        let teardown = facts.teardown.as_ref();
        teardown
            .and_then(|t| t.proof_error.clone())
            .unwrap_or_default()
    };
    let net_zero = match state {
        RunState::Never { .. } => {
            Verdict::new(Status::True, "NothingCreated", "the run never began")
        }
        RunState::Over {
            outcome: Outcome::Abandoned,
            ..
        } => Verdict::fail("Abandoned", abandoned(world)),
        RunState::Over { .. } if proven => Verdict::new(
            Status::True,
            "Proven",
            "two looks by name and by label found nothing",
        ),
        RunState::Over { .. } if world.namespace_terminating => {
            Verdict::unknown("NamespaceTerminating", proof_error())
        }
        RunState::Over { .. } => Verdict::unknown("NotProven", proof_error()),
        RunState::At {
            command: Command::Teardown,
            ..
        } => Verdict::unknown(TEARING_DOWN, tearing_down(world, facts)),
        RunState::Before { .. } | RunState::At { .. } => Verdict::pending(),
    };
    set(world, status, "Succeeded", &succeeded);
    set(world, status, "NetZero", &net_zero);
    status.net_zero = Some(net_zero.status.as_str().to_owned());
    match state {
        // Approved: the run begins with the next create, and saying so later would need another
        // write.
        RunState::Before { .. } if !begins => {}
        RunState::Before { .. } | RunState::At { .. } => {
            let runs = Verdict::new(Status::True, RUNNING, succeeded.message);
            set(world, status, RECONCILING, &runs);
        }
        RunState::Never { .. } | RunState::Over { .. } => {
            conditions::remove(&mut status.conditions, RECONCILING);
            if succeeded.status != Status::True {
                let stalled = Verdict::new(Status::True, &succeeded.reason, succeeded.message);
                set(world, status, "Stalled", &stalled);
            }
        }
    }
}

/// Describes the objects that teardown waits for, once it is late.
fn tearing_down(world: &Snapshot<'_>, facts: &Facts) -> String {
    let hanging = c13_teardown::hanging(&world.view(facts, world.now));
    let error = facts.teardown.as_ref().and_then(|t| t.proof_error.clone());
    if hanging.is_empty() {
        error.unwrap_or_default()
    } else {
        format!("still there: {}", enumerate(&hanging))
    }
}

/// The first of these by name, and how many more there are.
fn enumerate(all: &[String]) -> String {
    match all.split_at_checked(NAMED) {
        None | Some((_, [])) => all.join(", "),
        Some((named, more)) => format!("{} and {} more", named.join(", "), more.len()),
    }
}

/// Describes the user who abandoned the run, and its remaining objects.
fn abandoned(world: &Snapshot<'_>) -> String {
    let who = world.abandoned_by.unwrap_or_default();
    // What holds data comes first.
    let pods = world.objects.keys().filter(|o| o.is_pod());
    let others = world.objects.keys().filter(|o| !o.is_pod());
    let left: Vec<String> = pods
        .chain(others)
        .map(|object| world.run.reference(*object))
        .collect();
    let left = if world.blind {
        "what is left cannot be seen".to_owned()
    } else if left.is_empty() {
        "nothing of it was seen any more".to_owned()
    } else {
        format!("told to go and still there: {}", enumerate(&left))
    };
    format!("abandoned by {who}; {left}")
}

/// Describes in one sentence why a run that began did not pass.
fn why(facts: &Facts, verdicts: &[(&'static Gate, Verdict)], outcome: Outcome) -> String {
    let named = |status| verdicts.iter().find(|(_, v)| v.status == status);
    match outcome {
        Outcome::Failed => named(Status::False).map_or_else(String::new, |(g, v)| {
            format!("{} {}: {}: {}", g.id, g.name, v.reason, v.message)
        }),
        Outcome::Inconclusive => match &facts.stopped {
            Some(stopped) => format!("{}: {}", stopped.command.id(), stopped.problem),
            None => {
                let open: Vec<&str> = verdicts
                    .iter()
                    .filter(|(_, v)| v.status == Status::Unknown)
                    .map(|(g, _)| g.id)
                    .collect();
                format!("no gate failed, unknown: {}", open.join(", "))
            }
        },
        Outcome::Abandoned => facts.stopped.as_ref().map_or_else(String::new, |stopped| {
            format!("{}: {}", stopped.command.id(), stopped.problem.message)
        }),
        Outcome::Expired | Outcome::Passed => String::new(),
    }
}

/// Every object of the run: the names stand here before the first create.
fn children(world: &Snapshot<'_>) -> Vec<Child> {
    let known = |kind: &str, name: &str| {
        world
            .status
            .children
            .iter()
            .find(|c| c.kind == kind && c.name == name)
            .and_then(|c| c.uid.clone())
    };
    let mut children: Vec<Child> = Object::ALL
        .iter()
        .map(|object| {
            let name = world.run.name_of(*object);
            let uid = world
                .objects
                .get(object)
                .map(|o| o.uid.clone())
                .or_else(|| known(object.kind(), &name));
            Child {
                kind: object.kind().into(),
                namespace: world
                    .run
                    .namespace_of(*object, world.probes_namespace)
                    .into(),
                name,
                uid,
            }
        })
        .collect();
    children.push(Child {
        kind: "DryRunReport".into(),
        namespace: world.run.namespace.clone(),
        name: world.run.report(),
        uid: None,
    });
    children
}

/// One line per gate: failed first, then unknown, then passed; the number keeps the order known.
/// Padded with spaces: `kubectl describe` passes it through a tab writer.
fn table(verdicts: &[(&'static Gate, Verdict)]) -> Vec<String> {
    let width = verdicts
        .iter()
        .map(|(g, _)| g.name.len())
        .max()
        .unwrap_or(0);
    let lines = |status: Status| {
        verdicts
            .iter()
            .filter(move |(_, v)| v.status == status)
            .map(move |(gate, verdict)| {
                let word = match status {
                    Status::True => "passed",
                    Status::False => "FAILED",
                    Status::Unknown => "unknown",
                };
                let detail = match status {
                    Status::True => verdict.message.clone(),
                    Status::False | Status::Unknown if verdict.message.is_empty() => {
                        verdict.reason.clone()
                    }
                    Status::False | Status::Unknown => {
                        format!("{}: {}", verdict.reason, verdict.message)
                    }
                };
                let line = format!("{} {:width$} {word:7} {detail}", gate.id, gate.name);
                line.chars()
                    .take(400)
                    .collect::<String>()
                    .trim_end()
                    .to_owned()
            })
    };
    lines(Status::False)
        .chain(lines(Status::Unknown))
        .chain(lines(Status::True))
        .collect()
}
