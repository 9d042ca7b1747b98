//! Operator settings frozen by an approved plan, so that an upgrade in mid-run changes nothing.

use dryrun_core::api::{DryRun, DryRunReport};

/// Operator settings in a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedOperator {
    /// Its image, from which the pods of the run have their agent.
    pub image: String,
    /// The namespace of canaries and listeners.
    pub probes_namespace: String,
}

impl PinnedOperator {
    /// As the report's plan has it, or the plan that status shows of a run whose report is gone;
    /// before a run begins, as this operator is.
    pub fn of(own: &Self, run: &DryRun, report: Option<&DryRunReport>) -> Self {
        let shown = run.status.as_ref().filter(|status| status.report.is_some());
        let shown = shown.and_then(|status| Some(&status.plan.as_ref()?.resolved));
        let plan = report
            .and_then(|report| report.spec.plan.get("resolved"))
            .or(shown);
        let or = |key: &str, own: &String| {
            let approved = plan.and_then(|plan| plan.get(key)?.as_str());
            approved.map_or_else(|| own.clone(), str::to_owned)
        };
        Self {
            image: or("operatorImage", &own.image),
            probes_namespace: or("probesNamespace", &own.probes_namespace),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use serde_json::json;

    fn pins(version: &str) -> PinnedOperator {
        PinnedOperator {
            image: format!("operator:{version}"),
            probes_namespace: format!("probes-{version}"),
        }
    }

    /// A DryRun whose status shows a plan of version 1, and has a report or none.
    fn run(report: Option<&str>) -> DryRun {
        let plan = json!({"operatorImage": "operator:1", "probesNamespace": "probes-1"});
        serde_json::from_value(json!({
            "apiVersion": "dryrun.dev/v1alpha1",
            "kind": "DryRun",
            "metadata": {"name": "demo"},
            "spec": testing::spec(),
            "status": {"plan": {"hash": "sha256:p", "resolved": plan}, "report": report},
        }))
        .unwrap()
    }

    fn report() -> DryRunReport {
        serde_json::from_value(json!({
            "apiVersion": "dryrun.dev/v1alpha1",
            "kind": "DryRunReport",
            "metadata": {"name": "demo-0f1e2d3c"},
            "spec": {
                "dryRunName": "demo", "dryRunUID": "u", "planHash": "sha256:p",
                "plan": {"resolved": {"operatorImage": "operator:0", "probesNamespace": "probes-0"}},
                "requestedBy": "alice", "approvedBy": "bob", "approvalName": "a", "approvalUID": "u",
            },
        }))
        .unwrap()
    }

    #[test]
    fn an_upgrade_in_mid_run_changes_nothing() {
        let upgraded = pins("2");
        assert_eq!(PinnedOperator::of(&upgraded, &run(None), None), upgraded);
        assert_eq!(
            PinnedOperator::of(&upgraded, &run(Some("r")), None),
            pins("1")
        );
        assert_eq!(
            PinnedOperator::of(&upgraded, &run(Some("r")), Some(&report())),
            pins("0")
        );
    }
}
