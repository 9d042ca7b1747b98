//! C-08 Harness.

#[cfg(test)]
use super::Breached;
use super::isolation::{Moment, probe};
use super::progress::{Progress, View};
use super::{Command, Definition, Job, NO_LONGER};
#[cfg(test)]
use super::{Facts, Finding};
use crate::run::container::Container;
use crate::run::object::RunPod;

pub(super) static COMMAND: Definition = Definition {
    command: Command::Harness,
    id: "C-08",
    doc: "Creates the harness pod and proves its confinement before any input is unpacked in it.",
    budget: NO_LONGER,
    delayed_by: &[RunPod::Harness],
    advance,
    failed: |facts, job, problem| {
        if job == Job::WatchIsolation {
            facts.isolation.watch_error = Some(problem);
            None
        } else {
            Some(problem)
        }
    },
    #[cfg(test)]
    found,
};

fn advance(view: &View<'_>) -> Progress {
    if view.facts.isolation.harness.is_some() {
        return Progress::Prove("G-11", Box::new(Progress::Done));
    }
    // From here on the identity pod is who may reach production, the positive control of those that
    // may not.
    if let Some(create) = view.ensure(&[RunPod::Harness, RunPod::Identity]) {
        return create;
    }
    if let Some(progress) = view.dismiss(RunPod::Restore) {
        return progress;
    }
    [Container::Inputs, Container::Identity]
        .into_iter()
        .find_map(|container| view.inspect(container))
        .unwrap_or_else(|| probe(view, Moment::Harness))
}

#[cfg(test)]
fn found(known: &Facts, job: Job) -> Option<std::sync::Arc<dyn Finding>> {
    if job == Job::WatchIsolation {
        Some(std::sync::Arc::new(Breached(
            known.isolation.during.clone(),
        )))
    } else {
        None
    }
}
