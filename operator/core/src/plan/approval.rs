//! Check that a second person has approved exactly this plan.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::api::{DryRunApproval, PlanSummary};
use crate::plan;
use crate::problem::Problem;
use crate::run::id::RunRef;

/// Maximum lifetime of an approval. The chart's policy `dryrun-approver` says the same.
pub const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Maximum number of changed inputs that are named.
const NAMED: usize = 2;

/// Values that an approval must match.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The DryRun.
    pub run: &'a RunRef,
    /// User who requested it.
    pub requested_by: &'a str,
    /// The plan as it resolves now.
    pub plan: &'a PlanSummary,
    /// The plan as status has shown it until now.
    pub shown: Option<&'a PlanSummary>,
    /// Since when the apiserver has checked approvals as it does now.
    pub policy_since: Timestamp,
    /// The time.
    pub now: Timestamp,
}

/// State of an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approval {
    /// None that names this DryRun.
    None,
    /// One that does not count, and why.
    Refused(Problem),
    /// One that counted for the plan as it was: the run is void.
    Void {
        /// Description of the change.
        message: String,
    },
    /// One that lets this plan begin.
    Valid {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
        /// User who approved.
        approved_by: String,
    },
}

/// The first approval that counts. Otherwise one that would if the plan were still the approved
/// one: it voids the run. Otherwise why the last one that names this DryRun does not count.
pub fn judge(approvals: &[DryRunApproval], wanted: &Wanted<'_>) -> Approval {
    let mut found = Approval::None;
    for approval in approvals
        .iter()
        .filter(|a| a.spec.dry_run_name == wanted.run.name)
    {
        let name = approval.name_any();
        match refusal(approval, wanted) {
            Some((reason, message)) => {
                if !matches!(found, Approval::Void { .. }) {
                    found =
                        Approval::Refused(Problem::permanent(reason, format!("{name}: {message}")));
                }
            }
            None if approval.spec.plan_hash != wanted.plan.hash => {
                found = Approval::Void {
                    message: changed(&approval.spec.plan_hash, wanted),
                };
            }
            None => {
                return Approval::Valid {
                    name,
                    uid: approval.uid().unwrap_or_default(),
                    approved_by: approval.spec.approved_by.clone(),
                };
            }
        }
    }
    found
}

