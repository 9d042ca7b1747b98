//! Probes of isolation, in C-04, C-08 and C-11, and the watch between them.

use super::progress::{Progress, View, WAIT};
use super::{Action, Command, Facts, Finding, Job};
use crate::run::container::Container;
use crate::run::facts::{Phase, Probe};

/// The moments of the probes, beside the watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Before any container with data or secrets of the copy's pod begins.
    Before,
    /// Before the harness does anything.
    Harness,
    /// After the scenarios.
    After,
}

impl Moment {
    pub(super) fn command(self) -> Command {
        match self {
            Self::Before => Command::Isolate,
            Self::Harness => Command::Harness,
            Self::After => Command::Verify,
        }
    }

    /// The containers that take part, beside the probers.
    fn participants(self) -> &'static [Container] {
        match self {
            // The dump pod may reach production: it is the positive control of those that may not.
            Self::Before => &[Container::Isolate, Container::Restore, Container::Dump],
            // Later the identity pod is.
            Self::Harness | Self::After => &[
                Container::CopyProbe,
                Container::Observer,
                Container::Identity,
            ],
        }
    }
}

/// Probes, once all who take part are running.
pub(super) fn probe(view: &View<'_>, moment: Moment) -> Progress {
    for container in Container::PROBERS.iter().chain(moment.participants()) {
        let pod = container.pod();
        if !view.objects.contains_key(&pod.into()) {
            return view.deleted(pod);
        }
        if let Some(stop) = view.pod_ended(pod) {
            return stop;
        }
        if !view.runs(*container) {
            return WAIT;
        }
    }
    view.job(Job::Probe(moment))
}

/// Watches the copy and the harness from when the harness was probed until both are probed for the
/// last time.
pub(crate) fn watch(view: &View<'_>) -> Option<Action> {
    let isolation = &view.facts.isolation;
    let running = view.running.contains(&Job::WatchIsolation);
    if isolation.after.is_some() {
        return running.then_some(Action::End(Job::WatchIsolation));
    }
    let told = !isolation.during.is_empty() || isolation.watch_error.is_some();
    let due = isolation.harness.is_some() && !told && !running;
    due.then_some(Action::Start(Job::WatchIsolation, view.deadline))
}

/// Probes between positive controls, with what the watch has tried so far.
#[derive(Clone, Debug)]
pub struct Probed {
    /// The moment.
    pub moment: Moment,
    /// The probes of that moment.
    pub phase: Phase,
    /// The watch's probes.
    pub during: Vec<Probe>,
}

impl Finding for Probed {
    fn absorb(&self, facts: &mut Facts) {
        let isolation = &mut facts.isolation;
        let phase = Some(self.phase.clone());
        match self.moment {
            Moment::Before => isolation.before = phase,
            Moment::Harness => isolation.harness = phase,
            Moment::After => isolation.after = phase,
        }
        if !self.during.is_empty() {
            isolation.during.clone_from(&self.during);
        }
    }
}

/// The watch's probes when something was reached.
#[derive(Clone, Debug)]
pub struct Breached(pub Vec<Probe>);

impl Finding for Breached {
    fn absorb(&self, facts: &mut Facts) {
        facts.isolation.during.clone_from(&self.0);
    }
}

#[cfg(test)]
pub(super) fn found(known: &Facts, job: Job) -> Option<std::sync::Arc<dyn Finding>> {
    let Job::Probe(moment) = job else {
        return None;
    };
    let isolation = known.isolation.clone();
    let (phase, during) = match moment {
        Moment::Before => (isolation.before, Vec::new()),
        Moment::Harness => (isolation.harness, Vec::new()),
        Moment::After => (isolation.after, isolation.during),
    };
    Some(std::sync::Arc::new(Probed {
        moment,
        phase: phase?,
        during,
    }))
}
