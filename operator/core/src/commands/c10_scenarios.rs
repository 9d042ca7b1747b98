//! C-10 Scenarios.

use std::time::Duration;

use super::progress::{Progress, View};
use super::{Command, Definition, Facts, Finding, Job, STOPS, nth};
use crate::run::container::Container;
use crate::run::facts::{CopySummary, ScenarioFacts};
use crate::run::object::RunPod;

pub(super) static COMMAND: Definition = Definition {
    command: Command::Scenarios,
    id: "C-10",
    doc: "Runs the scenarios, one after the other.",
    budget: |deadlines| deadlines.scenarios.or(Duration::ZERO),
    delayed_by: &[RunPod::Harness],
    advance,
    failed: STOPS,
    #[cfg(test)]
    found,
};

fn advance(view: &View<'_>) -> Progress {
    if view.facts.before.is_none() {
        return view.job(Job::Baseline);
    }
    let next = view.facts.scenarios.len();
    if next == view.spec.harness.scenarios.len() {
        return Progress::Done;
    }
    view.job_in(Container::Harness, Job::Scenario(next))
}

/// The copy before the scenarios.
#[derive(Clone, Debug)]
pub struct Baseline(pub CopySummary);

impl Finding for Baseline {
    fn absorb(&self, facts: &mut Facts) {
        facts.before = Some(self.0.clone());
    }
}

/// The end of a scenario, by its index.
#[derive(Clone, Debug)]
pub struct ScenarioRan(pub usize, pub ScenarioFacts);

impl Finding for ScenarioRan {
    fn absorb(&self, facts: &mut Facts) {
        nth(&mut facts.scenarios, self.0, &self.1);
    }
}

#[cfg(test)]
fn found(known: &Facts, job: Job) -> Option<std::sync::Arc<dyn Finding>> {
    if job == Job::Baseline {
        Some(std::sync::Arc::new(Baseline(CopySummary::default())))
    } else if let Job::Scenario(index) = job {
        Some(std::sync::Arc::new(ScenarioRan(
            index,
            known.scenarios.get(index)?.clone(),
        )))
    } else {
        None
    }
}
