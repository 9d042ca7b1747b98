//! Common part of the gates on the catalog and on privileges: changes of the scenarios against
//! those that are declared.

use super::{Evidence, Verdict, count, examples_of};
use crate::postgres::changes::{DIFF, MAX_OBJECTS};
use crate::run::facts::ChangeFacts;

/// Judges the changes of one kind; `undeclared` is the gate's reason for one that is not declared.
/// `None` when all is as declared.
pub(super) fn judge(
    evidence: &Evidence<'_>,
    changes: &ChangeFacts,
    undeclared: &str,
    noun: &str,
) -> Option<Verdict> {
    let declared = &evidence.spec.verification.catalog_changes;
    let digest = evidence
        .facts
        .verification
        .as_ref()
        .map_or("", |verification| &verification.changes_digest);
    if changes.changed > MAX_OBJECTS {
        let message = format!("{} changed", count(changes.changed, noun));
        return Some(Verdict::fail("TooManyChanges", message));
    }
    if declared.record {
        return (changes.changed > 0).then(|| {
            let message = format!(
                "{} changed: read {DIFF} in the evidence and pin it with catalogChanges.sha256 {digest}",
                count(changes.changed, noun)
            );
            Verdict::unknown("NotReviewed", message)
        });
    }
    if let Some(pinned) = &declared.sha256
        && pinned != digest
    {
        let message = format!(
            "{DIFF} is {digest}, not {pinned}; {} changed: {}",
            count(changes.changed, noun),
            examples_of(&changes.undeclared, changes.undeclared_count)
        );
        return Some(Verdict::fail("PinDiffers", message));
    }
    if changes.undeclared_count > 0 {
        let message = format!(
            "{} of {} not declared: {}",
            changes.undeclared_count,
            count(changes.changed, &format!("changed {noun}")),
            examples_of(&changes.undeclared, changes.undeclared_count)
        );
        return Some(Verdict::fail(undeclared, message));
    }
    (changes.missing_count > 0).then(|| {
        Verdict::fail(
            "ChangeMissing",
            examples_of(&changes.missing, changes.missing_count),
        )
    })
}

/// Says how the changes were allowed, for a gate that passed.
pub(super) fn allowed(evidence: &Evidence<'_>, changes: &ChangeFacts) -> String {
    let how = match evidence.spec.verification.catalog_changes.sha256 {
        Some(_) => "pinned change",
        None => "declared change",
    };
    count(changes.changed, how)
}

/// The reasons of both gates.
pub(super) const REASONS: [(&str, &str); 4] = [
    (
        "ChangeMissing",
        "A declared change did not happen, or a pattern matches another number of changes.",
    ),
    (
        "PinDiffers",
        "The scenarios made other changes than those that verification.catalogChanges.sha256 pins.",
    ),
    (
        "NotReviewed",
        "The changes were recorded, to be read and pinned.",
    ),
    (
        "TooManyChanges",
        "The scenarios changed more than 10,000 objects.",
    ),
];

/// Worlds that fail by the changes of one kind, and those that it leaves unknown, each with its
/// reason.
#[cfg(test)]
pub(super) fn worlds(
    undeclared: &'static str,
    of: fn(&mut crate::run::facts::VerificationFacts) -> &mut ChangeFacts,
) -> crate::test_support::Worlds {
    use crate::test_support::{World, Worlds};
    let with = |spoil: &dyn Fn(&mut ChangeFacts)| {
        World::with(|f| spoil(of(f.verification.as_mut().unwrap())))
    };
    let of_101 = |changes: &mut ChangeFacts| {
        changes.changed = 101;
        changes.undeclared_count = 101;
        changes.undeclared = vec!["index iu.unit_idx".into(); 100];
    };
    let mut pinned = with(&of_101);
    pinned.spec.verification.catalog_changes.sha256 = Some("a".repeat(64));
    let mut recorded = with(&|changes| changes.changed = 1);
    recorded.spec.verification.catalog_changes.record = true;
    Worlds {
        fail: vec![
            (undeclared, with(&of_101)),
            (
                "ChangeMissing",
                with(&|changes| {
                    changes.missing = vec!["index iu.other".into()];
                    changes.missing_count = 1;
                }),
            ),
            ("PinDiffers", pinned),
            ("TooManyChanges", with(&|changes| changes.changed = 10_001)),
        ],
        unknown: vec![("NotReviewed", recorded)],
    }
}

#[cfg(test)]
mod tests {
    use crate::gate::{ALL, Status};
    use crate::test_support::World;

    /// However many changes there are, a failure names some, and the number of all.
    #[test]
    fn a_failure_names_examples_and_the_number() {
        for id in ["G-16", "G-18"] {
            let gate = ALL.iter().find(|gate| gate.id == id).unwrap();
            let failing = (gate.worlds)().fail.into_iter();
            for (reason, world) in failing.filter(|(reason, _)| {
                reason.ends_with("Change")
                    || *reason == "PrivilegesChanged"
                    || *reason == "PinDiffers"
            }) {
                let verdict = (gate.evaluate)(&world.evidence());
                for said in ["index iu.unit_idx", "101", "and 98 more"] {
                    assert!(
                        verdict.message.contains(said),
                        "{id} {reason}: {}",
                        verdict.message
                    );
                }
            }
        }
    }

    #[test]
    fn declared_and_pinned_changes_pass() {
        let mut world = World::with(|f| {
            let verification = f.verification.as_mut().unwrap();
            verification.catalog_changes.changed = 602;
            verification.privilege_changes.changed = 1;
            verification.changes_digest = "b".repeat(64);
        });
        for (pin, how) in [
            (None, "602 declared changes"),
            (Some("b".repeat(64)), "602 pinned changes"),
        ] {
            world.spec.verification.catalog_changes.sha256 = pin;
            for id in ["G-16", "G-18"] {
                let gate = ALL.iter().find(|gate| gate.id == id).unwrap();
                let verdict = (gate.evaluate)(&world.evidence());
                assert_eq!(verdict.status, Status::True, "{id}: {}", verdict.message);
                let said = if id == "G-16" {
                    how
                } else {
                    &how[4..how.len() - 1]
                };
                assert!(verdict.message.contains(said), "{}", verdict.message);
            }
        }
    }
}
