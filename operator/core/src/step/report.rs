//! The report's status: built whole from what is known.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;
use std::time::Duration;

use crate::api::{CommandTime, DryRunReportStatus, DryRunSpec, DryRunStatus, KeptEvidence};
use crate::commands::Command;
use crate::commands::Facts;
use crate::commands::Stopped;
use crate::problem::Problem;
use crate::run::facts::EvidenceFacts;
use crate::step::ReportView;

/// Maximum number of truncated files and dropped items that are named.
const CUT: usize = 256;

/// Bytes of JSON that facts may have: etcd takes objects of 1.5 MiB, and the plan, the conditions
/// and the names of all fields (`managedFields`) stand beside them.
const LIMIT: usize = 900 << 10;
/// Parts of the facts that a run can do without. All others are small, and teardown needs them.
const PARTS: [&str; 15] = [
    "preflight",
    "dump",
    "restore",
    "roles",
    "inputs",
    "setup",
    "scenarios",
    "before",
    "verification",
    "search",
    "containerLogs",
    "evidence",
    "inspections",
    "copyPodAfter",
    "isolation",
];

/// Returns facts that a report can hold, if it cannot hold these: without the largest parts, and
/// with the run stopped for it. Nothing that a run finds may keep it from being torn down.
///
/// # Errors
/// When facts cannot be written as JSON, or be read again.
pub fn fitting(facts: &Facts) -> Result<Option<Facts>, serde_json::Error> {
    let size = |value: &Value| value.to_string().len();
    let mut parts = serde_json::to_value(facts)?;
    let mut left_out = Vec::new();
    while size(&parts) > LIMIT {
        let largest = PARTS
            .iter()
            .filter_map(|part| Some((size(parts.get(part)?), *part)))
            .max();
        let (Some((bytes, part)), Some(object)) = (largest, parts.as_object_mut()) else {
            break;
        };
        object.remove(part);
        left_out.push(format!("{part} ({} KiB)", bytes >> 10));
    }
    if left_out.is_empty() {
        return Ok(None);
    }
    let mut facts: Facts = serde_json::from_value(parts)?;
    let message = format!("no report can hold these facts: {}", left_out.join(", "));
    let problem = Problem::permanent("ReportTooLarge", message);
    let began = facts.began.keys().next_back().copied();
    let command = began.unwrap_or(Command::Preflight);
    facts.stopped.get_or_insert(Stopped { command, problem });
    Ok(Some(facts))
}

/// Returns the report's status at `now`.
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

    #[test]
    fn facts_that_fit_stay_whole_and_others_lose_their_largest_part() {
        use crate::run::facts::LoggedError;
        let mut facts = facts();
        facts.began = BTreeMap::from([(Command::Preflight, at(100)), (Command::Restore, at(104))]);
        assert_eq!(fitting(&facts).unwrap(), None);
        let errors = (0..10_000).map(|n| LoggedError {
            message: format!("relation \"{n:0150}\" does not exist"),
            ..LoggedError::default()
        });
        facts.restore.as_mut().unwrap().logged = errors.collect();
        let smaller = fitting(&facts).unwrap().unwrap();
        assert_eq!(smaller.restore, None);
        let stopped = smaller.stopped.clone().unwrap();
        assert_eq!(stopped.command, Command::Restore);
        assert_eq!(stopped.problem.reason, "ReportTooLarge");
        assert!(
            stopped.problem.message.contains("restore ("),
            "{}",
            stopped.problem
        );
        let whole = Facts {
            restore: facts.restore.clone(),
            stopped: None,
            ..smaller.clone()
        };
        assert_eq!(whole, facts, "nothing else is left out");
        assert_eq!(fitting(&smaller).unwrap(), None);
    }

    /// A part that is renamed would no longer be left out.
    #[test]
    fn every_part_that_can_be_left_out_is_one() {
        let mut facts = facts();
        facts.setup.push(Default::default());
        facts.search = Some(Default::default());
        facts.before = Some(Default::default());
        facts.copy_pod_after = Some(Default::default());
        let parts = serde_json::to_value(&facts).unwrap();
        for part in PARTS {
            assert!(parts.get(part).is_some(), "{part}");
            let mut without = parts.clone();
            without.as_object_mut().unwrap().remove(part);
            assert!(serde_json::from_value::<Facts>(without).is_ok(), "{part}");
        }
    }
}
