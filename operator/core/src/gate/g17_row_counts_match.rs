//! G-17 RowCountsMatch.

use super::{Evidence, Gate, Verdict, count, examples};
use crate::commands::Command;
use std::collections::BTreeMap;

pub(super) static GATE: Gate = Gate {
    id: "G-17",
    name: "RowCountsMatch",
    doc: "Every table of the copy had the source's exact row count after the restore, and the scenarios moved the counts as declared and no other.",
    command: Command::Verify,
    evidence: &["/restore", "/verification"],
    needs: &["G-08"],
    reasons: &[
        (
            "CopyDiffers",
            "A table of the copy has another row count than the source had in the dump's snapshot.",
        ),
        (
            "DeltaDiffers",
            "A row count moved in another way than verification.rowDeltas declares.",
        ),
        (
            "TableMissing",
            "A table that verification.tables names does not exist in the copy.",
        ),
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let Some(restore) = &evidence.facts.restore else {
        return Verdict::pending();
    };
    let copy = &restore.claim.copy;
    if copy.counts_difference.rows > 0 || copy.counts.rows == 0 {
        return Verdict::fail(
            "CopyDiffers",
            format!(
                "{} differ: {}",
                count(copy.counts_difference.rows, "table"),
                examples(&copy.counts_difference.examples)
            ),
        );
    }
    let Some(verification) = &evidence.facts.verification else {
        return Verdict::pending();
    };
    let missing: Vec<_> = verification
        .tables
        .iter()
        .filter(|(_, rows)| rows.is_none())
        .map(|(table, _)| table)
        .collect();
    if !missing.is_empty() {
        return Verdict::fail("TableMissing", examples(&missing));
    }
    let declared: BTreeMap<&str, i64> = evidence
        .spec
        .verification
        .row_deltas
        .iter()
        .filter(|d| d.delta != 0)
        .map(|d| (d.table.as_str(), d.delta))
        .collect();
    let moved: BTreeMap<&str, i64> = verification
        .moved
        .iter()
        .map(|(table, delta)| (table.as_str(), *delta))
        .collect();
    let differing: Vec<String> = declared
        .keys()
        .chain(moved.keys())
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .filter(|table| declared.get(*table) != moved.get(*table))
        .map(|table| {
            format!(
                "{table} moved by {:+}, not {:+}",
                moved.get(table).unwrap_or(&0),
                declared.get(table).unwrap_or(&0)
            )
        })
        .collect();
    if differing.is_empty() {
        Verdict::pass(format!(
            "{} equal, {} moved as declared",
            count(copy.counts.rows, "table"),
            moved.len()
        ))
    } else {
        Verdict::fail("DeltaDiffers", examples(&differing))
    }
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::test_support::{World, Worlds};
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
                        .counts_difference
                        .rows = 1
                }),
            ),
            (
                "CopyDiffers",
                World::with(|f| f.restore.as_mut().unwrap().claim.copy.counts.rows = 0),
            ),
            (
                "DeltaDiffers",
                World::with(|f| {
                    f.verification
                        .as_mut()
                        .unwrap()
                        .moved
                        .extend([("public.directus_users".into(), -1)])
                }),
            ),
            (
                "DeltaDiffers",
                World::with(|f| f.verification.as_mut().unwrap().moved.clear()),
            ),
            (
                "TableMissing",
                World::with(|f| {
                    f.verification
                        .as_mut()
                        .unwrap()
                        .tables
                        .extend([("iu.unit".into(), None)])
                }),
            ),
        ],
        unknown: vec![
            ("Pending", World::empty()),
            ("Pending", World::with(|f| f.verification = None)),
        ],
    }
}
