//! C-09 Stage.

#[cfg(test)]
use super::Released;
use super::progress::{Progress, View};
use super::{Command, Definition, Facts, Finding, Job, NO_LONGER, STOPS, nth};
use crate::run::container::Container;
use crate::run::facts::{InputFacts, ScenarioClaim};
use crate::run::object::RunPod;

pub(super) static COMMAND: Definition = Definition {
    command: Command::Stage,
    id: "C-09",
    doc: "Verifies and unpacks the harness's inputs and runs the setup commands.",
    budget: NO_LONGER,
    delayed_by: &[RunPod::Harness],
    advance,
    failed: STOPS,
    #[cfg(test)]
    found,
};

fn advance(view: &View<'_>) -> Progress {
    let facts = view.facts;
    if facts.inputs.is_none() {
        return view.job_in(Container::Inputs, Job::VerifyInputs);
    }
    if !facts.released.contains(&Container::Inputs) {
        return view.job(Job::ReleaseInputs);
    }
    let next = facts.setup.len();
    if next < view.spec.harness.setup.len() {
        return view.job_in(Container::Harness, Job::Setup(next));
    }
    Progress::Done
}

impl Finding for InputFacts {
    fn absorb(&self, facts: &mut Facts) {
        facts.inputs = Some(self.clone());
    }
}

/// The claim of a setup command, by its index.
#[derive(Clone, Debug)]
pub struct SetUp(pub usize, pub ScenarioClaim);

impl Finding for SetUp {
    fn absorb(&self, facts: &mut Facts) {
        nth(&mut facts.setup, self.0, &self.1);
    }
}

#[cfg(test)]
fn found(known: &Facts, job: Job) -> Option<std::sync::Arc<dyn Finding>> {
    if job == Job::VerifyInputs {
        Some(std::sync::Arc::new(known.inputs.clone()?))
    } else if job == Job::ReleaseInputs {
        Some(std::sync::Arc::new(Released(Container::Inputs)))
    } else if let Job::Setup(index) = job {
        Some(std::sync::Arc::new(SetUp(
            index,
            known.setup.get(index)?.clone(),
        )))
    } else {
        None
    }
}
