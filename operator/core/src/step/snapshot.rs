//! What the shell saw.

use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::api::{DryRunSpec, DryRunStatus, PlanSummary, Span};
use crate::plan::admission::Enforcement;
use crate::plan::approval::Approval;
use crate::problem::Problem;
use crate::run::facts::Facts;
use crate::run::object::Object;
use crate::step::Job;

/// Everything that a decision is made from, read once.
#[derive(Clone, Debug)]
pub struct World<'a> {
    /// Name of the DryRun.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// The namespace of canaries and listeners.
    pub probes_namespace: &'a str,
    /// Its UID.
    pub uid: &'a str,
    /// Its generation as read.
    pub generation: i64,
    /// When it was created.
    pub created: Timestamp,
    /// It has a deletionTimestamp.
    pub deleted: bool,
    /// It has our finalizer.
    pub finalizer: bool,
    /// Who lets go of it by force ([`crate::run::id::ABANDONED_BY`]).
    pub abandoned_by: Option<&'a str>,
    /// Its namespace is being deleted: nothing can be created there.
    pub namespace_terminating: bool,
    /// The run has begun in a namespace in which the operator has no rights any more: what to change.
    pub unprepared: Option<String>,
    /// Its spec.
    pub spec: &'a DryRunSpec,
    /// Its status as read.
    pub status: &'a DryRunStatus,
    /// The plan as it resolves now, or why it does not.
    pub plan: &'a Result<PlanSummary, Problem>,
    /// What was found of an approval.
    pub approval: Approval,
    /// What was found of the admission policies.
    pub enforcement: Enforcement,
    /// The report: there once the run has begun, unless somebody deletes it.
    pub report: Option<ReportView>,
    /// The facts so far.
    pub facts: &'a Facts,
    /// The run's objects: those that carry its UID.
    pub objects: &'a BTreeMap<Object, Observed>,
    /// The run's objects cannot be seen any more, in a namespace whose Roles have gone.
    pub blind: bool,
    /// Jobs that are at work.
    pub running: &'a BTreeSet<Job>,
    /// What the last pass could not do, such as a create that a quota refuses.
    pub trouble: Option<String>,
    /// The time.
    pub now: Timestamp,
}

/// The report, as far as decisions need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportView {
    /// When it was created: when the run began.
    pub began: Timestamp,
    /// Who approved it.
    pub approved_by: String,
}

/// One of the run's objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Its UID.
    pub uid: String,
    /// It has a deletionTimestamp.
    pub deleting: bool,
    /// What a pod does.
    pub pod: Option<PodView>,
    /// The PersistentVolume that a claim is bound to.
    pub volume: Option<String>,
    /// A volume is being made for a claim: it comes, whether the claim is still there or not.
    pub provisioning: bool,
}

/// What a pod does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodView {
    /// Pending, Running, Succeeded, Failed.
    pub phase: String,
    /// Node that it is bound to.
    pub node: Option<String>,
    /// Its address.
    pub ip: Option<String>,
    /// Containers, init containers included, that are running.
    pub running: BTreeSet<String>,
    /// Containers that have ended.
    pub terminated: BTreeMap<String, Ended>,
    /// Why it does not run yet: a reason and a message of the scheduler or the kubelet.
    pub waiting: Option<Problem>,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code.
    pub code: i32,
    /// The kubelet's word for it, such as Error or OOMKilled.
    pub reason: String,
    /// What the container itself left as its termination message.
    pub message: String,
}

impl PodView {
    /// Whether this container did what it was there for and ended.
    pub(super) fn succeeded(&self, container: &str) -> bool {
        self.terminated
            .get(container)
            .is_some_and(|ended| ended.code == 0)
    }

    /// Reasons of a pod that starts as it should: they do not say why it does not run.
    pub const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];
}

impl World<'_> {
    /// The run has begun: its approval is used. Its report tells so; if that was deleted, what was said and made before.
    pub fn begun(&self) -> bool {
        self.report.is_some() || self.status.report.is_some() || !self.objects.is_empty()
    }

    /// An object of the run that exists and is not being deleted.
    pub(super) fn alive(&self, object: Object) -> Option<&Observed> {
        self.objects.get(&object).filter(|o| !o.deleting)
    }

    /// The pod, if it exists and is not being deleted.
    pub(super) fn pod(&self, object: Object) -> Option<&PodView> {
        self.alive(object).and_then(|o| o.pod.as_ref())
    }

    /// Whether this container of the pod is running.
    pub(super) fn runs(&self, object: Object, container: &str) -> bool {
        self.pod(object)
            .is_some_and(|pod| pod.running.contains(container))
    }

    /// A time so much later.
    pub(super) fn after(&self, start: Timestamp, span: &Span) -> Timestamp {
        later(start, span.or(Duration::ZERO))
    }
}

/// A time so much later, or the end of time.
pub(super) fn later(start: Timestamp, duration: Duration) -> Timestamp {
    start.checked_add(duration).unwrap_or(Timestamp::MAX)
}
