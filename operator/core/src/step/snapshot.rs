//! Snapshot of the cluster for one decision.

use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::api::{DryRunSpec, DryRunStatus, PlanSummary, Span};
use crate::commands::{Facts, Job, View, later};
use crate::plan::admission::Enforcement;
use crate::plan::approval::Approval;
use crate::problem::Problem;
use crate::run::id::RunRef;
use crate::run::object::Object;
use crate::run::observed::Observed;

/// Everything that a decision is made from, read once.
#[derive(Clone, Debug)]
pub struct Snapshot<'a> {
    /// The DryRun.
    pub run: &'a RunRef,
    /// The namespace of canaries and listeners.
    pub probes_namespace: &'a str,
    /// Its generation as read.
    pub generation: i64,
    /// Creation time.
    pub created: Timestamp,
    /// It has a deletionTimestamp.
    pub deleted: bool,
    /// It has our finalizer.
    pub finalizer: bool,
    /// User who abandons it by force ([`crate::run::id::ABANDONED_BY`]).
    pub abandoned_by: Option<&'a str>,
    /// Its namespace is being deleted: nothing can be created there.
    pub namespace_terminating: bool,
    /// The run has begun in a namespace in which the operator has no rights any more: what to
    /// change.
    pub unprepared: Option<String>,
    /// Its spec.
    pub spec: &'a DryRunSpec,
    /// Its status as read.
    pub status: &'a DryRunStatus,
    /// The plan as it resolves now, or why it does not.
    pub plan: &'a Result<PlanSummary, Problem>,
    /// State of the approval.
    pub approval: Approval,
    /// State of the admission policies.
    pub enforcement: Enforcement,
    /// The report: present once the run has begun, unless a user deletes it.
    pub report: Option<ReportView>,
    /// The facts so far.
    pub facts: &'a Facts,
    /// The run's objects: those that carry its UID.
    pub objects: &'a BTreeMap<Object, Observed>,
    /// The run's objects cannot be seen any more, in a namespace whose Roles have gone.
    pub blind: bool,
    /// Jobs that are at work.
    pub running: &'a BTreeSet<Job>,
    /// Failure of the last pass, such as a create that a quota refuses.
    pub trouble: Option<String>,
    /// The time.
    pub now: Timestamp,
}

/// The report, as far as decisions need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportView {
    /// Creation time: when the run began.
    pub began: Timestamp,
    /// User who approved it.
    pub approved_by: String,
}

impl Snapshot<'_> {
    /// The run has begun: its approval is used. Its report says so; if that was deleted, what was
    /// said and made before.
    pub fn begun(&self) -> bool {
        self.report.is_some() || self.status.report.is_some() || !self.objects.is_empty()
    }

    /// Returns the commands' view of the snapshot.
    pub(super) fn view<'a>(&'a self, facts: &'a Facts, deadline: Timestamp) -> View<'a> {
        View {
            run: self.run,
            spec: self.spec,
            facts,
            objects: self.objects,
            running: self.running,
            deadline,
            now: self.now,
        }
    }

    /// A time so much later.
    pub(super) fn after(&self, start: Timestamp, span: &Span) -> Timestamp {
        later(start, span.or(Duration::ZERO))
    }
}
