//! Whole runs, walked in a model of a cluster.

mod abort_matrix;
mod interrupted;
mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::api::Outcome;
use crate::commands::later;
use crate::commands::{Action, Command, Facts, Job};
use crate::plan::approval::Approval;
use crate::problem::Problem;
use crate::run::container::Container;
use crate::run::facts::DUMP_ATTEMPTS;
use crate::run::object::{Object, RunPod, RunPolicy, RunVolume};
use crate::run::observed::Ended;
use model::Model;

#[test]
fn a_run_goes_through_all_commands_and_leaves_nothing() {
    let mut model = Model::new();
    model.run();
    assert_eq!(model.created(), Object::ALL.into_iter().collect());
    model.assert_nothing_left();
    assert_eq!(model.condition("NetZero"), ("True", "Proven"));
    assert!(
        model.status_writes <= 12,
        "{} status writes",
        model.status_writes
    );
    assert_eq!(model.status.outcome, Some(Outcome::Passed));
    assert_eq!(model.condition("Succeeded"), ("True", "Passed"));
    assert_eq!(model.facts.stopped, None);
    assert_eq!(model.status.gates.as_deref(), Some("25/25"));
    assert_eq!(model.status.verdict.len(), 25);
    let order: Vec<Command> = model
        .log
        .iter()
        .filter_map(|action| {
            let Action::Start(job, _) = action else {
                return None;
            };
            let watch = [Job::WatchProtected, Job::WatchIsolation].contains(job);
            (!watch).then(|| job.command())
        })
        .collect();
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn pods_go_before_the_policies_that_guard_them() {
    let mut model = Model::new();
    model.run();
    let at = |object: Object| {
        model
            .log
            .iter()
            .rposition(|a| *a == Action::Delete(object))
            .unwrap()
    };
    for pod in RunPod::ALL {
        for policy in [
            RunPolicy::ProductionEgress,
            RunPolicy::CopyEgress,
            RunPolicy::CopyIngress,
        ] {
            assert!(at(pod.into()) < at(policy.into()), "{pod:?} {policy:?}");
        }
    }
}

#[test]
fn nothing_is_created_without_an_approval() {
    let mut model = Model::new();
    model.approval = Approval::None;
    model.run();
    assert!(model.log.is_empty(), "{:?}", model.log);
    assert_eq!(model.condition("Approved"), ("Unknown", "AwaitingApproval"));
    assert_eq!(
        model
            .status
            .conditions
            .iter()
            .filter(|c| c.status == "Unknown")
            .count(),
        28
    );
    model.now = later(model.now, Duration::from_secs(25 * 3600));
    model.run();
    assert!(model.log.is_empty());
    assert_eq!(model.status.outcome, Some(Outcome::Expired));
    assert_eq!(model.condition("Approved"), ("False", "Expired"));
    assert_eq!(model.condition("Stalled").0, "True");
    let settled = model.status.clone();
    model.run();
    assert_eq!(model.status, settled, "an ended run is left alone");
}

#[test]
fn an_ended_run_keeps_its_status_when_its_report_is_gone() {
    let mut model = Model::new();
    model.run();
    let settled = model.status.clone();
    (model.report, model.facts) = (false, Facts::default());
    model.run();
    assert_eq!(model.status, settled);
    model.assert_nothing_left();
}

#[test]
fn a_plan_that_does_not_resolve_waits_and_then_ends() {
    let mut model = Model::new();
    model.plan = Err(Problem::permanent(
        "ConfigMapMissing",
        "create ConfigMap iu-cutter",
    ));
    model.run();
    assert_eq!(model.condition("Approved"), ("Unknown", "ConfigMapMissing"));
    assert!(model.log.is_empty());
    model.now = later(model.now, Duration::from_secs(301));
    model.run();
    assert_eq!(model.status.outcome, Some(Outcome::Failed));
    assert_eq!(model.condition("Approved"), ("False", "ConfigMapMissing"));
    assert!(model.log.is_empty());
}

/// An upgrade that takes the operator's rights away in mid-run is reported in the status, and the
/// run continues when they are back.
#[test]
fn a_run_that_is_shut_out_says_so_and_waits() {
    let mut model = Model::new();
    model.stuck = BTreeSet::from([Job::Scenario(0)]);
    model.run();
    let objects = model.objects.clone();
    model.unprepared = Some("helm upgrade".into());
    model.run();
    assert_eq!(model.condition("Reconciling"), ("True", "NotPrepared"));
    assert_eq!(model.objects, objects);
    model.unprepared = None;
    model.stuck.clear();
    model.running.clear();
    model.run();
    model.assert_nothing_left();
    assert_eq!(model.status.outcome, Some(Outcome::Passed));
}

/// A Secret that is made anew, or a namespace that an upgrade dropped for a moment, ends no request
/// that waits for its approval.
#[test]
fn a_plan_that_was_there_has_as_long_as_its_approval() {
    let mut model = Model::new();
    model.approval = Approval::None;
    model.run();
    let plan = model.plan.clone();
    model.now = later(model.now, Duration::from_secs(3600));
    model.plan = Err(Problem::permanent("SecretMissing", "create it"));
    model.run();
    assert_eq!(model.condition("Approved"), ("Unknown", "SecretMissing"));
    model.plan = plan;
    model.run();
    assert_eq!(model.condition("Approved"), ("Unknown", "AwaitingApproval"));
}

#[test]
fn deletion_at_any_moment_leads_to_teardown_alone() {
    for passes in 0..60 {
        let mut model = Model::new();
        for _ in 0..passes {
            model.pass();
        }
        let ended = model.status.outcome.is_some();
        let before = model.log.len();
        model.deleted = true;
        model.run();
        model.assert_nothing_left();
        let after: BTreeSet<Object> = model.log[before..]
            .iter()
            .filter_map(|a| {
                if let Action::Create(o) = a {
                    Some(*o)
                } else {
                    None
                }
            })
            .collect();
        assert!(
            after.is_subset(&BTreeSet::from(
                [RunPod::Identity, RunPod::Seal].map(Object::Pod)
            )),
            "{after:?} after {passes}"
        );
        assert!(
            ended
                || model.log[before..]
                    .iter()
                    .all(|a| !matches!(a, Action::Start(j, _) if !j.is_teardown()))
        );
    }
}

#[test]
fn a_failed_gate_leads_to_teardown_alone() {
    type Spoil = fn(&mut Facts);
    let cases: [(&str, Spoil, Object); 6] = [
        (
            "G-02",
            |f| f.preflight.as_mut().unwrap().taken = vec!["Pod/demo-dump".into()],
            Object::Secret,
        ),
        (
            "G-04",
            |f| f.secrets.as_mut().unwrap().immutable = false,
            RunPod::Dump.into(),
        ),
        (
            "G-06",
            |f| {
                f.dump
                    .as_mut()
                    .unwrap()
                    .identity
                    .as_mut()
                    .unwrap()
                    .system_identifier = "1".into()
            },
            RunPod::Postgres.into(),
        ),
        (
            "G-10",
            |f| f.copy_identity[0].system_identifier = crate::test_support::PRODUCTION.into(),
            RunPod::Harness.into(),
        ),
        (
            "G-08",
            |f| f.restore.as_mut().unwrap().claim.exit_code = 2,
            RunPod::Harness.into(),
        ),
        (
            "G-09",
            |f| f.roles.as_mut().unwrap().applied.errors = vec!["x".into()],
            RunPod::Harness.into(),
        ),
    ];
    for (gate, spoil, never) in cases {
        let mut model = Model::new();
        spoil(&mut model.known.facts);
        model.run();
        model.assert_nothing_left();
        assert_eq!(model.status.outcome, Some(Outcome::Failed), "{gate}");
        assert!(
            model.status.failed_gate.as_ref().unwrap().starts_with(gate),
            "{gate}: {:?}",
            model.status.failed_gate
        );
        assert!(
            !model.created().contains(&never),
            "{gate}: {never:?} was created"
        );
        assert_eq!(model.condition("NetZero").0, "True");
    }
}

#[test]
fn a_job_that_never_ends_is_given_up_at_its_deadline() {
    let mut model = Model::new();
    model.stuck = BTreeSet::from([Job::Restore]);
    model.run();
    assert!(model.running.contains(&Job::Restore));
    model.now = later(model.now, Duration::from_secs(36 * 60));
    model.run();
    model.assert_nothing_left();
    assert_eq!(model.status.outcome, Some(Outcome::Inconclusive));
    assert_eq!(
        model.condition("RestoreClean"),
        ("Unknown", "DeadlineExceeded")
    );
    assert_eq!(
        model.condition("ScenariosPassed"),
        ("Unknown", "NotReached")
    );
}

#[test]
fn a_pod_that_ends_early_stops_the_run() {
    let mut model = Model::new();
    model.stuck = BTreeSet::from([Job::Scenario(1)]);
    model.run();
    let pod = model.pod(RunPod::Postgres);
    pod.phase = "Failed".into();
    pod.terminated =
        BTreeMap::from([(Container::Server.name().into(), ended(137, "OOMKilled", ""))]);
    model.run();
    model.assert_nothing_left();
    assert_eq!(model.condition("ScenariosPassed"), ("Unknown", "PodEnded"));
    assert_eq!(model.status.outcome, Some(Outcome::Inconclusive));
}

fn ended(code: i32, reason: &str, message: &str) -> Ended {
    Ended {
        code,
        reason: reason.into(),
        message: message.into(),
    }
}

/// User code writes into its container's termination message, and signals the runner.
#[test]
fn what_the_harness_says_as_it_ends_goes_nowhere() {
    let mut model = Model::new();
    model.stuck = BTreeSet::from([Job::Scenario(1)]);
    model.run();
    let pod = model.pod(RunPod::Harness);
    pod.phase = "Failed".into();
    pod.terminated = BTreeMap::from([(
        Container::Harness.name().into(),
        ended(143, "Error", "row data"),
    )]);
    model.run();
    let said = format!("{:?} {:?}", model.status, model.facts);
    assert!(said.contains("harness ended with 143: Error"), "{said}");
    assert!(!said.contains("row data"), "{said}");
}

/// An operator that ends between a release and writing it down continues afterwards.
#[test]
fn a_release_that_nobody_wrote_down_is_one() {
    for (job, container) in [
        (Job::ReleaseIsolate, Container::Isolate),
        (Job::ReleaseInputs, Container::Inputs),
    ] {
        let mut model = Model::new();
        model.stuck = BTreeSet::from([job]);
        model.run();
        assert!(model.running.remove(&job), "{job:?}");
        let pod = model.pod(container.pod());
        pod.running.remove(container.name());
        let done = ended(0, "Completed", "");
        pod.terminated = BTreeMap::from([(container.name().to_owned(), done)]);
        model.run();
        model.assert_nothing_left();
        assert!(model.facts.released.contains(&container));
        assert_eq!(model.status.outcome, Some(Outcome::Passed), "{job:?}");
    }
}

/// The copy's server ends while `job` is at work; its pod keeps running, as one with a second
/// container does.
fn the_server_ends(job: Job, code: i32, message: &str) -> Model {
    let mut model = Model::new();
    model.stuck = BTreeSet::from([job]);
    model.run();
    model.pod(RunPod::Postgres).terminated = BTreeMap::from([(
        Container::Server.name().into(),
        ended(code, "Error", message),
    )]);
    model.run();
    model.assert_nothing_left();
    model
}

#[test]
fn a_server_that_breaks_down_fails_its_gate_whatever_is_at_work() {
    for (job, gate) in [
        (Job::Restore, "RestoreClean"),
        (Job::ApplyMatrix, "MatrixExact"),
        (Job::Scenario(1), "ScenariosPassed"),
        (Job::Verify, "RowCountsMatch"),
    ] {
        let model = the_server_ends(job, 1, "");
        assert_eq!(model.condition("NothingRestarted"), ("False", "Crashed"));
        assert_eq!(model.condition(gate), ("Unknown", "Crashed"), "{job:?}");
    }
}

#[test]
fn a_server_that_is_production_is_never_asked_twice() {
    for (refusal, reason) in [
        ("CopyIsProduction", "IsProduction"),
        ("CopyUnreadable", "Unreadable"),
    ] {
        let told = format!(r#"{{"reason": "{refusal}", "message": "refused", "retry": false}}"#);
        let model = the_server_ends(Job::PrepareCopy, 1, &told);
        assert_eq!(model.condition("NotProduction"), ("False", reason));
        assert!(!model.created().contains(&RunPod::Harness.into()));
    }
}

#[test]
fn a_pod_that_says_why_it_waits_gives_the_reason() {
    let unfit = "0/2 nodes are available: 2 Insufficient memory.";
    for (waiting, reason) in [
        (("Unschedulable", unfit), "Unschedulable"),
        (("ErrImageNeverPull", "no such image"), "ErrImageNeverPull"),
        (("ContainerCreating", "image x"), "DeadlineExceeded"),
        (("", ""), "DeadlineExceeded"),
    ] {
        let mut model = Model::new();
        model.stuck = BTreeSet::from([Job::Dump(1)]);
        model.run();
        model.pod(RunPod::Dump).waiting = Some(Problem::permanent(waiting.0, waiting.1));
        model.now = later(model.now, Duration::from_secs(36 * 60));
        model.run();
        model.assert_nothing_left();
        assert_eq!(model.condition("SourceIdentified"), ("Unknown", reason));
        assert_eq!(model.status.outcome, Some(Outcome::Inconclusive));
    }
}

#[test]
fn a_volume_that_is_being_made_is_waited_for() {
    let mut model = Model::new();
    model.stuck = BTreeSet::from([Job::Dump(1)]);
    model.run();
    let claim = model.object(RunVolume::Data);
    claim.provisioning = true;
    model.deleted = true;
    model.run();
    let left: Vec<_> = model
        .objects
        .keys()
        .filter(|o| matches!(o, Object::Volume(_)))
        .collect();
    assert_eq!(
        left,
        [&Object::from(RunVolume::Data)],
        "it is neither deleted nor is the end proven"
    );
    assert!(model.finalizer);
    let claim = model.object(RunVolume::Data);
    claim.provisioning = false;
    model.run();
    model.assert_nothing_left();
}

/// A provisioner that never comes to an end keeps a run for a while only.
#[test]
fn a_volume_that_never_comes_is_given_up() {
    let mut model = Model::new();
    model.stuck = BTreeSet::from([Job::Dump(1)]);
    model.run();
    let claim = model.object(RunVolume::Data);
    claim.provisioning = true;
    model.deleted = true;
    model.run();
    model.now = later(model.now, Duration::from_secs(61));
    model.run();
    model.assert_nothing_left();
}

#[test]
fn a_dump_is_tried_again_when_the_source_changed_under_it() {
    let mut model = Model::new();
    model.known.facts.dump.as_mut().unwrap().problem = Some(Problem::transient(
        "SourceChangedDuringDump",
        "the catalog changed",
    ));
    model.run();
    let attempts = model
        .log
        .iter()
        .filter(|a| matches!(a, Action::Start(Job::Dump(_), _)))
        .count();
    assert_eq!(attempts, usize::from(DUMP_ATTEMPTS));
    assert!(
        model
            .status
            .failed_gate
            .as_ref()
            .unwrap()
            .starts_with("G-05")
    );
    model.assert_nothing_left();
}

#[test]
fn a_terminating_namespace_lets_go_when_its_pods_are_gone() {
    let mut model = Model::new();
    model.stuck = BTreeSet::from([Job::Scenario(0)]);
    model.run();
    model.deleted = true;
    model.terminating = true;
    let before = model.log.len();
    model.run();
    assert!(!model.finalizer);
    assert!(
        !model.log[before..]
            .iter()
            .any(|a| matches!(a, Action::Create(_)))
    );
    assert!(model.objects.keys().all(|o| !o.is_pod()));
    assert_eq!(
        model.condition("NetZero"),
        ("Unknown", "NamespaceTerminating")
    );
    assert_eq!(
        model.condition("ProductionIdentityHeld"),
        ("Unknown", "Unreachable")
    );
}
