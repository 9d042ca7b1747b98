//! C-01 Preflight.

use std::time::Duration;

use super::progress::{Progress, View, later};
use super::{Action, Command, Definition, Facts, Finding, Job, NO_LONGER, once};
use crate::run::facts::PreflightFacts;

pub(super) static COMMAND: Definition = Definition {
    command: Command::Preflight,
    id: "C-01",
    doc: "Checks that names are free and volumes possible, and records the protected workloads.",
    budget: NO_LONGER,
    delayed_by: &[],
    advance: |view| match view.facts.preflight {
        Some(_) => Progress::Done,
        None => view.job(Job::Preflight),
    },
    failed: |facts, job, problem| {
        if job == Job::WatchProtected {
            facts.watch_error = Some(problem);
            None
        } else {
            Some(problem)
        }
    },
    #[cfg(test)]
    found,
};

/// Time for which the protected workloads are watched after the run's own end.
const WATCH_BEYOND: Duration = Duration::from_secs(24 * 3600);
/// Number of changes of protected workloads in the facts.
const CHANGES: usize = 20;

/// Watches the protected workloads from the moment they were recorded until they are looked at for
/// the last time.
pub(crate) fn watch(view: &View<'_>) -> Option<Action> {
    let facts = view.facts;
    let preflight = facts.preflight.as_ref();
    let recorded = preflight.is_some_and(|preflight| !preflight.protected.is_empty());
    let told = !facts.protected_changes.is_empty() || facts.watch_error.is_some();
    let over = facts
        .teardown
        .as_ref()
        .is_some_and(|t| t.protected.is_some() || !t.protected_errors.is_empty());
    let due = recorded && !told && !over && !view.running.contains(&Job::WatchProtected);
    // Teardown follows the run, and has no deadline.
    let end = later(view.deadline, WATCH_BEYOND);
    due.then_some(Action::Start(Job::WatchProtected, end))
}

impl Finding for PreflightFacts {
    fn absorb(&self, facts: &mut Facts) {
        facts.preflight = Some(self.clone());
    }
}

/// Changes to the protected workloads.
#[derive(Clone, Debug)]
pub struct ProtectedChanged(pub Vec<String>);

impl Finding for ProtectedChanged {
    fn absorb(&self, facts: &mut Facts) {
        for change in &self.0 {
            if facts.protected_changes.len() < CHANGES {
                once(&mut facts.protected_changes, change.clone());
            }
        }
    }
}

#[cfg(test)]
fn found(known: &Facts, job: Job) -> Option<std::sync::Arc<dyn Finding>> {
    if job == Job::WatchProtected {
        Some(std::sync::Arc::new(ProtectedChanged(
            known.protected_changes.clone(),
        )))
    } else if job == Job::Preflight {
        Some(std::sync::Arc::new(known.preflight.clone()?))
    } else {
        None
    }
}
