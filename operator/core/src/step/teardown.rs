//! C-13: production's identity is read again, everything is deleted, and it is proven that nothing is left.
//!
//! Pods go before the policies that guard them. Teardown has no deadline: it goes on until nothing is left.

use jiff::Timestamp;
use std::time::Duration;

use super::snapshot::later;
use super::{Action, Job, World};
use crate::commands::Command;
use crate::problem::Problem;
use crate::run::facts::{EvidenceFacts, Facts};
use crate::run::object::Object;

/// How long a look at the cluster may take, and how soon there is another look at what should go: not everything that goes is watched, and a
/// watch that was interrupted tells nothing of what went meanwhile.
const LOOK: Duration = Duration::from_secs(30);
/// How long a run that ended early is given to seal what there is.
const SEAL: Duration = Duration::from_secs(60);
/// How long a volume that is being made is waited for.
const PROVISION: Duration = Duration::from_secs(60);

/// The next actions, when to look again, and whether nothing is left.
pub(super) fn advance(
    world: &World<'_>,
    facts: &mut Facts,
) -> (Vec<Action>, Option<Timestamp>, bool) {
    facts.began.entry(Command::Teardown).or_insert(world.now);
    if world.running.iter().any(|job| !job.is_teardown()) {
        return (vec![Action::CancelJobs], None, false);
    }
    if world.namespace_terminating {
        return namespace_terminating(world, facts);
    }
    let began = facts
        .began
        .get(&Command::Teardown)
        .copied()
        .unwrap_or(world.now);
    let deadline = later(began, world.spec.deadlines.start.or(Duration::ZERO));
    let late = [Object::IdentityPod, Object::SealPod];
    let mut actions: Vec<Action> =
        delete(world, |o| Object::PODS.contains(&o) && !late.contains(&o));
    let limit = later(began, SEAL);
    let sealing = seal(world, facts, limit);
    let identifying = identify(world, facts, deadline);
    let wake = match (&sealing, &identifying) {
        (Some(_), _) => Some(limit.min(deadline)),
        _ => Some(deadline),
    };
    let busy = sealing.is_some() || identifying.is_some();
    for (pod, steps) in [
        (Object::SealPod, sealing),
        (Object::IdentityPod, identifying),
    ] {
        actions.extend(steps.unwrap_or_else(|| delete(world, |o| o == pod)));
    }
    if busy {
        return (actions, wake, false);
    }
    let again = later(world.now, LOOK);
    if world.objects.keys().any(|o| Object::PODS.contains(o)) {
        return (actions, Some(again), false);
    }
    let data = [Object::Secret, Object::DataVolume, Object::EvidenceVolume];
    // A volume that is made for a claim which has gone belongs to nobody for a while; one that is bound goes with its claim.
    let limit = later(began, PROVISION);
    let coming = |o: Object| {
        world.now < limit
            && world
                .objects
                .get(&o)
                .is_some_and(|claim| claim.provisioning)
    };
    actions.extend(delete(world, |o| data.contains(&o) && !coming(o)));
    if world.objects.keys().any(|o| data.contains(o)) {
        let coming = data.iter().any(|o| coming(*o));
        let wake = if coming { limit.min(again) } else { again };
        return (actions, Some(wake), false);
    }
    actions.extend(delete(world, |_| true));
    if !world.objects.is_empty() {
        return (actions, Some(again), false);
    }
    let seen = facts
        .teardown
        .as_ref()
        .is_some_and(|t| t.protected.is_some() || !t.protected_errors.is_empty());
    if facts.preflight.is_some() && !seen {
        return (start(world, Job::FingerprintProtected, again), wake, false);
    }
    // A proof that found something, such as a volume on its way out, is begun anew.
    match &facts.teardown {
        Some(teardown) if teardown.proven => (Vec::new(), None, true),
        _ => (start(world, Job::ProveNetZero, again), None, false),
    }
}

/// What was told to go and is still there, by name, once teardown is late; nothing while teardown goes on as it should.
pub(super) fn hanging(world: &World<'_>, facts: &Facts) -> Vec<String> {
    let began = facts.began.get(&Command::Teardown);
    if began.is_none_or(|began| world.now < later(*began, LOOK)) {
        return Vec::new();
    }
    let told = world.objects.iter().filter(|(_, seen)| seen.deleting);
    let objects = told.map(|(object, _)| object.reference(world.name, world.uid));
    let left = facts.teardown.iter().flat_map(|t| t.left.iter().cloned());
    objects.chain(left).collect()
}

