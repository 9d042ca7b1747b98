//! C-04 Isolate.

#[cfg(test)]
use super::Released;
use super::isolation::{Moment, probe};
use super::progress::{Progress, View};
use super::{Command, Definition, Job, NO_LONGER, STOPS};
#[cfg(test)]
use super::{Facts, Finding};
use crate::run::container::Container;
use crate::run::object::{Object, RunPod, RunPolicy};

pub(super) static COMMAND: Definition = Definition {
    command: Command::Isolate,
    id: "C-04",
    doc: "Creates the copy's pod behind deny-all and proves its isolation before any data is in it.",
    budget: NO_LONGER,
    delayed_by: &[
        RunPod::Postgres,
        RunPod::Restore,
        RunPod::Intruder,
        RunPod::Canary,
        RunPod::Listener,
    ],
    advance,
    failed: STOPS,
    #[cfg(test)]
    found,
};

/// Objects that exist before the probes, beside those of C-03.
const OBJECTS: [Object; 7] = [
    Object::Policy(RunPolicy::CopyEgress),
    Object::Policy(RunPolicy::CopyIngress),
    Object::Pod(RunPod::Postgres),
    Object::Pod(RunPod::Restore),
    Object::Pod(RunPod::Intruder),
    Object::Pod(RunPod::Canary),
    Object::Pod(RunPod::Listener),
];

fn advance(view: &View<'_>) -> Progress {
    let facts = view.facts;
    if facts.released.contains(&Container::Isolate) {
        return Progress::Done;
    }
    if let Some(create) = view.ensure(&OBJECTS) {
        return create;
    }
    if facts.isolation.before.is_none() {
        let mut containers = [Container::Isolate, Container::Restore].into_iter();
        return containers
            .find_map(|container| view.inspect(container))
            .unwrap_or_else(|| probe(view, Moment::Before));
    }
    let next = view
        .dismiss(RunPod::Dump)
        .unwrap_or_else(|| view.job_in(Container::Isolate, Job::ReleaseIsolate));
    Progress::Prove("G-07", Box::new(next))
}

#[cfg(test)]
fn found(_: &Facts, job: Job) -> Option<std::sync::Arc<dyn Finding>> {
    if job == Job::ReleaseIsolate {
        Some(std::sync::Arc::new(Released(Container::Isolate)))
    } else {
        None
    }
}
