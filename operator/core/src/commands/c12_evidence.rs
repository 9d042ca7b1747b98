//! C-12 Evidence.

use super::progress::{Progress, View};
use super::{Action, Command, Definition, Facts, Finding, Job, NO_LONGER, STOPS};
use crate::run::container::Container;
use crate::run::facts::{EvidenceFacts, LeakFacts};
use crate::run::object::RunPod;

pub(super) static COMMAND: Definition = Definition {
    command: Command::Evidence,
    id: "C-12",
    doc: "Redacts, searches and seals what is kept.",
    budget: NO_LONGER,
    delayed_by: &[RunPod::Seal],
    advance,
    failed: STOPS,
    #[cfg(test)]
    found,
};

/// They have done their work, and no harness container may run beside the seal.
const IDLE: [RunPod; 4] = [
    RunPod::Intruder,
    RunPod::Canary,
    RunPod::Listener,
    RunPod::Harness,
];

fn advance(view: &View<'_>) -> Progress {
    if view.facts.evidence.is_some() {
        return Progress::Done;
    }
    match view.job_in(Container::Seal, Job::Seal) {
        Progress::Act(mut actions) => {
            let idle = IDLE.into_iter().filter(|pod| view.alive(*pod).is_some());
            actions.extend(idle.map(|pod| Action::Delete(pod.into())));
            Progress::Act(actions)
        }
        other @ (Progress::Done | Progress::Prove(..) | Progress::Stop(_)) => other,
    }
}

/// Sealed evidence, with the result of a search that was made on the way.
#[derive(Clone, Debug)]
pub struct Sealed(pub EvidenceFacts, pub Option<LeakFacts>);

impl Finding for Sealed {
    fn absorb(&self, facts: &mut Facts) {
        facts.evidence = Some(self.0.clone());
        facts.search = facts.search.take().or_else(|| self.1.clone());
    }
}

#[cfg(test)]
fn found(known: &Facts, job: Job) -> Option<std::sync::Arc<dyn Finding>> {
    if job == Job::Seal {
        Some(std::sync::Arc::new(Sealed(known.evidence.clone()?, None)))
    } else {
        None
    }
}
