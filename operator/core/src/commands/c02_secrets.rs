//! C-02 Secrets.

use super::progress::{Progress, View};
use super::{Command, Definition, Facts, Finding, Job, NO_LONGER, STOPS};
use crate::run::facts::SecretFacts;
use crate::run::object::Object;

pub(super) static COMMAND: Definition = Definition {
    command: Command::Secrets,
    id: "C-02",
    doc: "Creates the run's credentials in one immutable Secret.",
    budget: NO_LONGER,
    delayed_by: &[],
    advance,
    failed: STOPS,
    #[cfg(test)]
    found,
};

fn advance(view: &View<'_>) -> Progress {
    if view.facts.secrets.is_some() {
        return Progress::Done;
    }
    view.ensure(&[Object::Secret])
        .unwrap_or_else(|| view.job(Job::InspectSecret))
}

impl Finding for SecretFacts {
    fn absorb(&self, facts: &mut Facts) {
        facts.secrets = Some(self.clone());
    }
}

#[cfg(test)]
fn found(known: &Facts, job: Job) -> Option<std::sync::Arc<dyn Finding>> {
    if job == Job::InspectSecret {
        Some(std::sync::Arc::new(known.secrets.clone()?))
    } else {
        None
    }
}
