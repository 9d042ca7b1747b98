//! Runs that may not begin, that lose their report, and that a user abandons by force.

use jiff::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;

use super::model::{BEGIN, Model};
use crate::api::{Outcome, PlanSummary};
use crate::commands::later;
use crate::commands::{Action, Command, Facts};
use crate::plan::admission::Enforcement;
use crate::plan::approval::Approval;
use crate::problem::Problem;
use crate::run::object::{Object, RunVolume};

/// More passes than a run has.
const PASSES: usize = 80;

fn whole(second: i64) -> Enforcement {
    let since = Timestamp::from_second(second).unwrap();
    Enforcement::Whole {
        requester_since: since,
        approver_since: since,
    }
}

/// Passes that a run needs until it has begun.
fn begun() -> Model {
    let mut model = Model::new();
    while !model.report {
        assert!(model.pass());
    }
    model
}

fn creates(actions: &[Action]) -> usize {
    let creates = |a: &&Action| matches!(a, Action::CreateReport | Action::Create(_));
    actions.iter().filter(creates).count()
}

#[test]
fn no_approval_counts_while_the_policies_are_not_in_force() {
    for broken in [
        Enforcement::Unseen,
        Enforcement::Broken(Problem::permanent("PolicyMissing", "there is no policy")),
    ] {
        let mut model = Model::new();
        let told = match broken {
            Enforcement::Unseen => ("Unknown", "Pending"),
            Enforcement::Broken(_) | Enforcement::Whole { .. } => ("False", "PolicyMissing"),
        };
        model.enforcement = broken;
        model.run();
        assert!(model.log.is_empty(), "{:?}", model.log);
        assert_eq!(
            model.condition("Approved"),
            ("Unknown", "ApprovalNotEnforced")
        );
        assert_eq!(model.condition("ApprovalEnforced"), told);
        assert_eq!(model.wake, Some(later(model.now, Duration::from_secs(30))));
        model.enforcement = whole(BEGIN - 1);
        model.pass();
        assert_eq!(model.condition("ApprovalEnforced"), ("True", "Enforced"));
        assert_eq!(model.log, [Action::AddFinalizer]);
        // Once the run has begun the policies are not read any more, and what was seen stands.
        while !model.report {
            model.pass();
        }
        model.enforcement = Enforcement::Unseen;
        model.run();
        assert_eq!(model.condition("ApprovalEnforced"), ("True", "Enforced"));
        assert_eq!(model.condition("NetZero"), ("True", "Proven"));
    }
}

#[test]
fn whoever_asked_before_the_policies_changed_proves_nothing() {
    let mut model = Model::new();
    model.enforcement = whole(BEGIN);
    model.run();
    assert!(model.log.is_empty(), "{:?}", model.log);
    assert_eq!(
        model.condition("Approved"),
        ("Unknown", "RequestOlderThanPolicy")
    );
}

#[test]
fn a_plan_that_changed_after_it_was_approved_is_void_for_good() {
    for approved_before in [false, true] {
        let mut model = Model::new();
        if approved_before {
            model.pass();
            assert_eq!(model.condition("Approved"), ("True", "Approved"));
        }
        model.plan = Ok(PlanSummary {
            hash: "sha256:q".into(),
            ..PlanSummary::default()
        });
        model.approval = Approval::Void {
            message: "Secret production changed".into(),
        };
        model.run();
        assert_eq!(creates(&model.log), 0, "{:?}", model.log);
        assert!(!model.finalizer);
        assert_eq!(model.status.outcome, Some(Outcome::Failed));
        assert_eq!(model.condition("Approved"), ("False", "PlanChanged"));
        assert_eq!(model.condition("Succeeded"), ("False", "Failed"));
        assert_eq!(model.condition("Stalled"), ("True", "Failed"));
        assert_eq!(model.condition("NetZero"), ("True", "NothingCreated"));
        let succeeded = crate::conditions::find(&model.status.conditions, "Succeeded").unwrap();
        assert!(succeeded.message.starts_with("Secret production changed"));
        // Another approval comes too late.
        let settled = model.status.clone();
        model.approval = Approval::None;
        model.run();
        assert_eq!(model.status, settled);
    }
}

#[test]
fn an_approval_that_expires_while_the_run_works_does_not_stop_it() {
    let mut model = begun();
    model.approval = Approval::Refused(Problem::permanent("ApprovalExpired", "it expired"));
    model.plan = Err(Problem::permanent("ConfigMapMissing", String::new()));
    model.run();
    assert_eq!(model.condition("Approved"), ("True", "Approved"));
    assert_eq!(model.condition("ScenariosPassed"), ("True", "Passed"));
    assert_eq!(model.facts.stopped, None);
    model.assert_nothing_left();
}

