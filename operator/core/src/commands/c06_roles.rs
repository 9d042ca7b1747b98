//! C-06 Roles.

use super::progress::Progress;
use super::{Command, Definition, Facts, Finding, Job, NO_LONGER, STOPS};
use crate::run::facts::{CopyIdentity, RolesFacts};

pub(super) static COMMAND: Definition = Definition {
    command: Command::Roles,
    id: "C-06",
    doc: "Applies the privilege matrix to the copy and reads it back.",
    budget: NO_LONGER,
    delayed_by: &[],
    advance: |view| match view.facts.roles {
        Some(_) => Progress::Done,
        None => view.job(Job::ApplyMatrix),
    },
    failed: STOPS,
    #[cfg(test)]
    found,
};

/// The matrix as it was applied, and the copy's identity, read on the same connection.
#[derive(Clone, Debug)]
pub struct MatrixApplied(pub RolesFacts, pub CopyIdentity);

impl Finding for MatrixApplied {
    fn absorb(&self, facts: &mut Facts) {
        facts.roles = Some(self.0.clone());
        self.1.absorb(facts);
    }
}

#[cfg(test)]
fn found(known: &Facts, job: Job) -> Option<std::sync::Arc<dyn Finding>> {
    if job == Job::ApplyMatrix {
        Some(std::sync::Arc::new(MatrixApplied(
            known.roles.clone()?,
            known.copy_identity.get(1)?.clone(),
        )))
    } else {
        None
    }
}
