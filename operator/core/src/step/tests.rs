//! A small model of a cluster that does what the step function says, to walk whole runs and stop them anywhere.

use super::world::later;
use super::*;
use crate::api::{DryRunStatus, PlanSummary};
use crate::facts::{CopySummary, EvidenceFacts};
use crate::testing::{UID, World as Known};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(super) const BEGIN: i64 = 1_800_000_000;

/// A cluster in which every pod starts and every job finds what the complete run of [`Known::passing`] found.
pub(super) struct Model {
    pub(super) known: Known,
    pub(super) plan: Result<PlanSummary, PlanProblem>,
    pub(super) approval: Approval,
    pub(super) enforcement: Enforcement,
    pub(super) abandoned_by: Option<&'static str>,
    pub(super) status: DryRunStatus,
    pub(super) facts: Facts,
    pub(super) report: bool,
    pub(super) deleted: bool,
    pub(super) finalizer: bool,
    pub(super) terminating: bool,
    pub(super) unprepared: Option<String>,
    pub(super) objects: BTreeMap<Object, Observed>,
    pub(super) running: BTreeSet<Job>,
    pub(super) stuck: BTreeSet<Job>,
    /// Objects that stay whoever deletes them, as with a finalizer of somebody else.
    pub(super) held: BTreeSet<Object>,
    pub(super) now: Timestamp,
    pub(super) log: Vec<Action>,
    /// When the last pass wants to look again.
    pub(super) wake: Option<Timestamp>,
    status_writes: usize,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            known: Known::passing(),
            plan: Ok(PlanSummary {
                hash: "sha256:p".into(),
                ..PlanSummary::default()
            }),
            approval: Approval::Valid {
                name: "a".into(),
                uid: "u".into(),
                approved_by: "bob".into(),
            },
            enforcement: Enforcement::Whole {
                requester_since: Timestamp::from_second(BEGIN - 1).unwrap(),
                approver_since: Timestamp::from_second(BEGIN - 1).unwrap(),
            },
            abandoned_by: None,
            status: DryRunStatus::default(),
            facts: Facts::default(),
            report: false,
            deleted: false,
            finalizer: false,
            terminating: false,
            unprepared: None,
            objects: BTreeMap::new(),
            running: BTreeSet::new(),
            stuck: BTreeSet::new(),
            held: BTreeSet::new(),
            now: Timestamp::from_second(BEGIN).unwrap(),
            log: Vec::new(),
            wake: None,
            status_writes: 0,
        }
    }

    /// One pass of the shell. False when there was nothing to do.
    pub(super) fn pass(&mut self) -> bool {
        let decision = decide(&World {
            name: "demo",
            namespace: "rehearsal",
            probes_namespace: "dryrun-probes",
            uid: UID,
            generation: 1 + i64::from(self.deleted),
            created: Timestamp::from_second(BEGIN).unwrap(),
            deleted: self.deleted,
            finalizer: self.finalizer,
            abandoned_by: self.abandoned_by,
            namespace_terminating: self.terminating,
            unprepared: self.unprepared.clone(),
            spec: &self.known.spec,
            status: &self.status,
            plan: &self.plan,
            approval: self.approval.clone(),
            enforcement: self.enforcement.clone(),
            report: self.report.then(|| ReportView {
                began: Timestamp::from_second(BEGIN).unwrap(),
                approved_by: "bob".into(),
            }),
            facts: &self.facts,
            objects: &self.objects,
            blind: false,
            trouble: None,
            running: &self.running,
            now: self.now,
        });
        let edge = is_edge(&self.status, &decision.status);
        let changed = edge || decision.facts != self.facts;
        self.status_writes += usize::from(edge);
        if edge {
            self.status = decision.status;
        }
        self.facts = decision.facts;
        self.wake = decision.wake;
        // What is being deleted is seen once more, as a pod is while it ends.
        let before = self.objects.len();
        let held = &self.held;
        self.objects
            .retain(|name, object| !object.deleting || held.contains(name));
        let acted = !decision.actions.is_empty() || self.objects.len() < before;
        for action in decision.actions {
            self.act(action);
            self.log.push(action);
        }
        let ended = self.end_jobs();
        acted || changed || ended
    }

    /// Whether the facts so far fail a gate.
    pub(super) fn failed(&self) -> bool {
        let evidence = Evidence {
            spec: &self.known.spec,
            facts: &self.facts,
            uid: UID,
        };
        let verdicts = gate::judge(&evidence, &self.status.conditions);
        verdicts.iter().any(|(_, v)| v.status == Status::False)
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::AddFinalizer => self.finalizer = true,
            Action::RemoveFinalizer => self.finalizer = false,
            Action::CreateReport => {
                assert!(
                    self.finalizer,
                    "nothing is created before the finalizer stands"
                );
                self.report = true;
            }
            Action::Create(object) => {
                assert!(self.report, "the report is the first object");
                assert!(
                    !self.status.children.is_empty(),
                    "names are written before the first create"
                );
                assert!(
                    self.objects.insert(object, running(object)).is_none(),
                    "{object:?} is created once"
                );
            }
            Action::Delete(object) => {
                let found = self.objects.get_mut(&object).expect("it exists");
                assert!(!found.deleting, "{object:?} is deleted once");
                found.deleting = true;
            }
            Action::Start(job, _) => assert!(self.running.insert(job), "{job:?} is started once"),
            Action::CancelJobs => self.running.retain(|job| job.is_teardown()),
            Action::End(job) => assert!(self.running.remove(&job), "{job:?} is ended once"),
            Action::EndJobs => self.running.clear(),
        }
    }

    fn end_jobs(&mut self) -> bool {
        let jobs: Vec<Job> = self
            .running
            .iter()
            .filter(|job| !self.stuck.contains(job) && !self.watches(**job))
            .copied()
            .collect();
        for job in &jobs {
            self.running.remove(job);
            let finding = self.finding(*job);
            absorb(&mut self.facts, *job, finding.clone());
            let once = self.facts.clone();
            absorb(&mut self.facts, *job, finding);
            assert_eq!(self.facts, once, "{job:?} is taken once");
        }
        !jobs.is_empty()
    }

    /// A watch goes on until something happens.
    fn watches(&self, job: Job) -> bool {
        let during = &self.known.facts.isolation.during;
        let breached = during.iter().any(|probe| probe.tally.connected > 0);
        job == Job::WatchProtected && self.known.facts.protected_changes.is_empty()
            || job == Job::WatchIsolation && !breached
    }

    fn finding(&self, job: Job) -> Finding {
        let known = self.known.facts.clone();
        if let Some(stopped) = known.stopped
            && stopped.step == job.command().id()
            && !job.is_teardown()
        {
            return Finding::Failed(crate::control::TaskError {
                reason: stopped.reason,
                message: stopped.message,
                transient: false,
            });
        }
        match job {
            Job::Preflight => Finding::Preflight(known.preflight.unwrap()),
            Job::WatchProtected => Finding::ProtectedChanged(known.protected_changes),
            Job::InspectSecret => Finding::Secret(known.secrets.unwrap()),
            Job::Inspect(pod) => Finding::Inspected(known.inspections[pod.role()].clone()),
            Job::ReadLogs(pod) => Finding::LogsRead(known.container_logs[pod.role()].clone()),
            Job::Probe(moment) => {
                let isolation = known.isolation;
                let (phase, during) = match moment {
                    Moment::Before => (isolation.before, Vec::new()),
                    Moment::Harness => (isolation.harness, Vec::new()),
                    Moment::After => (isolation.after, isolation.during),
                };
                Finding::Probed(Box::new(phase.unwrap()), during)
            }
            Job::WatchIsolation => Finding::Breached(known.isolation.during),
            Job::Dump(_) => Finding::Dump(known.dump.unwrap()),
            Job::ReleaseIsolate => Finding::Released("isolate"),
            Job::PrepareCopy => Finding::CopyPrepared(known.copy_identity[0].clone()),
            Job::Restore => Finding::Restored(known.restore.unwrap()),
            Job::ApplyMatrix => {
                Finding::Matrix(known.roles.unwrap(), known.copy_identity[1].clone())
            }
            Job::InspectHarness => Finding::Harness(known.harness.unwrap()),
            Job::VerifyInputs => Finding::Inputs(known.inputs.unwrap()),
            Job::ReleaseInputs => Finding::Released("inputs"),
            Job::Setup(i) => Finding::Setup(known.setup[i].clone()),
            Job::Baseline => Finding::Baseline(CopySummary::default()),
            Job::Scenario(i) => Finding::Scenario(known.scenarios[i].clone()),
            Job::Verify => Finding::Verified(
                Box::new(known.verification.unwrap()),
                known.inspected_again.unwrap(),
            ),
            Job::Search => Finding::Searched(known.search.unwrap()),
            Job::Seal => Finding::Sealed(known.evidence.unwrap(), None),
            Job::SealPartly => {
                let sealed = EvidenceFacts {
                    partial: true,
                    ..known.evidence.unwrap()
                };
                Finding::Sealed(sealed, known.search)
            }
            Job::FingerprintProtected => {
                Finding::Protected(known.teardown.unwrap().protected.unwrap(), Vec::new())
            }
            Job::Identify => Finding::Identified(known.teardown.unwrap().identity.unwrap()),
            Job::ProveNetZero => Finding::NetZero(Vec::new()),
        }
    }

    pub(super) fn run(&mut self) {
        for _ in 0..500 {
            if !self.pass() {
                return;
            }
        }
        panic!(
            "no end: {:?}",
            self.log.iter().rev().take(5).collect::<Vec<_>>()
        );
    }

    pub(super) fn condition(&self, type_: &str) -> (&str, &str) {
        crate::conditions::find(&self.status.conditions, type_)
            .map_or(("", ""), |c| (c.status.as_str(), c.reason.as_str()))
    }

    fn created(&self) -> BTreeSet<Object> {
        self.log
            .iter()
            .filter_map(|a| {
                if let Action::Create(o) = a {
                    Some(*o)
                } else {
                    None
                }
            })
            .collect()
    }

    pub(super) fn assert_nothing_left(&self) {
        assert!(self.objects.is_empty(), "{:?}", self.objects);
        assert!(self.running.is_empty(), "{:?}", self.running);
        assert!(!self.finalizer);
    }
}

