//! C-13 Teardown.
//!
//! Pods go before the policies that guard them. Teardown has no deadline: it continues until no
//! object is left.

use jiff::Timestamp;
use std::time::Duration;

#[cfg(test)]
use super::Sealed;
use super::progress::{Progress, View, later};
use super::{Action, Command, Definition, Facts, Finding, Job, NO_LONGER};
use crate::problem::Problem;
use crate::run::container::Container;
use crate::run::facts::{EvidenceFacts, PodFingerprint, SourceIdentity, TeardownFacts};
use crate::run::object::{Object, RunPod, RunPolicy, RunVolume};

pub(super) static COMMAND: Definition = Definition {
    command: Command::Teardown,
    id: "C-13",
    doc: "Reads production's identity again, deletes everything and proves that nothing is left.",
    budget: NO_LONGER,
    delayed_by: &[],
    advance: |_| Progress::Done,
    failed,
    #[cfg(test)]
    found,
};

fn failed(facts: &mut Facts, job: Job, problem: Problem) -> Option<Problem> {
    if job == Job::SealPartly {
        facts.evidence = Some(lost(problem));
    } else if job == Job::Identify {
        teardown(facts).identity_error = Some(problem);
    } else if job == Job::FingerprintProtected {
        teardown(facts).protected_errors = vec![problem.to_string()];
    } else if job == Job::ProveNetZero {
        teardown(facts).proof_error = Some(problem.to_string());
    } else {
        return Some(problem);
    }
    None
}

/// Timeout of a look at the cluster, and interval between looks at objects that are being deleted:
/// not everything that goes is watched, and a watch that was interrupted misses deletions.
const LOOK: Duration = Duration::from_secs(30);
/// Time for a run that ended early to seal its evidence.
const SEAL: Duration = Duration::from_secs(60);
/// Maximum wait for a volume that is being provisioned.
const PROVISION: Duration = Duration::from_secs(60);
/// Objects that hold data, beside the pods.
const DATA: [Object; 3] = [
    Object::Secret,
    Object::Volume(RunVolume::Data),
    Object::Volume(RunVolume::Evidence),
];
/// The pods that teardown itself works with.
const LATE: [Object; 2] = [Object::Pod(RunPod::Identity), Object::Pod(RunPod::Seal)];

/// The next steps of teardown.
pub(crate) struct Steps {
    /// Actions to take. Empty: wait for a change, or until `wake`.
    pub(crate) actions: Vec<Action>,
    /// Time of the next pass if nothing changes before.
    pub(crate) wake: Option<Timestamp>,
    /// Nothing is left.
    pub(crate) over: bool,
}

impl Steps {
    fn new(actions: Vec<Action>, wake: Option<Timestamp>) -> Self {
        Self {
            actions,
            wake,
            over: false,
        }
    }
}

/// Returns the next steps, and adds to the facts what cannot be found any more.
pub(crate) fn advance(view: &View<'_>, facts: &mut Facts, terminating: bool) -> Steps {
    let began = *facts.began.entry(Command::Teardown).or_insert(view.now);
    if view.running.iter().any(|job| !job.is_teardown()) {
        return Steps::new(vec![Action::CancelJobs], None);
    }
    if terminating {
        return namespace_terminating(view, facts);
    }
    let deadline = later(began, view.spec.deadlines.start.or(Duration::ZERO));
    let mut actions = delete(view, |object| object.is_pod() && !LATE.contains(&object));
    let limit = later(began, SEAL);
    let sealing = seal(view, facts, limit);
    let identifying = identify(view, facts, deadline);
    let wake = if sealing.is_some() {
        limit.min(deadline)
    } else {
        deadline
    };
    let busy = sealing.is_some() || identifying.is_some();
    for (pod, steps) in [(RunPod::Seal, sealing), (RunPod::Identity, identifying)] {
        actions.extend(steps.unwrap_or_else(|| delete(view, |object| object == pod.into())));
    }
    if busy {
        return Steps::new(actions, Some(wake));
    }
    let again = later(view.now, LOOK);
    if view.objects.keys().any(|object| object.is_pod()) {
        return Steps::new(actions, Some(again));
    }
    // A volume that is provisioned for a deleted claim is bound to none for a while; one that
    // is bound goes with its claim.
    let limit = later(began, PROVISION);
    let coming = |object: Object| {
        let claim = view.objects.get(&object);
        view.now < limit && claim.is_some_and(|claim| claim.provisioning)
    };
    actions.extend(delete(view, |object| {
        DATA.contains(&object) && !coming(object)
    }));
    if view.objects.keys().any(|object| DATA.contains(object)) {
        let coming = DATA.into_iter().any(coming);
        let wake = if coming { limit.min(again) } else { again };
        return Steps::new(actions, Some(wake));
    }
    actions.extend(delete(view, |_| true));
    if !view.objects.is_empty() {
        return Steps::new(actions, Some(again));
    }
    let teardown = facts.teardown.as_ref();
    let seen = teardown.is_some_and(|t| t.protected.is_some() || !t.protected_errors.is_empty());
    if facts.preflight.is_some() && !seen {
        return Steps::new(start(view, Job::FingerprintProtected, again), Some(wake));
    }
    // A proof that found something, such as a volume on its way out, is begun anew.
    if teardown.is_some_and(|teardown| teardown.proven) {
        Steps {
            over: true,
            ..Steps::new(Vec::new(), None)
        }
    } else {
        Steps::new(start(view, Job::ProveNetZero, again), None)
    }
}

