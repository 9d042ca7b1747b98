//! A small model of a cluster that does what the step function says, to walk whole runs and stop
//! them anywhere.

use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

use crate::api::{DryRunStatus, PlanSummary};
use crate::commands::{Action, Facts, Job, JobResult, absorb, found};
use crate::gate::{self, Evidence, Status};
use crate::plan::admission::Enforcement;
use crate::plan::approval::Approval;
use crate::problem::Problem;
use crate::run::container::Container;
use crate::run::id::RunRef;
use crate::run::object::{Object, RunPod};
use crate::run::observed::{Observed, PodView};
use crate::step::{ReportView, Snapshot, decide, is_edge};
use crate::test_support::{UID, World as Known};

pub(super) const BEGIN: i64 = 1_800_000_000;

/// A cluster in which every pod starts and every job finds what the complete run of
/// [`Known::passing`] found.
pub(super) struct Model {
    pub(super) known: Known,
    pub(super) plan: Result<PlanSummary, Problem>,
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
    /// Objects that stay after a delete, as with a foreign finalizer.
    pub(super) held: BTreeSet<Object>,
    pub(super) now: Timestamp,
    pub(super) log: Vec<Action>,
    /// Time of the next pass that the last one wants.
    pub(super) wake: Option<Timestamp>,
    pub(super) status_writes: usize,
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
        let run = RunRef {
            namespace: "rehearsal".into(),
            name: "demo".into(),
            uid: UID.into(),
        };
        let decision = decide(&Snapshot {
            run: &run,
            probes_namespace: "dryrun-probes",
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

    /// Returns true if the facts so far fail a gate.
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
            let result = self.result(*job);
            absorb(&mut self.facts, *job, &result);
            let once = self.facts.clone();
            absorb(&mut self.facts, *job, &result);
            assert_eq!(self.facts, once, "{job:?} is taken once");
        }
        !jobs.is_empty()
    }

    /// A watch continues until something happens.
    fn watches(&self, job: Job) -> bool {
        let during = &self.known.facts.isolation.during;
        let breached = during.iter().any(|probe| probe.tally.connected > 0);
        job == Job::WatchProtected && self.known.facts.protected_changes.is_empty()
            || job == Job::WatchIsolation && !breached
    }

    fn result(&self, job: Job) -> JobResult {
        let known = &self.known.facts;
        if let Some(stopped) = &known.stopped
            && stopped.command == job.command()
            && !job.is_teardown()
        {
            return Err(stopped.problem.clone());
        }
        Ok(found(known, job).unwrap())
    }

    /// An object that exists.
    pub(super) fn object(&mut self, object: impl Into<Object>) -> &mut Observed {
        self.objects.get_mut(&object.into()).unwrap()
    }

    /// A pod that exists.
    pub(super) fn pod(&mut self, pod: RunPod) -> &mut PodView {
        self.object(pod).pod.as_mut().unwrap()
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

    pub(super) fn created(&self) -> BTreeSet<Object> {
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
    let pod = PodView {
        phase: "Running".into(),
        node: Some("n1".into()),
        ip: Some("10.0.0.1".into()),
        running: Container::ALL.map(|c| c.name().to_owned()).into(),
        ..PodView::default()
    };
    Observed {
        uid: format!("{object:?}"),
        deleting: false,
        pod: object.is_pod().then_some(pod),
        volume: None,
        provisioning: false,
    }
}
