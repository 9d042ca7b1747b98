//! Says what was decided: facts and verdicts in the report, the status of the DryRun, and events.

use dryrun_core::api::{DryRun, DryRunReport, DryRunStatus};
use dryrun_core::commands::Facts;
use dryrun_core::gate::{Gate, NOT_REACHED, PENDING, Status, Verdict};
use dryrun_core::run::id::MANAGER;
use dryrun_core::run::id::RunRef;
use dryrun_core::step::{ReportView, report};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Api, Client, Resource, ResourceExt};

use crate::error::{Error, call};

/// Writes facts, verdicts and outcome into the report.
///
/// The resourceVersion that was read goes with it: a write that an operator before this one, or a
/// call without an answer, has left on its way never replaces later facts.
pub(crate) async fn write_report(
    client: &Client,
    run: &DryRun,
    (view, version): (&ReportView, Option<&str>),
    facts: &Facts,
    status: &DryRunStatus,
) -> Result<(), Error> {
    let id = RunRef::of(run);
    let report = report::status(view, &run.spec, facts, status, Timestamp::now());
    let body = serde_json::json!({
        "apiVersion": DryRunReport::api_version(&()),
        "kind": DryRunReport::kind(&()),
        "metadata": {"resourceVersion": version},
        "status": report,
    });
    let api: Api<DryRunReport> = Api::namespaced(client.clone(), &id.namespace);
    let params = PatchParams::apply(MANAGER).force();
    call(
        "write the report",
        api.patch_status(&id.report(), &params, &Patch::Apply(&body)),
    )
    .await
    .map(drop)
}

/// Writes the status of a DryRun. The only place that does.
///
/// The resourceVersion that was read goes with it: a pass that saw an old object is refused.
pub(crate) async fn write_status(
    client: &Client,
    run: &DryRun,
    status: &DryRunStatus,
) -> Result<DryRun, Error> {
    let id = RunRef::of(run);
    let body = serde_json::json!({
        "apiVersion": DryRun::api_version(&()),
        "kind": DryRun::kind(&()),
        "metadata": {"resourceVersion": run.resource_version(), "uid": run.uid()},
        "status": status,
    });
    let api: Api<DryRun> = Api::namespaced(client.clone(), &id.namespace);
    let params = PatchParams::apply(MANAGER).force();
    call(
        "write the status",
        api.patch_status(&id.name, &params, &Patch::Apply(&body)),
    )
    .await
}

/// Publishes verdicts and summaries that changed. Best effort: events are never evidence, and must
/// not hold up the run.
pub(crate) async fn publish(
    recorder: &Recorder,
    run: &DryRun,
    before: &[Condition],
    after: &[Condition],
    verdicts: &[(&'static Gate, Verdict)],
) {
    let reference = run.object_ref(&());
    let events = [gate_events(before, verdicts), summary_events(before, after)];
    let all = async {
        for event in events.iter().flatten() {
            if let Err(error) = recorder.publish(event, &reference).await {
                tracing::debug!(%error, reason = event.reason, "event not published");
            }
        }
        Ok(())
    };
    if let Err(error) = call("publish events", all).await {
        tracing::debug!(%error, "events not published");
    }
}

fn gate_events(before: &[Condition], verdicts: &[(&'static Gate, Verdict)]) -> Vec<Event> {
    let mut events = Vec::new();
    for (gate, verdict) in verdicts {
        let (status, reason) = was(before, gate.name);
        if (status, reason) == (verdict.status.as_str(), verdict.reason.as_str())
            // The event at the end of the run names the gates without a verdict.
            || [PENDING, NOT_REACHED].contains(&verdict.reason.as_str())
            || status.is_empty()
        {
            continue;
        }
        let word = match verdict.status {
            Status::True => "Passed",
            Status::False => "Failed",
            Status::Unknown => "Unknown",
        };
        let note = match verdict.status {
            Status::True => format!("{} {}: {}", gate.id, gate.name, verdict.message),
            Status::False | Status::Unknown => {
                let (reason, message) = (&verdict.reason, &verdict.message);
                format!("{} {}: {reason}: {message}", gate.id, gate.name)
            }
        };
        let failed = verdict.status == Status::False;
        events.push(event(failed, &format!("Gate{word}"), gate.name, &note));
    }
    events
}

fn summary_events(before: &[Condition], after: &[Condition]) -> Vec<Event> {
    let mut events = Vec::new();
    // Reasons of the plan and its approval speak for themselves.
    for (summary, prefix) in [
        ("ApprovalEnforced", ""),
        ("Approved", ""),
        ("Succeeded", "Run"),
        ("NetZero", "NetZero"),
    ] {
        let Some(now) = after.iter().find(|c| c.type_ == summary) else {
            continue;
        };
        let (status, reason) = was(before, summary);
        if (status, reason) == (now.status.as_str(), now.reason.as_str())
            || status.is_empty()
            || now.message.is_empty()
            || now.reason == "Running"
        {
            continue;
        }
        let reason = format!("{prefix}{}", now.reason);
        events.push(event(now.status == "False", &reason, summary, &now.message));
    }
    events
}

/// Status and reason that a condition had; empty when it was not there.
fn was<'a>(before: &'a [Condition], type_: &str) -> (&'a str, &'a str) {
    before
        .iter()
        .find(|c| c.type_ == type_)
        .map_or(("", ""), |c| (c.status.as_str(), c.reason.as_str()))
}

fn event(failed: bool, reason: &str, action: &str, note: &str) -> Event {
    let cut = |text: &str, limit: usize| text.chars().take(limit).collect::<String>();
    // The recorder takes events with the same reason and action as one, even with different notes:
    // the action names the gate or the summary.
    Event {
        type_: if failed {
            EventType::Warning
        } else {
            EventType::Normal
        },
        reason: cut(reason, 128),
        note: Some(cut(note, 1000)),
        action: cut(action, 128),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(type_: &str, status: &str, reason: &str) -> Condition {
        Condition {
            type_: type_.into(),
            status: status.into(),
            reason: reason.into(),
            message: "why".into(),
            last_transition_time: Timestamp::UNIX_EPOCH.into(),
            observed_generation: None,
        }
    }

    #[test]
    fn each_summary_that_changed_is_told_once() {
        let summaries = ["ApprovalEnforced", "Approved", "Succeeded", "NetZero"];
        let before = summaries.map(|type_| condition(type_, "Unknown", "Pending"));
        let after = summaries.map(|type_| condition(type_, "False", "Failed"));
        let told: Vec<_> = summary_events(&before, &after)
            .into_iter()
            .map(|event| (event.action, event.reason))
            .collect();
        let expected = ["Failed", "Failed", "RunFailed", "NetZeroFailed"];
        assert!(told.iter().map(|(action, _)| action.as_str()).eq(summaries));
        assert!(told.iter().map(|(_, reason)| reason.as_str()).eq(expected));
        assert!(summary_events(&after, &after).is_empty());
        assert!(summary_events(&[], &after).is_empty());
    }
}