/// Returns the reason why an approval does not count for any plan.
fn refusal(approval: &DryRunApproval, wanted: &Wanted<'_>) -> Option<(&'static str, String)> {
    let spec = &approval.spec;
    let created = approval
        .creation_timestamp()
        .map_or(Timestamp::MIN, |time| time.0);
    let expires = spec.expires_at.0;
    if spec.dry_run_uid != wanted.run.uid {
        return Some((
            "ApprovalForAnother",
            format!(
                "it approves UID {}, not {}",
                spec.dry_run_uid, wanted.run.uid
            ),
        ));
    }
    if approval.metadata.deletion_timestamp.is_some() {
        return Some(("ApprovalWithdrawn", "it is being deleted".into()));
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
    if created <= wanted.policy_since {
        return Some((
            "ApprovalOlderThanPolicy",
            format!(
                "the admission policies have changed since it was made at {created}: approve again"
            ),
        ));
    }
    if expires <= wanted.now {
        return Some(("ApprovalExpired", format!("it expired at {expires}")));
    }
    if expires.duration_since(created) > LONGEST {
        return Some((
            "ApprovalTooLong",
            format!("it expires at {expires}, more than 7 days after it was made"),
        ));
    }
    None
}

/// Says what became of the plan that was approved.
fn changed(approved: &str, wanted: &Wanted<'_>) -> String {
    let hashes = format!(
        "{} was approved, the plan is now {}",
        short(approved),
        short(&wanted.plan.hash)
    );
    // Known only while status still shows what was approved.
    let shown = wanted.shown.filter(|shown| shown.hash == approved);
    let changes = shown.map_or_else(Vec::new, |shown| plan::changes(shown, wanted.plan));
    match changes.split_at_checked(NAMED) {
        None if changes.is_empty() => hashes,
        None => format!("{} changed: {hashes}", changes.join(", ")),
        Some((named, [])) => format!("{} changed: {hashes}", named.join(", ")),
        Some((named, more)) => {
            format!(
                "{} and {} more changed: {hashes}",
                named.join(", "),
                more.len()
            )
        }
    }
}

/// Prefix of a hash, long enough to distinguish it.
fn short(hash: &str) -> String {
    let cut: String = hash.chars().take("sha256:".len() + 12).collect();
    if cut.len() < hash.len() {
        cut + "…"
    } else {
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DryRunApprovalSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use std::sync::LazyLock;

    const CREATED: i64 = 10;
    const EXPIRES: i64 = 100;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn plan(version: &str) -> PlanSummary {
        PlanSummary {
            hash: format!("sha256:{}", version.repeat(64)),
            resolved: serde_json::json!({"secrets": {"production": version}}),
        }
    }

    fn approval(change: impl FnOnce(&mut DryRunApprovalSpec)) -> DryRunApproval {
        let mut spec = DryRunApprovalSpec {
            dry_run_name: "demo".into(),
            dry_run_uid: "uid".into(),
            plan_hash: plan("p").hash,
            approved_by: "bob".into(),
            expires_at: Time(at(EXPIRES)),
        };
        change(&mut spec);
        let mut approval = DryRunApproval::new("approval", spec);
        approval.metadata.creation_timestamp = Some(Time(at(CREATED)));
        approval
    }

    static RUN: LazyLock<RunRef> = LazyLock::new(|| RunRef {
        namespace: "rehearsal".into(),
        name: "demo".into(),
        uid: "uid".into(),
    });

    fn wanted<'a>(plan: &'a PlanSummary, shown: Option<&'a PlanSummary>) -> Wanted<'a> {
        Wanted {
            run: &RUN,
            requested_by: "alice",
            plan,
            shown,
            policy_since: at(CREATED - 1),
            now: at(CREATED + 1),
        }
    }

    fn judged(approvals: &[DryRunApproval], change: impl FnOnce(&mut Wanted<'_>)) -> Approval {
        let plan = plan("p");
        let mut wanted = wanted(&plan, Some(&plan));
        change(&mut wanted);
        judge(approvals, &wanted)
    }

    #[test]
    fn the_right_one_counts_whatever_else_is_there() {
        let void = approval(|a| a.plan_hash = plan("q").hash);
        let wrong = approval(|a| a.dry_run_uid = "other".into());
        let right = approval(|_| ());
        for approvals in [
            vec![right.clone()],
            vec![void.clone(), wrong.clone(), right.clone()],
            vec![right, wrong, void],
        ] {
            assert!(matches!(judged(&approvals, |_| ()), Approval::Valid { .. }));
        }
    }

    #[test]
    fn every_rule_refuses() {
        type Change = fn(&mut DryRunApprovalSpec);
        type World = fn(&mut Wanted<'_>);
        let cases: [(&str, Change, World); 7] = [
            (
                "ApprovalForAnother",
                |a| a.dry_run_uid = "other".into(),
                |_| (),
            ),
            (
                "ApprovedByRequester",
                |a| a.approved_by = "alice".into(),
                |_| (),
            ),
            (
                "ApprovalOlderThanPolicy",
                |_| (),
                |w| w.policy_since = at(CREATED),
            ),
            (
                "ApprovalOlderThanPolicy",
                |_| (),
                |w| w.policy_since = Timestamp::MAX,
            ),
            ("ApprovalExpired", |_| (), |w| w.now = at(EXPIRES)),
            (
                "ApprovalExpired",
                |a| a.expires_at = Time(at(CREATED)),
                |_| (),
            ),
            (
                "ApprovalTooLong",
                |a| a.expires_at = Time(at(CREATED + LONGEST.as_secs() + 1)),
                |_| (),
            ),
        ];
        for (expected, change, world) in cases {
            // For any plan: only an approval that would count can void a run.
            for hash in [plan("p").hash, plan("q").hash] {
                let approval = approval(|a| {
                    a.plan_hash = hash;
                    change(a);
                });
                match judged(&[approval], world) {
                    Approval::Refused(problem) => assert_eq!(problem.reason, expected),
                    other => panic!("{expected}: {other:?}"),
                }
            }
        }
        assert_eq!(
            judged(&[approval(|a| a.dry_run_name = "another".into())], |_| ()),
            Approval::None
        );
        let mut withdrawn = approval(|_| ());
        withdrawn.metadata.deletion_timestamp = Some(Time(at(CREATED)));
        match judged(&[withdrawn], |_| ()) {
            Approval::Refused(problem) => assert_eq!(problem.reason, "ApprovalWithdrawn"),
            other => panic!("{other:?}"),
        }
        let longest = approval(|a| a.expires_at = Time(at(CREATED) + LONGEST));
        assert!(matches!(judged(&[longest], |_| ()), Approval::Valid { .. }));
    }

    #[test]
    fn an_approval_of_a_plan_that_changed_voids_the_run_and_names_the_input() {
        let told = |shown: Option<&PlanSummary>| {
            let now = plan("q");
            // One that is refused beside it, before or after, takes nothing away.
            let refused = approval(|a| a.approved_by = "alice".into());
            let approvals = [refused.clone(), approval(|_| ()), refused];
            match judge(&approvals, &wanted(&now, shown)) {
                Approval::Void { message } => message,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            told(Some(&plan("p"))),
            "Secret production changed: sha256:pppppppppppp… was approved, the plan is now sha256:qqqqqqqqqqqq…"
        );
        for shown in [None, Some(&plan("q"))] {
            assert_eq!(
                told(shown),
                "sha256:pppppppppppp… was approved, the plan is now sha256:qqqqqqqqqqqq…"
            );
        }
    }
}
