//! The report's status: built whole from what is known.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::time::Duration;

use crate::api::{CommandTime, DryRunReportStatus, DryRunSpec, DryRunStatus, KeptEvidence};
use crate::commands::Command;
use crate::commands::Facts;
use crate::run::facts::EvidenceFacts;
use crate::step::ReportView;

/// How many cut files and things that are not kept are named.
const CUT: usize = 256;

/// What the report says at `now`.
pub fn status(
    view: &ReportView,
    spec: &DryRunSpec,
    facts: &Facts,
    status: &DryRunStatus,
    now: Timestamp,
) -> DryRunReportStatus {
    let finished = status.outcome.map(|_| now);
    let retain = spec.evidence.retain.or(Duration::ZERO);
    DryRunReportStatus {
        started_at: Some(Time(view.began)),
        finished_at: finished.map(Time),
        expires_at: finished.map(|end| Time(end.checked_add(retain).unwrap_or(Timestamp::MAX))),
        outcome: status.outcome,
        conditions: status.conditions.clone(),
        commands: commands(facts, finished),
        evidence: facts.evidence.as_ref().and_then(kept),
        facts: facts.clone(),
        verdict: status.verdict.clone(),
    }
}

fn commands(facts: &Facts, finished: Option<Timestamp>) -> Vec<CommandTime> {
    let began: Vec<(Command, Timestamp)> = facts.began.iter().map(|(id, at)| (*id, *at)).collect();
    let ends = began.iter().skip(1).map(|(_, at)| Some(*at));
    began
        .iter()
        .zip(ends.chain([finished]))
        .map(|((command, at), end)| CommandTime {
            command: command.id().to_owned(),
            began_at: Time(*at),
            milliseconds: end
                .and_then(|end| u64::try_from(end.duration_since(*at).as_millis()).ok()),
        })
        .collect()
}

fn kept(evidence: &EvidenceFacts) -> Option<KeptEvidence> {
    if evidence.config_maps.is_empty() {
        return None;
    }
    let cut = evidence
        .seal
        .files
        .iter()
        .filter(|file| file.cut_bytes > 0)
        .map(|file| format!("{}: {} bytes at its end are cut", file.path, file.cut_bytes));
    Some(KeptEvidence {
        config_maps: evidence.config_maps.clone(),
        archive: evidence.seal.archive.clone(),
        manifest: evidence.seal.manifest.clone(),
        partial: evidence.partial,
        cut: cut
            .chain(evidence.seal.dropped.iter().cloned())
            .take(CUT)
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Outcome;
    use crate::test_support::{facts, spec};
    use std::collections::BTreeMap;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn it_tells_times_and_evidence_and_when_it_goes() {
        let view = ReportView {
            began: at(100),
            approved_by: "bob".into(),
        };
        let mut facts = facts();
        facts.began = BTreeMap::from([(Command::Preflight, at(100)), (Command::Teardown, at(104))]);
        let evidence = facts.evidence.as_mut().unwrap();
        evidence.seal.files[0].path = "server/server.jsonl".into();
        evidence.seal.files[0].cut_bytes = 7;
        let running = status(&view, &spec(), &facts, &DryRunStatus::default(), at(105));
        assert_eq!((running.finished_at, running.expires_at), (None, None));
        assert_eq!(running.commands[0].milliseconds, Some(4000));
        assert_eq!(running.commands[1].milliseconds, None);
        let ended = DryRunStatus {
            outcome: Some(Outcome::Passed),
            ..DryRunStatus::default()
        };
        let report = status(&view, &spec(), &facts, &ended, at(105));
        assert_eq!(report.expires_at, Some(Time(at(105 + 30 * 24 * 3600))));
        assert_eq!(report.commands[1].milliseconds, Some(1000));
        assert_eq!(
            report.evidence.unwrap().cut,
            ["server/server.jsonl: 7 bytes at its end are cut"]
        );
    }
}
