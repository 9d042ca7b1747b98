//! The step function: what is seen decides what is done next.
//!
//! [`decide`] is level-based: it looks at the facts and objects as they are, never at what it said before, so an operator that was restarted
//! goes on where the run is. It names actions and has no effect itself.

mod absorb;
mod forward;
mod status;
mod teardown;
#[cfg(test)]
mod tests;
mod world;

pub use absorb::{Finding, absorb};
pub use status::is_edge;
pub use world::{Approval, Observed, PlanProblem, PodView, ReportView, World};

use jiff::Timestamp;
use std::time::Duration;

use crate::api::{DryRunStatus, Outcome};
use crate::command::Command;
use crate::facts::{Facts, Stopped};
use crate::gate::{self, Evidence, Gate, Status, Verdict};
use crate::names::Object;

/// How soon an incomplete plan is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// What the shell does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Put our finalizer on the DryRun.
    AddFinalizer,
    /// Take our finalizer off the DryRun.
    RemoveFinalizer,
    /// Create the report: the run begins, and the approval is used.
    CreateReport,
    /// Create this object.
    Create(Object),
    /// Delete this object by its UID.
    Delete(Object),
    /// Begin this job, to be given up at the time.
    Start(Job, Timestamp),
    /// End every job that does not belong to teardown.
    CancelJobs,
}

/// Work that takes longer than an API call. It runs beside the reconciler and ends with a [`Finding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Job {
    /// C-01: look at names, volumes and protected workloads.
    Preflight,
    /// C-02: read the Secret back.
    InspectSecret,
    /// C-03: dump; counted from 1.
    Dump(u8),
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
    /// C-08: a setup command, by its index.
    Setup(usize),
    /// C-10: record the copy before the scenarios.
    Baseline,
    /// C-10: a scenario, by its index.
    Scenario(usize),
    /// C-11: compare the copy with what it was.
    Verify,
    /// C-13: look at the protected workloads again.
    FingerprintProtected,
    /// C-13: read production's identity again.
    Identify,
    /// C-13: look twice, by name and by label, for anything that is left.
    ProveNetZero,
}

impl Job {
    /// Jobs of teardown go on when a run is stopped.
    pub fn is_teardown(self) -> bool {
        matches!(
            self,
            Self::FingerprintProtected | Self::Identify | Self::ProveNetZero
        )
    }

    /// The command that it belongs to.
    pub fn command(self) -> Command {
        match self {
            Self::Preflight => Command::Preflight,
            Self::InspectSecret => Command::Secrets,
            Self::Dump(_) => Command::Dump,
            Self::ReleaseIsolate => Command::Isolate,
            Self::PrepareCopy | Self::Restore => Command::Restore,
            Self::ApplyMatrix => Command::Roles,
            Self::InspectHarness | Self::Setup(_) => Command::Harness,
            Self::VerifyInputs | Self::ReleaseInputs => Command::Stage,
            Self::Baseline | Self::Scenario(_) => Command::Scenarios,
            Self::Verify => Command::Verify,
            Self::FingerprintProtected | Self::Identify | Self::ProveNetZero => Command::Teardown,
        }
    }
}

/// What is to be done, and what is to be said.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What to do, in order. Empty: wait for a change, or until `wake`.
    pub actions: Vec<Action>,
    /// The whole status of the DryRun.
    pub status: DryRunStatus,
    /// The facts with what the decision itself adds to them.
    pub facts: Facts,
    /// When to look again although nothing changed.
    pub wake: Option<Timestamp>,
    /// Every gate's verdict.
    pub verdicts: Vec<(&'static Gate, Verdict)>,
}

