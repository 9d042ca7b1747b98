//! G-16 CatalogMatches.

use super::{Evidence, Gate, Verdict, count, examples};
use crate::commands::Command;
use std::collections::BTreeSet;

pub(super) static GATE: Gate = Gate {
    id: "G-16",
    name: "CatalogMatches",
    doc: "The copy's catalog equalled the source's after the restore, and the scenarios changed in it what was declared and nothing else.",
    command: Command::Verify,
    evidence: &["/restore", "/verification"],
    needs: &["G-08"],
    reasons: &[
        (
            "CopyDiffers",
            "The restored catalog differs from the source's.",
        ),
        (
            "UndeclaredChange",
            "The scenarios changed an object that verification.catalogChanges does not name.",
        ),
        ("ChangeMissing", "A declared change did not happen."),
        (
            "MajorDiffers",
            "The copy has another major version than production: definitions are printed differently.",
        ),
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let (Some(restore), Some(source)) = (
        &evidence.facts.restore,
        evidence
            .facts
            .dump
            .as_ref()
            .and_then(|dump| dump.identity.as_ref()),
    ) else {
        return Verdict::pending();
    };
    let copy = &restore.claim.copy;
    if copy.version_num / 10_000 != source.version_num / 10_000 {
        return Verdict::unknown(
            "MajorDiffers",
            format!(
                "production is {}, the copy {}",
                source.version_num, copy.version_num
            ),
        );
    }
    if copy.catalog_difference.rows > 0 {
        return Verdict::fail(
            "CopyDiffers",
            format!(
                "{} differ: {}",
                count(copy.catalog_difference.rows, "object"),
                examples(&copy.catalog_difference.examples)
            ),
        );
    }
    let Some(verification) = &evidence.facts.verification else {
        return Verdict::pending();
    };
    let declared: BTreeSet<String> = evidence
        .spec
        .verification
        .catalog_changes
        .iter()
        .map(|c| format!("{} {}", c.kind, c.identity))
        .collect();
    let changed: BTreeSet<String> = verification.catalog_changed.iter().cloned().collect();
    let undeclared: Vec<_> = changed.difference(&declared).collect();
    if !undeclared.is_empty() || verification.catalog_changed_count > changed.len() as u64 {
        return Verdict::fail("UndeclaredChange", examples(&undeclared));
    }
    let missing: Vec<_> = declared.difference(&changed).collect();
    if !missing.is_empty() {
        return Verdict::fail("ChangeMissing", examples(&missing));
    }
    Verdict::pass(format!(
        "{}, {}",
        count(copy.catalog.rows, "object"),
        count(changed.len() as u64, "declared change")
    ))
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::api::CatalogChange;
    use crate::test_support::{World, Worlds};
    let mut declared = World::passing();
    declared.spec.verification.catalog_changes = vec![CatalogChange {
        kind: "index".into(),
        identity: "iu.unit_idx".into(),
    }];
    Worlds {
        fail: vec![
            (
                "CopyDiffers",
                World::with(|f| {
                    f.restore
                        .as_mut()
                        .unwrap()
                        .claim
                        .copy
                        .catalog_difference
                        .rows = 1
                }),
            ),
            (
                "UndeclaredChange",
                World::with(|f| {
                    f.verification.as_mut().unwrap().catalog_changed =
                        vec!["index iu.unit_idx".into()]
                }),
            ),
            (
                "UndeclaredChange",
                World::with(|f| f.verification.as_mut().unwrap().catalog_changed_count = 101),
            ),
            ("ChangeMissing", declared),
        ],
        unknown: vec![
            ("Pending", World::empty()),
            ("Pending", World::with(|f| f.verification = None)),
            (
                "MajorDiffers",
                World::with(|f| f.restore.as_mut().unwrap().claim.copy.version_num = 180_004),
            ),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::CatalogChange;
    use crate::gate::Status;
    use crate::test_support::World;

    #[test]
    fn a_migration_that_declares_its_changes_passes() {
        let mut world = World::with(|f| {
            let verification = f.verification.as_mut().unwrap();
            verification.catalog_changed = vec!["index iu.unit_idx".into()];
            verification.catalog_changed_count = 1;
        });
        world.spec.verification.catalog_changes = vec![CatalogChange {
            kind: "index".into(),
            identity: "iu.unit_idx".into(),
        }];
        assert_eq!(evaluate(&world.evidence()).status, Status::True);
    }
}