/// Names of the objects whose deletion was requested and that still exist, once teardown is late;
/// empty while teardown is in time.
pub(crate) fn hanging(view: &View<'_>) -> Vec<String> {
    let began = view.facts.began.get(&Command::Teardown);
    if began.is_none_or(|began| view.now < later(*began, LOOK)) {
        return Vec::new();
    }
    let told = view.objects.iter().filter(|(_, seen)| seen.deleting);
    let objects = told.map(|(object, _)| view.run.reference(*object));
    let teardown = view.facts.teardown.iter();
    objects
        .chain(teardown.flat_map(|t| t.left.iter().cloned()))
        .collect()
}

/// Steps towards the second reading of production's identity; nothing when it is there, or can no
/// longer be had.
fn identify(view: &View<'_>, facts: &mut Facts, deadline: Timestamp) -> Option<Vec<Action>> {
    let dump = facts.dump.as_ref();
    let settled = facts
        .teardown
        .as_ref()
        .is_some_and(|t| t.identity.is_some() || t.identity_error.is_some());
    if dump.is_none_or(|dump| dump.identity.is_none()) || settled {
        return None;
    }
    let needed = [Object::Secret, Object::Policy(RunPolicy::ProductionEgress)];
    let late = || {
        let waiting = view.pod(RunPod::Identity)?.waiting.as_ref();
        waiting.map(ToString::to_string)
    };
    match worked(view, &needed, Container::Identity, deadline, late) {
        Ok(true) => Some(start(view, Job::Identify, deadline)),
        Ok(false) => Some(
            view.ensure(&[RunPod::Identity])
                .map_or_else(Vec::new, actions),
        ),
        Err(problem) => {
            teardown(facts).identity_error = Some(problem);
            None
        }
    }
}

/// Steps towards what can be sealed of a run that ended before C-12; nothing when it is sealed, or
/// can no longer be.
fn seal(view: &View<'_>, facts: &mut Facts, limit: Timestamp) -> Option<Vec<Action>> {
    // Before the dump nothing has written anything: the report is all there is.
    if facts.evidence.is_some() || facts.dump.is_none() {
        return None;
    }
    let needed = [Object::Secret, Object::Volume(RunVolume::Evidence)];
    match worked(view, &needed, Container::Seal, limit, || None) {
        Ok(true) => Some(start(view, Job::SealPartly, limit)),
        Ok(false) => Some(view.ensure(&[RunPod::Seal]).map_or_else(Vec::new, actions)),
        Err(problem) => {
            facts.evidence = Some(lost(problem));
            None
        }
    }
}

/// Returns true when a container is there to be worked with, false when it may come, and the
/// problem when it cannot.
fn worked(
    view: &View<'_>,
    needed: &[Object],
    container: Container,
    limit: Timestamp,
    late: impl Fn() -> Option<String>,
) -> Result<bool, Problem> {
    let pod = container.pod();
    let role = pod.role();
    if let Some(gone) = needed.iter().find(|o| view.alive(**o).is_none()) {
        let what = view.run.reference(*gone);
        let message = format!("{what} was deleted by somebody else");
        return Err(Problem::permanent("ObjectGone", message));
    }
    let inspection = view.facts.inspections.get(&pod);
    if inspection.is_some_and(|found| !found.violations.is_empty()) {
        let message = format!("the {role} pod is not as the operator built it");
        return Err(Problem::permanent("NotConfined", message));
    }
    if view.now >= limit {
        let message = late().unwrap_or_else(|| format!("the {role} pod did not answer in time"));
        return Err(Problem::permanent("DeadlineExceeded", message));
    }
    if view
        .objects
        .get(&pod.into())
        .is_some_and(|pod| pod.deleting)
    {
        let message = format!("the {role} pod was deleted by somebody else");
        return Err(Problem::permanent("PodDeleted", message));
    }
    Ok(view.runs(container))
}