/// Where a run stands.
enum Stand {
    /// It waits for a plan or an approval, and has created nothing.
    Before {
        approved: (&'static str, String, String),
        actions: Vec<Action>,
        wake: Option<Timestamp>,
    },
    /// It works on a command.
    At {
        command: Command,
        actions: Vec<Action>,
        wake: Option<Timestamp>,
    },
    /// It is over.
    Over {
        outcome: Outcome,
        actions: Vec<Action>,
    },
}

/// How far a command is.
enum Progress {
    /// Its facts are there.
    Done,
    /// These actions bring it on.
    Act(Vec<Action>),
    /// Something must change first.
    Wait,
    /// It cannot go on: one CamelCase word, and what to change.
    Stop(&'static str, String),
}

/// Decides what to do next.
pub fn decide(world: &World<'_>) -> Decision {
    if world.status.outcome.is_some() {
        return ended(world);
    }
    let mut facts = world.facts.clone();
    // Remembered while the claim can still be asked: the volume must be gone in the end, too.
    facts.volumes.extend(
        world
            .objects
            .values()
            .filter_map(|object| object.volume.clone()),
    );
    let judged = |facts: &Facts| {
        gate::judge(
            &Evidence {
                spec: world.spec,
                facts,
                uid: world.uid,
            },
            &world.status.conditions,
        )
    };
    let mut verdicts = judged(&facts);
    let stand = match &world.report {
        None => before(world),
        Some(report) => {
            let failed = verdicts.iter().any(|(_, v)| v.status == Status::False);
            let mut command = Command::Teardown;
            // A teardown that has begun is never left: it deletes what the commands before it look at.
            let ending = facts.began.contains_key(Command::Teardown.id());
            if !(ending
                || world.deleted
                || failed
                || facts.stopped.is_some()
                || world.namespace_terminating)
            {
                let (at, progress, deadline) = forward::advance(world, report, &mut facts);
                match progress {
                    Progress::Act(actions) if world.now < deadline => {
                        return finish(
                            world,
                            facts,
                            verdicts,
                            Stand::At {
                                command: at,
                                actions,
                                wake: Some(deadline),
                            },
                        );
                    }
                    Progress::Wait if world.now < deadline => {
                        return finish(
                            world,
                            facts,
                            verdicts,
                            Stand::At {
                                command: at,
                                actions: Vec::new(),
                                wake: Some(deadline),
                            },
                        );
                    }
                    Progress::Wait | Progress::Act(_) => {
                        let (reason, message) = forward::why_waiting(world, at);
                        facts.stopped = Some(stopped(at, &reason, message));
                    }
                    Progress::Stop(reason, message) => {
                        absorb::refused(&mut facts, at, reason);
                        facts.stopped = Some(stopped(at, reason, message))
                    }
                    Progress::Done => command = Command::Teardown,
                }
                verdicts = judged(&facts);
            }
            let (actions, wake, proven) = teardown::advance(world, &mut facts);
            if proven {
                verdicts = judged(&facts);
                let outcome = status::outcome(&verdicts);
                let actions = if world.finalizer {
                    vec![Action::RemoveFinalizer]
                } else {
                    Vec::new()
                };
                Stand::Over { outcome, actions }
            } else {
                Stand::At {
                    command,
                    actions,
                    wake,
                }
            }
        }
    };
    finish(world, facts, verdicts, stand)
}

fn stopped(command: Command, reason: &str, message: String) -> Stopped {
    Stopped {
        step: command.id().into(),
        reason: reason.into(),
        message,
    }
}

/// A run that has ended: only the finalizer may be left. Its status stays, whatever has become of its report since.
fn ended(world: &World<'_>) -> Decision {
    let actions = if world.finalizer {
        vec![Action::RemoveFinalizer]
    } else {
        Vec::new()
    };
    Decision {
        actions,
        status: world.status.clone(),
        facts: world.facts.clone(),
        wake: None,
        verdicts: Vec::new(),
    }
}

/// A run that has not begun: nothing was created, so nothing is to be torn down.
fn before(world: &World<'_>) -> Stand {
    if world.deleted || world.namespace_terminating {
        let actions = if world.finalizer {
            vec![Action::RemoveFinalizer]
        } else {
            Vec::new()
        };
        return Stand::Before {
            approved: (
                "Unknown",
                "Deleted".into(),
                "deleted before it was approved".into(),
            ),
            actions,
            wake: None,
        };
    }
    let expires = world.after(world.created, &world.spec.approval.expires_after);
    let plan = match world.plan {
        Ok(plan) => plan,
        Err(problem) => {
            let deadline = world.after(world.created, &world.spec.deadlines.start);
            if world.now >= deadline {
                return Stand::Over {
                    outcome: Outcome::Failed,
                    actions: Vec::new(),
                };
            }
            let approved = ("Unknown", problem.reason.clone(), problem.message.clone());
            // ConfigMaps and Secrets are read by name alone, never watched.
            let wake = world::later(world.now, LOOK_AGAIN).min(deadline);
            return Stand::Before {
                approved,
                actions: Vec::new(),
                wake: Some(wake),
            };
        }
    };
    if world.now >= expires {
        return Stand::Over {
            outcome: Outcome::Expired,
            actions: Vec::new(),
        };
    }
    match &world.approval {
        Approval::None => Stand::Before {
            approved: (
                "Unknown",
                "AwaitingApproval".into(),
                format!("a second person must approve plan {}", plan.hash),
            ),
            actions: Vec::new(),
            wake: Some(expires),
        },
        Approval::Refused { reason, message } => Stand::Before {
            approved: ("Unknown", reason.clone(), message.clone()),
            actions: Vec::new(),
            wake: Some(expires),
        },
        Approval::Valid { approved_by, .. } => Stand::Before {
            approved: (
                "True",
                "Approved".into(),
                format!("approved by {approved_by}"),
            ),
            actions: vec![if world.finalizer {
                Action::CreateReport
            } else {
                Action::AddFinalizer
            }],
            wake: Some(expires),
        },
    }
}

fn finish(
    world: &World<'_>,
    facts: Facts,
    verdicts: Vec<(&'static Gate, Verdict)>,
    stand: Stand,
) -> Decision {
    let verdicts = status::explain(&facts, verdicts, &stand);
    let status = status::build(world, &facts, &verdicts, &stand);
    let (actions, wake) = match stand {
        Stand::Before { actions, wake, .. } | Stand::At { actions, wake, .. } => (actions, wake),
        Stand::Over { actions, .. } => (actions, None),
    };
    Decision {
        actions,
        status,
        facts,
        wake,
        verdicts,
    }
}
