//! Whether somebody else has approved exactly this plan.

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::DryRunApproval;
use crate::step::Approval;

/// What an approval must match.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Name of the DryRun.
    pub name: &'a str,
    /// UID of the DryRun.
    pub uid: &'a str,
    /// Who asked for it.
    pub requested_by: &'a str,
    /// Hash of the plan as it resolves now.
    pub plan_hash: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// The first approval that counts; otherwise why the newest that names this DryRun does not.
pub fn judge(approvals: &[DryRunApproval], wanted: &Wanted<'_>) -> Approval {
    let mut refused = Approval::None;
    for approval in approvals
        .iter()
        .filter(|a| a.spec.dry_run_name == wanted.name)
    {
        match refusal(approval, wanted) {
            None => {
                return Approval::Valid {
                    name: approval.name_any(),
                    uid: approval.uid().unwrap_or_default(),
                    approved_by: approval.spec.approved_by.clone(),
                };
            }
            Some((reason, message)) => {
                let message = format!("{}: {message}", approval.name_any());
                refused = Approval::Refused {
                    reason: reason.into(),
                    message,
                };
            }
        }
    }
    refused
}

fn refusal(approval: &DryRunApproval, wanted: &Wanted<'_>) -> Option<(&'static str, String)> {
    let spec = &approval.spec;
    if spec.dry_run_uid != wanted.uid {
        return Some((
            "ApprovalForAnother",
            format!("it approves UID {}, not {}", spec.dry_run_uid, wanted.uid),
        ));
    }
    if spec.approved_by == wanted.requested_by {
        return Some((
            "ApprovedByRequester",
            format!(
                "{} asked for the run and cannot approve it",
                spec.approved_by
            ),
        ));
    }
    if spec.plan_hash != wanted.plan_hash {
        return Some((
            "PlanChanged",
            format!(
                "it approves {}, the plan is now {}",
                spec.plan_hash, wanted.plan_hash
            ),
        ));
    }
    if spec.expires_at.0 <= wanted.now {
        return Some((
            "ApprovalExpired",
            format!("it expired at {}", spec.expires_at.0),
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DryRunApprovalSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn approval(change: impl FnOnce(&mut DryRunApprovalSpec)) -> DryRunApproval {
        let mut spec = DryRunApprovalSpec {
            dry_run_name: "demo".into(),
            dry_run_uid: "uid".into(),
            plan_hash: "sha256:p".into(),
            approved_by: "bob".into(),
            expires_at: Time(at(100)),
        };
        change(&mut spec);
        DryRunApproval::new("approval", spec)
    }

    fn judged(approvals: &[DryRunApproval], now: i64) -> Approval {
        judge(
            approvals,
            &Wanted {
                name: "demo",
                uid: "uid",
                requested_by: "alice",
                plan_hash: "sha256:p",
                now: at(now),
            },
        )
    }

    #[test]
    fn the_right_one_counts_whatever_else_is_there() {
        let wrong = approval(|a| a.plan_hash = "sha256:q".into());
        let right = approval(|_| ());
        for approvals in [
            vec![right.clone()],
            vec![wrong.clone(), right.clone()],
            vec![right, wrong],
        ] {
            assert!(matches!(judged(&approvals, 1), Approval::Valid { .. }));
        }
    }

    #[test]
    fn every_rule_refuses() {
        type Change = fn(&mut DryRunApprovalSpec);
        let cases: [(&str, Change, i64); 4] = [
            ("ApprovalForAnother", |a| a.dry_run_uid = "other".into(), 1),
            ("ApprovedByRequester", |a| a.approved_by = "alice".into(), 1),
            ("PlanChanged", |a| a.plan_hash = "sha256:q".into(), 1),
            ("ApprovalExpired", |_| (), 100),
        ];
        for (expected, change, now) in cases {
            match judged(&[approval(change)], now) {
                Approval::Refused { reason, .. } => assert_eq!(reason, expected),
                other => panic!("{expected}: {other:?}"),
            }
        }
        assert_eq!(
            judged(&[approval(|a| a.dry_run_name = "another".into())], 1),
            Approval::None
        );
    }
}