/// Steps towards the second reading of production's identity; nothing when it is there, or can no longer be had.
fn identify(world: &World<'_>, facts: &mut Facts, deadline: Timestamp) -> Option<Vec<Action>> {
    let identified = facts
        .dump
        .as_ref()
        .is_some_and(|dump| dump.identity.is_some());
    let settled = facts
        .teardown
        .as_ref()
        .is_some_and(|t| t.identity.is_some() || t.identity_error.is_some());
    if !identified || settled {
        return None;
    }
    let impossible = [Object::Secret, Object::ProductionEgress]
        .into_iter()
        .find(|o| world.alive(*o).is_none());
    if let Some(gone) = impossible {
        return give_up(
            facts,
            "ObjectGone",
            format!(
                "{} was deleted by somebody else",
                gone.reference(world.name, world.uid)
            ),
        );
    }
    if world.now >= deadline {
        let waiting = world
            .pod(Object::IdentityPod)
            .and_then(|p| p.waiting.clone());
        let message = waiting.map_or_else(
            || "the identity pod did not answer in time".into(),
            |problem| problem.to_string(),
        );
        return give_up(facts, "DeadlineExceeded", message);
    }
    match world.objects.get(&Object::IdentityPod) {
        None => Some(vec![Action::Create(Object::IdentityPod)]),
        Some(pod) if pod.deleting => give_up(
            facts,
            "PodDeleted",
            "the identity pod was deleted by somebody else".into(),
        ),
        Some(_) if world.runs(Object::IdentityPod, "identity") => {
            Some(start(world, Job::Identify, deadline))
        }
        Some(_) => Some(Vec::new()),
    }
}

fn give_up(facts: &mut Facts, reason: &str, message: String) -> Option<Vec<Action>> {
    facts.teardown.get_or_insert_default().identity_error =
        Some(Problem::permanent(reason, message));
    None
}

/// Steps towards what can be sealed of a run that ended before C-12; nothing when it is sealed, or can no longer be.
fn seal(world: &World<'_>, facts: &mut Facts, limit: Timestamp) -> Option<Vec<Action>> {
    // Before the dump nothing has written anything: the report is all there is.
    if facts.evidence.is_some() || facts.dump.is_none() {
        return None;
    }
    let mut lost = |reason: &str, message: String| {
        facts.evidence = Some(EvidenceFacts {
            partial: true,
            problem: Some(Problem::permanent(reason, message)),
            ..EvidenceFacts::default()
        });
        None
    };
    let gone = [Object::Secret, Object::EvidenceVolume]
        .into_iter()
        .find(|o| world.alive(*o).is_none());
    if let Some(gone) = gone {
        let what = gone.reference(world.name, world.uid);
        return lost("ObjectGone", format!("{what} was deleted by somebody else"));
    }
    if world.now >= limit {
        return lost(
            "DeadlineExceeded",
            "the seal pod did not answer in time".into(),
        );
    }
    match world.objects.get(&Object::SealPod) {
        None => Some(vec![Action::Create(Object::SealPod)]),
        Some(pod) if pod.deleting => lost(
            "PodDeleted",
            "the seal pod was deleted by somebody else".into(),
        ),
        Some(_) if world.runs(Object::SealPod, "seal") => {
            Some(start(world, Job::SealPartly, limit))
        }
        Some(_) => Some(Vec::new()),
    }
}

/// In a terminating namespace nothing can be created and our Roles may be gone: what is seen is deleted; what cannot be seen, the namespace
/// controller deletes, pods first (KEP-5080).
fn namespace_terminating(
    world: &World<'_>,
    facts: &mut Facts,
) -> (Vec<Action>, Option<Timestamp>, bool) {
    let teardown = facts.teardown.get_or_insert_default();
    let why = || "the namespace is being deleted: no pod can be created in it".to_owned();
    if teardown.identity.is_none() && teardown.identity_error.is_none() {
        teardown.identity_error = Some(Problem::permanent("NamespaceTerminating", why()));
    }
    teardown.proof_error.get_or_insert_with(why);
    // Also what lives in the namespace of probes, which nobody else deletes.
    let gone = !world.objects.keys().any(|o| Object::PODS.contains(o));
    (
        delete(world, |o| Object::PODS.contains(&o)),
        Some(later(world.now, LOOK)),
        gone,
    )
}

fn delete(world: &World<'_>, which: impl Fn(Object) -> bool) -> Vec<Action> {
    world
        .objects
        .iter()
        .filter(|(o, seen)| which(**o) && !seen.deleting)
        .map(|(o, _)| Action::Delete(*o))
        .collect()
}

fn start(world: &World<'_>, job: Job, deadline: Timestamp) -> Vec<Action> {
    if world.running.contains(&job) {
        Vec::new()
    } else {
        vec![Action::Start(job, deadline)]
    }
}
