//! C-05 Restore.

use std::time::Duration;

use super::progress::{Progress, View};
use super::{Command, Definition, Facts, Finding, Job, STOPS, once};
use crate::run::container::Container;
use crate::run::facts::{CopyIdentity, RestoreFacts};
use crate::run::object::RunPod;

pub(super) static COMMAND: Definition = Definition {
    command: Command::Restore,
    id: "C-05",
    doc: "Restores the dump into the copy.",
    budget: |deadlines| deadlines.restore.or(Duration::ZERO),
    delayed_by: &[RunPod::Postgres, RunPod::Restore],
    advance,
    failed: STOPS,
    #[cfg(test)]
    found,
};

fn advance(view: &View<'_>) -> Progress {
    if view.facts.restore.is_some() {
        return Progress::Done;
    }
    if let Some(create) = view.ensure(&[RunPod::Restore]) {
        return create;
    }
    if view.facts.copy_identity.is_empty() {
        return view.job_in(Container::Server, Job::PrepareCopy);
    }
    view.inspected_job_in(Container::Restore, Job::Restore)
}

impl Finding for CopyIdentity {
    fn absorb(&self, facts: &mut Facts) {
        once(&mut facts.copy_identity, self.clone());
    }
}

impl Finding for RestoreFacts {
    fn absorb(&self, facts: &mut Facts) {
        facts.restore = Some(self.clone());
    }
}

#[cfg(test)]
fn found(known: &Facts, job: Job) -> Option<std::sync::Arc<dyn Finding>> {
    if job == Job::PrepareCopy {
        Some(std::sync::Arc::new(known.copy_identity.first()?.clone()))
    } else if job == Job::Restore {
        Some(std::sync::Arc::new(known.restore.clone()?))
    } else {
        None
    }
}
