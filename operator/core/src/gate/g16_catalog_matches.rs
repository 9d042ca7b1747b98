//! G-16 CatalogMatches.

use super::{Evidence, Gate, Verdict, changes, count, examples_of};
use crate::commands::Command;

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
        changes::REASONS[0],
        changes::REASONS[1],
        changes::REASONS[2],
        changes::REASONS[3],
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
        let differing = &copy.catalog_difference;
        return Verdict::fail(
            "CopyDiffers",
            format!(
                "{} differ: {}",
                count(differing.rows, "object"),
                examples_of(&differing.examples, differing.rows)
            ),
        );
    }
    let Some(verification) = &evidence.facts.verification else {
        return Verdict::pending();
    };
    let changed = &verification.catalog_changes;
    if let Some(verdict) = changes::judge(evidence, changed, "UndeclaredChange", "object") {
        return verdict;
    }
    let lost = &copy.catalog_tolerated;
    let tolerated = match lost.rows {
        0 => String::new(),
        rows => format!("; tolerated: {}", examples_of(&lost.examples, rows)),
    };
    Verdict::pass(format!(
        "{}, {}{tolerated}",
        count(copy.catalog.rows, "object"),
        changes::allowed(evidence, changed)
    ))
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::test_support::World;
    let mut worlds = changes::worlds("UndeclaredChange", |v| &mut v.catalog_changes);
    worlds.fail.push((
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
    ));
    worlds.unknown.extend([
        ("Pending", World::empty()),
        ("Pending", World::with(|f| f.verification = None)),
        (
            "MajorDiffers",
            World::with(|f| f.restore.as_mut().unwrap().claim.copy.version_num = 180_004),
        ),
    ]);
    worlds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Status;
    use crate::run::facts::SetDifference;
    use crate::test_support::World;

    #[test]
    fn what_a_tolerated_error_lost_is_named() {
        let world = World::with(|f| {
            f.restore.as_mut().unwrap().claim.copy.catalog_tolerated = SetDifference {
                rows: 1,
                examples: vec!["index public.c_key".into()],
            };
        });
        let verdict = evaluate(&world.evidence());
        assert_eq!(
            (verdict.status, verdict.message.as_str()),
            (
                Status::True,
                "400 objects, 0 declared changes; tolerated: index public.c_key"
            )
        );
    }
}