fn running(object: Object) -> Observed {
    let containers = [
        "dump", "isolate", "probe", "postgres", "restore", "inputs", "observer", "harness", "seal",
        "identity",
    ];
    let pod = PodView {
        phase: "Running".into(),
        node: Some("n1".into()),
        ip: Some("10.0.0.1".into()),
        running: containers.iter().map(|c| (*c).to_owned()).collect(),
        ..PodView::default()
    };
    Observed {
        uid: format!("{object:?}"),
        deleting: false,
        pod: (object.kind() == "Pod").then_some(pod),
        volume: None,
        provisioning: false,
    }
}

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
        .filter_map(|a| match a {
            Action::Start(j, _) if ![Job::WatchProtected, Job::WatchIsolation].contains(j) => {
                Some(j.command())
            }
            _ => None,
        })
        .collect();
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn pods_go_before_the_policies_that_guard_them() {
    let mut model = Model::new();
    model.run();
    let at = |object| {
        model
            .log
            .iter()
            .rposition(|a| *a == Action::Delete(object))
            .unwrap()
    };
    for pod in Object::PODS {
        for policy in [
            Object::ProductionEgress,
            Object::CopyEgress,
            Object::CopyIngress,
        ] {
            assert!(at(pod) < at(policy), "{pod:?} {policy:?}");
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
    model.plan = Err(PlanProblem {
        reason: "ConfigMapMissing".into(),
        message: "create ConfigMap iu-cutter".into(),
    });
    model.run();
    assert_eq!(model.condition("Approved"), ("Unknown", "ConfigMapMissing"));
    assert!(model.log.is_empty());
    model.now = later(model.now, Duration::from_secs(301));
    model.run();
    assert_eq!(model.status.outcome, Some(Outcome::Failed));
    assert_eq!(model.condition("Approved"), ("False", "ConfigMapMissing"));
    assert!(model.log.is_empty());
}

/// An upgrade that takes the operator's rights away in mid-run is told in the status, and the run goes on when they are back.
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

/// A Secret that is made anew, or a namespace that an upgrade dropped for a moment, ends no request that waits for its approval.
#[test]
fn a_plan_that_was_there_has_as_long_as_its_approval() {
    let mut model = Model::new();
    model.approval = Approval::None;
    model.run();
    let plan = model.plan.clone();
    model.now = later(model.now, Duration::from_secs(3600));
    model.plan = Err(PlanProblem {
        reason: "SecretMissing".into(),
        message: "create it".into(),
    });
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
            after.is_subset(&BTreeSet::from([Object::IdentityPod, Object::SealPod])),
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
            Object::DumpPod,
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
            Object::PostgresPod,
        ),
        (
            "G-10",
            |f| f.copy_identity[0].system_identifier = crate::testing::PRODUCTION.into(),
            Object::HarnessPod,
        ),
        (
            "G-08",
            |f| f.restore.as_mut().unwrap().claim.exit_code = 2,
            Object::HarnessPod,
        ),
        (
            "G-09",
            |f| f.roles.as_mut().unwrap().applied.errors = vec!["x".into()],
            Object::HarnessPod,
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
    let pod = model
        .objects
        .get_mut(&Object::PostgresPod)
        .unwrap()
        .pod
        .as_mut()
        .unwrap();
    pod.phase = "Failed".into();
    pod.terminated = BTreeMap::from([("postgres".into(), ended(137, "OOMKilled", ""))]);
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
    let pod = model.objects.get_mut(&Object::HarnessPod).unwrap();
    let pod = pod.pod.as_mut().unwrap();
    pod.phase = "Failed".into();
    pod.terminated = BTreeMap::from([("harness".into(), ended(143, "Error", "row data"))]);
    model.run();
    let said = format!("{:?} {:?}", model.status, model.facts);
    assert!(said.contains("harness ended with 143: Error"), "{said}");
    assert!(!said.contains("row data"), "{said}");
}

/// An operator that ends between a release and writing it down goes on afterwards.
#[test]
fn a_release_that_nobody_wrote_down_is_one() {
    for (job, pod, container) in [
        (Job::ReleaseIsolate, Object::PostgresPod, "isolate"),
        (Job::ReleaseInputs, Object::HarnessPod, "inputs"),
    ] {
        let mut model = Model::new();
        model.stuck = BTreeSet::from([job]);
        model.run();
        assert!(model.running.remove(&job), "{job:?}");
        let pod = model.objects.get_mut(&pod).unwrap().pod.as_mut().unwrap();
        pod.running.remove(container);
        let done = ended(0, "Completed", "");
        pod.terminated = BTreeMap::from([(container.to_owned(), done)]);
        model.run();
        model.assert_nothing_left();
        assert!(model.facts.released.contains(container));
        assert_eq!(model.status.outcome, Some(Outcome::Passed), "{job:?}");
    }
}

/// The copy's server ends while `job` is at work; its pod goes on, as one with a second container does.
fn the_server_ends(job: Job, code: i32, message: &str) -> Model {
    let mut model = Model::new();
    model.stuck = BTreeSet::from([job]);
    model.run();
    let pod = model.objects.get_mut(&Object::PostgresPod).unwrap();
    pod.pod.as_mut().unwrap().terminated =
        BTreeMap::from([("postgres".into(), ended(code, "Error", message))]);
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
        let told =
            format!(r#"{{"reason": "{refusal}", "message": "refused", "transient": false}}"#);
        let model = the_server_ends(Job::PrepareCopy, 1, &told);
        assert_eq!(model.condition("NotProduction"), ("False", reason));
        assert!(!model.created().contains(&Object::HarnessPod));
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
        let pod = model.objects.get_mut(&Object::DumpPod).unwrap();
        pod.pod.as_mut().unwrap().waiting = Some((waiting.0.into(), waiting.1.into()));
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
    let claim = model.objects.get_mut(&Object::DataVolume).unwrap();
    claim.provisioning = true;
    model.deleted = true;
    model.run();
    let left: Vec<_> = model
        .objects
        .keys()
        .filter(|o| o.kind() == "PersistentVolumeClaim")
        .collect();
    assert_eq!(
        left,
        [&Object::DataVolume],
        "it is neither deleted nor is the end proven"
    );
    assert!(model.finalizer);
    let claim = model.objects.get_mut(&Object::DataVolume).unwrap();
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
    let claim = model.objects.get_mut(&Object::DataVolume).unwrap();
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
    model.known.facts.dump.as_mut().unwrap().problem = Some(crate::control::TaskError {
        reason: "SourceChangedDuringDump".into(),
        message: "the catalog changed".into(),
        transient: true,
    });
    model.run();
    let attempts = model
        .log
        .iter()
        .filter(|a| matches!(a, Action::Start(Job::Dump(_), _)))
        .count();
    assert_eq!(attempts, usize::from(super::absorb::DUMP_ATTEMPTS));
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
    assert!(model.objects.keys().all(|o| !Object::PODS.contains(o)));
    assert_eq!(
        model.condition("NetZero"),
        ("Unknown", "NamespaceTerminating")
    );
    assert_eq!(
        model.condition("ProductionIdentityHeld"),
        ("Unknown", "Unreachable")
    );
}
