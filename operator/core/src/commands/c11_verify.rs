//! C-11 Verify.

use std::time::Duration;

use super::isolation::{Moment, probe};
use super::progress::{Progress, View};
use super::{Command, Definition, Facts, Finding, Job, STOPS};
use crate::run::container::Container;
use crate::run::facts::{LeakFacts, PodInspection, VerificationFacts};
use crate::run::object::RunPod;

pub(super) static COMMAND: Definition = Definition {
    command: Command::Verify,
    id: "C-11",
    doc: "Compares the copy, the inputs and the pods with what they were, and searches all logs.",
    budget: |deadlines| deadlines.verify.or(Duration::ZERO),
    delayed_by: &[RunPod::Seal],
    advance,
    failed: STOPS,
    #[cfg(test)]
    found,
};

fn advance(view: &View<'_>) -> Progress {
    let facts = view.facts;
    let read = |pod: RunPod| facts.container_logs.contains_key(&pod);
    let mut open = Vec::new();
    for (done, job) in [
        (facts.verification.is_some(), Job::Verify),
        (read(RunPod::Postgres), Job::ReadLogs(RunPod::Postgres)),
        (read(RunPod::Harness), Job::ReadLogs(RunPod::Harness)),
    ] {
        if !done {
            open.push(view.job(job));
        }
    }
    if facts.search.is_none() {
        let create = view.ensure(&[RunPod::Seal]);
        open.push(create.unwrap_or_else(|| view.inspected_job_in(Container::Seal, Job::Search)));
    }
    if facts.isolation.after.is_none() {
        open.push(probe(view, Moment::After));
    }
    if open.is_empty() {
        return Progress::Done;
    }
    let mut actions = Vec::new();
    for progress in open {
        match progress {
            Progress::Act(more) => actions.extend(more),
            Progress::Done | Progress::Prove(..) | Progress::Stop(_) => return progress,
        }
    }
    Progress::Act(actions)
}

/// The copy compared with what it was, and its pod as it is now.
#[derive(Clone, Debug)]
pub struct Verified(pub VerificationFacts, pub PodInspection);

impl Finding for Verified {
    fn absorb(&self, facts: &mut Facts) {
        facts.verification = Some(self.0.clone());
        facts.copy_pod_after = Some(self.1.clone());
    }
}

/// The search of all logs on the evidence volume.
#[derive(Clone, Debug)]
pub struct Searched(pub LeakFacts);

impl Finding for Searched {
    fn absorb(&self, facts: &mut Facts) {
        facts.search = Some(self.0.clone());
    }
}

#[cfg(test)]
fn found(known: &Facts, job: Job) -> Option<std::sync::Arc<dyn Finding>> {
    if job == Job::Verify {
        Some(std::sync::Arc::new(Verified(
            known.verification.clone()?,
            known.copy_pod_after.clone()?,
        )))
    } else if job == Job::Search {
        Some(std::sync::Arc::new(Searched(known.search.clone()?)))
    } else {
        None
    }
}
