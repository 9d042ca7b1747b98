//! Code shared by the gates of isolation.

use super::{Evidence, Verdict, examples};
use crate::api::TargetClass;
use crate::isolation::judge::{self, Judgement, NO_CONTROL, NOT_TRIED};
use crate::run::facts::{Phase, Probe};
use crate::run::object::RunPod;

/// Reason of a gate that one connection has failed.
pub(super) const REACHABLE: (&str, &str) = (
    "Reachable",
    "A probe connected where none may: NetworkPolicy is not enforced there, or something allows it.",
);
/// Reasons of a gate whose probes prove nothing.
pub(super) const NOT_PROVEN: [(&str, &str); 2] = [
    (
        NO_CONTROL,
        "A probe was blocked, but no pod that may reach its target did so right before and after it.",
    ),
    (
        NOT_TRIED,
        "A probe was not made, or most of its attempts failed by themselves.",
    ),
];

/// The verdict over a phase.
pub(super) fn verdict(
    evidence: &Evidence<'_>,
    phase: &Phase,
    demanded: &[(RunPod, &[TargetClass])],
) -> Verdict {
    let probes: Vec<&Probe> = phase.probes.iter().collect();
    let controls = [&*phase.controls_before, &*phase.controls_after];
    let judged = judge::judge(&evidence.spec.isolation, &probes, controls, demanded);
    said(&judged, &phase.node)
}

/// The verdict that a judgement means.
pub(super) fn said(judged: &Judgement, node: &str) -> Verdict {
    match judged {
        Judgement::Isolated(summary) => Verdict::pass(format!("{summary}; node {node}")),
        Judgement::Breached(reached) => Verdict::fail(REACHABLE.0, judge::sentence(reached)),
        Judgement::Unproven(unproven) => {
            let reason = unproven.first().map_or(NOT_TRIED, |first| first.reason);
            let what: Vec<&str> = unproven
                .iter()
                .filter(|one| one.reason == reason)
                .map(|one| one.what.as_str())
                .collect();
            Verdict::unknown(reason, examples(&what))
        }
    }
}
