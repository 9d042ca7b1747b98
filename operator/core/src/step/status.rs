//! What is said of a run: built whole from what is known, and written only if it changed.

use super::decide::Stand;
use super::{World, teardown};
use crate::api::{Child, DryRunStatus, Outcome};
use crate::commands::Command;
use crate::conditions::{self, DesiredCondition, upsert};
use crate::gate::{Gate, NOT_REACHED, PENDING, Status, Verdict};
use crate::plan::admission::Enforcement;
use crate::run::facts::Facts;
use crate::run::id;
use crate::run::object::Object;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// How a run ended, by its gates alone.
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

/// How many objects that are left are named.
const NAMED: usize = 3;
/// Commands that take moments: they are shown with the one that follows.
const MOMENTARY: [Command; 3] = [Command::Preflight, Command::Secrets, Command::Evidence];

/// Whether a status is worth a write: a plan, an approval, the next command, a failure or an end. Verdicts that passed go with the command that
/// they let begin, UIDs and messages with whatever comes next: more would wake watchers for nothing.
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

/// Whether it is said what teardown waits for.
fn hangs(status: &DryRunStatus) -> bool {
    conditions::find(&status.conditions, "NetZero")
        .is_some_and(|c| c.reason == TEARING_DOWN && !c.message.is_empty())
}

/// Reason of `NetZero` while teardown works.
const TEARING_DOWN: &str = "TearingDown";

