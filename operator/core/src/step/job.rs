//! The jobs that a run has beside its passes.

use crate::commands::Command;
use crate::run::object::Object;

/// Work that takes longer than an API call. It runs beside the reconciler and ends with a [`Finding`](super::Finding).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Job {
    /// C-01: look at names, volumes and protected workloads.
    Preflight,
    /// C-01 to C-13: watch the protected workloads until something happens to them.
    WatchProtected,
    /// C-02: read the Secret back.
    InspectSecret,
    /// Look at a pod as it is, before its agent is given anything to do.
    Inspect(Object),
    /// Read and search the logs of a pod's containers, before it is deleted.
    ReadLogs(Object),
    /// C-03: dump; counted from 1.
    Dump(u8),
    /// C-04, C-08 or C-11: try to reach what must be out of reach, between positive controls.
    Probe(Moment),
    /// C-08 to C-11: wait until the copy or the harness reaches what must be out of reach.
    WatchIsolation,
    /// C-04: let the copy's init container end.
    ReleaseIsolate,
    /// C-05: read the copy's identity and make the roles that the dump refers to.
    PrepareCopy,
    /// C-05: restore, and read the copy's log of it.
    Restore,
    /// C-06 and C-07: apply the matrix, read it back, read the identity again.
    ApplyMatrix,
    /// C-08: look at the harness pod as it is.
    InspectHarness,
    /// C-09: verify and unpack the inputs.
    VerifyInputs,
    /// C-09: let the harness's init container end.
    ReleaseInputs,
    /// C-09: a setup command, by its index.
    Setup(usize),
    /// C-10: record the copy before the scenarios.
    Baseline,
    /// C-10: a scenario, by its index.
    Scenario(usize),
    /// C-11: compare the copy with what it was.
    Verify,
    /// C-11: search all logs of the run.
    Search,
    /// C-12: redact, search and seal what is kept, and store it.
    Seal,
    /// C-13: the same as far as it can be had, when C-12 was not reached.
    SealPartly,
    /// C-13: look at the protected workloads again.
    FingerprintProtected,
    /// C-13: read production's identity again.
    Identify,
    /// C-13: look twice, by name and by label, for anything that is left.
    ProveNetZero,
}

impl Job {
    /// Jobs that go on when a run is stopped.
    pub fn is_teardown(self) -> bool {
        matches!(
            self,
            Self::WatchProtected
                | Self::FingerprintProtected
                | Self::Identify
                | Self::SealPartly
                | Self::ProveNetZero
        )
    }

    /// The command that it belongs to.
    pub fn command(self) -> Command {
        match self {
            Self::Preflight | Self::WatchProtected => Command::Preflight,
            Self::Inspect(pod) => match pod {
                Object::DumpPod => Command::Dump,
                // The restore pod is there from C-04 on: it shows that the copy can be reached from where it may be.
                Object::PostgresPod | Object::RestorePod => Command::Isolate,
                Object::HarnessPod => Command::Harness,
                Object::SealPod => Command::Verify,
                _ => Command::Teardown,
            },
            Self::ReadLogs(pod) => match pod {
                Object::DumpPod => Command::Isolate,
                Object::RestorePod => Command::Harness,
                _ => Command::Verify,
            },
            Self::InspectSecret => Command::Secrets,
            Self::Dump(_) => Command::Dump,
            Self::Probe(moment) => moment.command(),
            Self::WatchIsolation => Command::Harness,
            Self::ReleaseIsolate => Command::Isolate,
            Self::PrepareCopy | Self::Restore => Command::Restore,
            Self::ApplyMatrix => Command::Roles,
            Self::InspectHarness => Command::Harness,
            Self::VerifyInputs | Self::ReleaseInputs | Self::Setup(_) => Command::Stage,
            Self::Baseline | Self::Scenario(_) => Command::Scenarios,
            Self::Verify | Self::Search => Command::Verify,
            Self::Seal => Command::Evidence,
            Self::FingerprintProtected | Self::Identify | Self::SealPartly | Self::ProveNetZero => {
                Command::Teardown
            }
        }
    }
}

/// When isolation is probed, beside the watch.
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
    fn command(self) -> Command {
        match self {
            Self::Before => Command::Isolate,
            Self::Harness => Command::Harness,
            Self::After => Command::Verify,
        }
    }
}
