//! C-03 Dump.

use std::time::Duration;

use super::progress::{Progress, View};
use super::{Command, Definition, Facts, Finding, Job, STOPS};
use crate::run::container::Container;
use crate::run::facts::{DUMP_ATTEMPTS, DumpFacts};
use crate::run::object::{Object, RunPod, RunPolicy, RunVolume};

pub(super) static COMMAND: Definition = Definition {
    command: Command::Dump,
    id: "C-03",
    doc: "Identifies production and dumps it, read-only.",
    budget: |deadlines| deadlines.dump.or(Duration::ZERO),
    delayed_by: &[RunPod::Dump],
    advance,
    failed: STOPS,
    #[cfg(test)]
    found,
};

fn advance(view: &View<'_>) -> Progress {
    if view.facts.dump.is_some() {
        return Progress::Done;
    }
    let create = view.ensure(&[
        Object::Volume(RunVolume::Data),
        Object::Volume(RunVolume::Evidence),
        Object::Policy(RunPolicy::ProductionEgress),
        Object::Pod(RunPod::Dump),
    ]);
    if let Some(create) = create {
        return create;
    }
    // As soon as it is known where the copy will be, the probers start, while the dump is made.
    let placed = view.pod(RunPod::Dump).is_some_and(|pod| pod.node.is_some());
    if placed && let Some(create) = view.ensure(&RunPod::PROBERS) {
        return create;
    }
    let attempt = Job::Dump(view.facts.dump_attempts + 1);
    view.inspected_job_in(Container::Dump, attempt)
}

/// The end of an attempt at the dump, counted from 1.
#[derive(Clone, Debug)]
pub struct Dumped(pub u8, pub DumpFacts);

impl Finding for Dumped {
    fn absorb(&self, facts: &mut Facts) {
        let Self(attempt, found) = self;
        facts.dump_attempts = *attempt;
        let again = found.problem.as_ref().is_some_and(|p| p.retry) && *attempt < DUMP_ATTEMPTS;
        if !again {
            facts.dump = Some(found.clone());
        }
    }
}

#[cfg(test)]
fn found(known: &Facts, job: Job) -> Option<std::sync::Arc<dyn Finding>> {
    if let Job::Dump(attempt) = job {
        Some(std::sync::Arc::new(Dumped(attempt, known.dump.clone()?)))
    } else {
        None
    }
}