/// Says why a gate without facts has none: what stopped its command, or that the run ended before it.
pub(super) fn explain(
    facts: &Facts,
    mut verdicts: Vec<(&'static Gate, Verdict)>,
    stand: &Stand,
) -> Vec<(&'static Gate, Verdict)> {
    let stopping = match stand {
        Stand::Before { .. } => false,
        Stand::At { command, .. } => *command == Command::Teardown,
        Stand::Never { .. } | Stand::Over { .. } => true,
    };
    if !stopping {
        return verdicts;
    }
    for (gate, verdict) in &mut verdicts {
        let late = gate.command == Command::Teardown && matches!(stand, Stand::At { .. });
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
    world: &World<'_>,
    facts: &Facts,
    verdicts: &[(&'static Gate, Verdict)],
    stand: &Stand,
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
    approved(world, &mut status, stand);
    summaries(world, facts, &mut status, verdicts, stand);
    if world.begun() || status.approved.as_deref() == Some("True") {
        status.children = children(world);
        // Kept when the report is deleted: a run that has one named never begins again.
        if world.begun() {
            status.report = Some(id::report(world.name, world.uid));
        }
    }
    status.step = Some(match stand {
        Stand::Before { .. } if world.plan.is_err() => "Plan".into(),
        Stand::Before { .. } => "Approval".into(),
        Stand::At { command, .. } => command.id().into(),
        Stand::Never { .. } | Stand::Over { .. } => "Done".into(),
    });
    if let Stand::Never { outcome, .. } | Stand::Over { outcome, .. } = stand {
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

/// The status as it was, with what a run that cannot go on waits for.
pub(super) fn waiting(world: &World<'_>, reason: &str, message: &str) -> DryRunStatus {
    let mut status = world.status.clone();
    let waits = Verdict::new(Status::True, reason, message);
    set(world, &mut status, RECONCILING, &waits);
    status
}

/// Condition of a run that has something to do.
const RECONCILING: &str = "Reconciling";
/// Its reason when it does it.
const RUNNING: &str = "Running";

fn set(world: &World<'_>, status: &mut DryRunStatus, type_: &str, said: &Verdict) {
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
fn repeat(world: &World<'_>, status: &mut DryRunStatus, type_: &str) -> Status {
    let said = conditions::find(&status.conditions, type_).map_or_else(Verdict::pending, |c| {
        Verdict::new(Status::of(&c.status), &c.reason, c.message.clone())
    });
    set(world, status, type_, &said);
    said.status
}

/// Whether the apiserver checks approvals. Looked at until the run begins; then it stays as it was.
fn enforced(world: &World<'_>, status: &mut DryRunStatus) {
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

fn approved(world: &World<'_>, status: &mut DryRunStatus, stand: &Stand) {
    let said = match (stand, &world.report) {
        (Stand::Before { approved, .. }, _) => approved.clone(),
        (Stand::Never { problem, .. }, _) => {
            Verdict::fail(&problem.reason, problem.message.clone())
        }
        (Stand::At { .. } | Stand::Over { .. }, Some(report)) => Verdict::new(
            Status::True,
            "Approved",
            format!("approved by {}", report.approved_by),
        ),
        // Its report is gone: what it said stands.
        (Stand::At { .. } | Stand::Over { .. }, None) => {
            let value = repeat(world, status, "Approved");
            status.approved = Some(value.as_str().to_owned());
            return;
        }
    };
    set(world, status, "Approved", &said);
    status.approved = Some(said.status.as_str().to_owned());
}

fn summaries(
    world: &World<'_>,
    facts: &Facts,
    status: &mut DryRunStatus,
    verdicts: &[(&'static Gate, Verdict)],
    stand: &Stand,
) {
    let begins = status.approved.as_deref() == Some("True");
    let succeeded = match stand {
        Stand::Before { .. } if begins => Verdict::unknown(RUNNING, "the run begins"),
        Stand::Before { .. } => Verdict::unknown("NotBegun", "nothing was created"),
        Stand::At { command, .. } => Verdict::unknown(RUNNING, format!("at {}", command.id())),
        Stand::Over {
            outcome: Outcome::Passed,
            ..
        } => Verdict::pass(format!("all {} gates passed", verdicts.len())),
        Stand::Never { outcome, problem } => {
            Verdict::fail(outcome.as_str(), problem.message.clone())
        }
        Stand::Over { outcome, .. } => {
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
    let net_zero = match stand {
        Stand::Never { .. } => Verdict::new(Status::True, "NothingCreated", "the run never began"),
        Stand::Over {
            outcome: Outcome::Abandoned,
            ..
        } => Verdict::fail("Abandoned", abandoned(world)),
        Stand::Over { .. } if proven => Verdict::new(
            Status::True,
            "Proven",
            "two looks by name and by label found nothing",
        ),
        Stand::Over { .. } if world.namespace_terminating => {
            Verdict::unknown("NamespaceTerminating", proof_error())
        }
        Stand::Over { .. } => Verdict::unknown("NotProven", proof_error()),
        Stand::At {
            command: Command::Teardown,
            ..
        } => Verdict::unknown(TEARING_DOWN, tearing_down(world, facts)),
        Stand::Before { .. } | Stand::At { .. } => Verdict::pending(),
    };
    set(world, status, "Succeeded", &succeeded);
    set(world, status, "NetZero", &net_zero);
    status.net_zero = Some(net_zero.status.as_str().to_owned());
    match stand {
        // Approved: it begins with the next create, and saying so later would be a write of its own.
        Stand::Before { .. } if !begins => {}
        Stand::Before { .. } | Stand::At { .. } => {
            let runs = Verdict::new(Status::True, RUNNING, succeeded.message);
            set(world, status, RECONCILING, &runs);
        }
        Stand::Never { .. } | Stand::Over { .. } => {
            conditions::remove(&mut status.conditions, RECONCILING);
            if succeeded.status != Status::True {
                let stalled = Verdict::new(Status::True, &succeeded.reason, succeeded.message);
                set(world, status, "Stalled", &stalled);
            }
        }
    }
}

/// What teardown waits for, once it is late.
fn tearing_down(world: &World<'_>, facts: &Facts) -> String {
    let hanging = teardown::hanging(world, facts);
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

/// Who let go of the run, and what of it is there.
fn abandoned(world: &World<'_>) -> String {
    let who = world.abandoned_by.unwrap_or_default();
    // What holds data comes first.
    let pods = world.objects.keys().filter(|o| Object::PODS.contains(o));
    let others = world.objects.keys().filter(|o| !Object::PODS.contains(o));
    let left: Vec<String> = pods
        .chain(others)
        .map(|object| object.reference(world.name, world.uid))
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

/// Why a run that began did not pass, in one sentence.
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
fn children(world: &World<'_>) -> Vec<Child> {
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
            let name = object.name(world.name, world.uid);
            let uid = world
                .objects
                .get(object)
                .map(|o| o.uid.clone())
                .or_else(|| known(object.kind(), &name));
            Child {
                kind: object.kind().into(),
                namespace: if object.is_outside() {
                    world.probes_namespace.into()
                } else {
                    world.namespace.into()
                },
                name,
                uid,
            }
        })
        .collect();
    children.push(Child {
        kind: "DryRunReport".into(),
        namespace: world.namespace.into(),
        name: id::report(world.name, world.uid),
        uid: None,
    });
    children
}

/// One line per gate: failed first, then unknown, then passed; the number keeps the order known. Padded with spaces: `kubectl describe` passes
/// it through a tab writer.
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
