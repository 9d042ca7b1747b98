//! What is said of a run: built whole from what is known, and written only if it changed.

use super::decide::Stand;
use super::{World, teardown};
use crate::api::{Child, DryRunStatus, Outcome};
use crate::commands::Command;
use crate::conditions::{self, upsert};
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
            Some(stopped) if stopped.step == gate.command.id() => {
                Verdict::unknown(&stopped.reason, stopped.message.clone())
            }
            Some(stopped) => Verdict::unknown(
                NOT_REACHED,
                format!("{} stopped the run: {}", stopped.step, stopped.reason),
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
        set(
            world,
            &mut status,
            gate.name,
            verdict.status.as_str(),
            &verdict.reason,
            &verdict.message,
        );
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
    set(world, &mut status, RECONCILING, "True", reason, message);
    status
}

/// Condition of a run that has something to do.
const RECONCILING: &str = "Reconciling";
/// Its reason when it does it.
const RUNNING: &str = "Running";

fn set(
    world: &World<'_>,
    status: &mut DryRunStatus,
    type_: &str,
    value: &str,
    reason: &str,
    message: &str,
) {
    upsert(
        &mut status.conditions,
        type_,
        value,
        reason,
        message,
        world.generation,
        world.now,
    );
}

/// Says a condition again as it stands, of the present generation; or that nothing is known yet.
fn repeat(world: &World<'_>, status: &mut DryRunStatus, type_: &str) -> String {
    let (value, reason, message) = conditions::find(&status.conditions, type_).map_or_else(
        || ("Unknown".to_owned(), PENDING.to_owned(), String::new()),
        |c| (c.status.clone(), c.reason.clone(), c.message.clone()),
    );
    set(world, status, type_, &value, &reason, &message);
    value
}

/// Whether the apiserver checks approvals. Looked at until the run begins; then it stays as it was.
fn enforced(world: &World<'_>, status: &mut DryRunStatus) {
    let type_ = "ApprovalEnforced";
    match &world.enforcement {
        Enforcement::Unseen => drop(repeat(world, status, type_)),
        Enforcement::Whole { .. } => {
            let message = "the admission policies are in force as the chart has them";
            set(world, status, type_, "True", "Enforced", message);
        }
        Enforcement::Broken { reason, message } => {
            set(world, status, type_, "False", reason, message);
        }
    }
}

fn approved(world: &World<'_>, status: &mut DryRunStatus, stand: &Stand) {
    let (value, reason, message) = match (stand, &world.report) {
        (Stand::Before { approved, .. }, _) => approved.clone(),
        (
            Stand::Never {
                reason, message, ..
            },
            _,
        ) => ("False", reason.clone(), message.clone()),
        (Stand::At { .. } | Stand::Over { .. }, Some(report)) => (
            "True",
            "Approved".to_owned(),
            format!("approved by {}", report.approved_by),
        ),
        // Its report is gone: what it said stands.
        (Stand::At { .. } | Stand::Over { .. }, None) => {
            status.approved = Some(repeat(world, status, "Approved"));
            return;
        }
    };
    set(world, status, "Approved", value, &reason, &message);
    status.approved = Some(value.to_owned());
}

fn summaries(
    world: &World<'_>,
    facts: &Facts,
    status: &mut DryRunStatus,
    verdicts: &[(&'static Gate, Verdict)],
    stand: &Stand,
) {
    let succeeded: (&str, String, String) = match stand {
        Stand::Before { .. } if status.approved.as_deref() == Some("True") => {
            ("Unknown", "Running".into(), "the run begins".into())
        }
        Stand::Before { .. } => ("Unknown", "NotBegun".into(), "nothing was created".into()),
        Stand::At { command, .. } => ("Unknown", "Running".into(), format!("at {}", command.id())),
        Stand::Over {
            outcome: Outcome::Passed,
            ..
        } => (
            "True",
            "Passed".into(),
            format!("all {} gates passed", verdicts.len()),
        ),
        Stand::Never {
            outcome, message, ..
        } => ("False", outcome.as_str().into(), message.clone()),
        Stand::Over { outcome, .. } => (
            "False",
            outcome.as_str().into(),
            why(facts, verdicts, *outcome),
        ),
    };
    let proven = facts.teardown.as_ref().is_some_and(|t| t.proven);
    let proof_error = facts.teardown.as_ref().and_then(|t| t.proof_error.clone());
    let net_zero: (&str, &str, String) = match stand {
        Stand::Never { .. } => ("True", "NothingCreated", "the run never began".into()),
        Stand::Over {
            outcome: Outcome::Abandoned,
            ..
        } => ("False", "Abandoned", abandoned(world)),
        Stand::Over { .. } if proven => (
            "True",
            "Proven",
            "two looks by name and by label found nothing".into(),
        ),
        Stand::Over { .. } if world.namespace_terminating => (
            "Unknown",
            "NamespaceTerminating",
            proof_error.unwrap_or_default(),
        ),
        Stand::Over { .. } => ("Unknown", "NotProven", proof_error.unwrap_or_default()),
        Stand::At {
            command: Command::Teardown,
            ..
        } => ("Unknown", TEARING_DOWN, tearing_down(world, facts)),
        Stand::Before { .. } | Stand::At { .. } => ("Unknown", "Pending", String::new()),
    };
    set(
        world,
        status,
        "Succeeded",
        succeeded.0,
        &succeeded.1,
        &succeeded.2,
    );
    set(
        world,
        status,
        "NetZero",
        net_zero.0,
        net_zero.1,
        &net_zero.2,
    );
    status.net_zero = Some(net_zero.0.to_owned());
    match stand {
        // Approved: it begins with the next create, and saying so later would be a write of its own.
        Stand::Before { .. } if status.approved.as_deref() != Some("True") => {}
        Stand::Before { .. } => set(
            world,
            status,
            RECONCILING,
            "True",
            RUNNING,
            "the run begins",
        ),
        Stand::At { command, .. } => set(
            world,
            status,
            RECONCILING,
            "True",
            RUNNING,
            &format!("at {}", command.id()),
        ),
        Stand::Never { .. } | Stand::Over { .. } => {
            conditions::remove(&mut status.conditions, RECONCILING);
            if succeeded.0 != "True" {
                set(world, status, "Stalled", "True", &succeeded.1, &succeeded.2);
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
            Some(stopped) => format!("{}: {}: {}", stopped.step, stopped.reason, stopped.message),
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
            format!("{}: {}", stopped.step, stopped.message)
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