#[test]
fn a_run_whose_report_is_deleted_is_torn_down_and_never_begins_again() {
    let mut told = 0;
    for passes in 0..PASSES {
        let mut model = begun();
        // Before its first object only the report records a run, and nothing was done.
        while model.objects.is_empty() {
            model.pass();
        }
        for _ in 0..passes {
            model.pass();
        }
        let ended = model.status.outcome;
        let failed = model.status.failed_gate.clone();
        let before = model.log.len();
        (model.report, model.facts) = (false, Facts::default());
        model.run();
        let after = &model.log[before..];
        assert_eq!(creates(after), 0, "{after:?} after {passes}");
        model.assert_nothing_left();
        if ended.is_some() {
            assert_eq!(model.status.outcome, ended);
            continue;
        }
        told += 1;
        assert_eq!(model.status.outcome, Some(Outcome::Inconclusive));
        assert_eq!((model.status.failed_gate.clone(), failed), (None, None));
        assert_eq!(model.condition("Approved"), ("True", "Approved"));
        assert_eq!(model.condition("NetZero"), ("True", "Proven"));
        let succeeded = crate::conditions::find(&model.status.conditions, "Succeeded").unwrap();
        assert!(
            succeeded.message.contains("ReportDeleted")
                && succeeded.message.contains("demo-0f1e2d3c"),
            "{}",
            succeeded.message
        );
    }
    assert!(told > 20, "only {told} moments");
}

#[test]
fn a_run_that_is_abandoned_lets_go_at_once() {
    for passes in 0..PASSES {
        let mut model = Model::new();
        for _ in 0..passes {
            model.pass();
        }
        let (ended, begun) = (model.status.outcome, model.report);
        let before = model.log.len();
        // No delete takes effect.
        model.held = Object::ALL.into();
        model.abandoned_by = Some("carol");
        model.run();
        assert!(!model.finalizer, "after {passes}");
        assert!(model.running.is_empty(), "{:?}", model.running);
        let after = &model.log[before..];
        assert_eq!(creates(after), 0, "{after:?} after {passes}");
        assert!(
            !after.iter().any(|a| matches!(a, Action::Start(..))),
            "{after:?} after {passes}"
        );
        if ended.is_some() {
            assert_eq!(model.status.outcome, ended);
            continue;
        }
        assert_eq!(model.status.outcome, Some(Outcome::Abandoned));
        assert_eq!(model.condition("Succeeded"), ("False", "Abandoned"));
        assert_eq!(model.condition("Stalled"), ("True", "Abandoned"));
        let told = crate::conditions::find(&model.status.conditions, "NetZero").unwrap();
        if begun {
            assert_eq!((&*told.status, &*told.reason), ("False", "Abandoned"));
            assert!(told.message.contains("carol"), "{}", told.message);
            assert!(model.objects.values().all(|object| object.deleting));
            let pod = model.objects.keys().find(|o| o.is_pod());
            let pod = pod.map_or("", |pod| pod.role());
            assert!(told.message.contains(pod), "{}", told.message);
        } else {
            assert_eq!((&*told.status, &*told.reason), ("True", "NothingCreated"));
            assert_eq!(model.condition("Approved"), ("False", "Abandoned"));
        }
    }
}

#[test]
fn a_teardown_that_hangs_can_be_abandoned() {
    let mut model = Model::new();
    model.held = BTreeSet::from([RunVolume::Data.into()]);
    model.run();
    assert!(model.finalizer, "it hangs");
    assert_eq!(model.condition("NetZero"), ("Unknown", "TearingDown"));
    // What is late is named.
    model.now = model.wake.unwrap();
    model.run();
    let told = crate::conditions::find(&model.status.conditions, "NetZero").unwrap();
    assert_eq!(told.message, "still there: PersistentVolumeClaim/demo-data");
    model.abandoned_by = Some("carol");
    model.run();
    assert!(!model.finalizer);
    let told = crate::conditions::find(&model.status.conditions, "NetZero").unwrap();
    let left = "abandoned by carol; told to go and still there: PersistentVolumeClaim/demo-data";
    assert!(told.message.starts_with(left), "{}", told.message);
    let stopped = model.facts.stopped.clone().unwrap();
    assert_eq!(
        (stopped.command, &*stopped.problem.reason),
        (Command::Teardown, "Abandoned")
    );
}