fn actions(progress: Progress) -> Vec<Action> {
    match progress {
        Progress::Act(actions) => actions,
        Progress::Done | Progress::Prove(..) | Progress::Stop(_) => Vec::new(),
    }
}

/// Evidence of which nothing could be sealed.
fn lost(problem: Problem) -> EvidenceFacts {
    EvidenceFacts {
        partial: true,
        problem: Some(problem),
        ..EvidenceFacts::default()
    }
}

/// In a terminating namespace nothing can be created and our Roles may be gone: what is seen is
/// deleted; what cannot be seen, the namespace controller deletes, pods first (KEP-5080).
fn namespace_terminating(view: &View<'_>, facts: &mut Facts) -> Steps {
    let teardown = teardown(facts);
    let why = "the namespace is being deleted: no pod can be created in it";
    if teardown.identity.is_none() && teardown.identity_error.is_none() {
        teardown.identity_error = Some(Problem::permanent("NamespaceTerminating", why));
    }
    teardown.proof_error.get_or_insert_with(|| why.to_owned());
    // Also what lives in the namespace of probes, which nothing else deletes.
    Steps {
        over: !view.objects.keys().any(|object| object.is_pod()),
        ..Steps::new(delete(view, Object::is_pod), Some(later(view.now, LOOK)))
    }
}

fn delete(view: &View<'_>, which: impl Fn(Object) -> bool) -> Vec<Action> {
    view.objects
        .iter()
        .filter(|(object, seen)| which(**object) && !seen.deleting)
        .map(|(object, _)| Action::Delete(*object))
        .collect()
}

fn start(view: &View<'_>, job: Job, deadline: Timestamp) -> Vec<Action> {
    View { deadline, ..*view }.start(job)
}

fn teardown(facts: &mut Facts) -> &mut TeardownFacts {
    facts.teardown.get_or_insert_default()
}

/// The protected workloads as they are now, and why some could not be read.
#[derive(Clone, Debug)]
pub struct ProtectedAgain(pub Vec<PodFingerprint>, pub Vec<String>);

impl Finding for ProtectedAgain {
    fn absorb(&self, facts: &mut Facts) {
        let Self(pods, errors) = self;
        let teardown = teardown(facts);
        if errors.is_empty() {
            teardown.protected = Some(pods.clone());
        }
        teardown.protected_errors.clone_from(errors);
    }
}

impl Finding for SourceIdentity {
    fn absorb(&self, facts: &mut Facts) {
        teardown(facts).identity = Some(self.clone());
    }
}

/// `Kind/name` of what the two looks found.
#[derive(Clone, Debug)]
pub struct FoundLeft(pub Vec<String>);

impl Finding for FoundLeft {
    fn absorb(&self, facts: &mut Facts) {
        let teardown = teardown(facts);
        teardown.proven = self.0.is_empty();
        teardown.left.clone_from(&self.0);
        teardown.proof_error = None;
    }
}

#[cfg(test)]
fn found(known: &Facts, job: Job) -> Option<std::sync::Arc<dyn Finding>> {
    let ended = known.teardown.as_ref()?;
    if job == Job::SealPartly {
        let sealed = EvidenceFacts {
            partial: true,
            ..known.evidence.clone()?
        };
        Some(std::sync::Arc::new(Sealed(sealed, known.search.clone())))
    } else if job == Job::FingerprintProtected {
        let pods = ended.protected.clone()?;
        Some(std::sync::Arc::new(ProtectedAgain(pods, Vec::new())))
    } else if job == Job::Identify {
        Some(std::sync::Arc::new(ended.identity.clone()?))
    } else if job == Job::ProveNetZero {
        Some(std::sync::Arc::new(FoundLeft(Vec::new())))
    } else {
        None
    }
}
