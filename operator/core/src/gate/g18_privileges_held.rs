//! G-18 PrivilegesHeld.

use super::{Evidence, Gate, Status, Verdict, count, examples, matrix};
use crate::commands::Command;

pub(super) static GATE: Gate = Gate {
    id: "G-18",
    name: "PrivilegesHeld",
    doc: "After the scenarios the matrix still holds, no privilege outside its scope changed, and the server is set as the source is.",
    command: Command::Verify,
    evidence: &["/verification"],
    needs: &["G-09"],
    reasons: &[
        matrix::REASONS[0],
        matrix::REASONS[1],
        matrix::REASONS[2],
        (
            "PrivilegesChanged",
            "A privilege outside the matrix's scope changed while the scenarios ran.",
        ),
        (
            "SettingsDiffer",
            "A setting of the copy's server that decides rights or meanings is not as on the source, or any setting changed while the scenarios ran.",
        ),
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let Some(verification) = &evidence.facts.verification else {
        return Verdict::pending();
    };
    let held = matrix::judge(&verification.matrix, None);
    if held.status != Status::True {
        return held;
    }
    let changed = &verification.privileges_changed;
    if changed.rows > 0 {
        return Verdict::fail(
            "PrivilegesChanged",
            format!(
                "{} changed: {}",
                count(changed.rows, "row"),
                examples(&changed.examples)
            ),
        );
    }
    let settings = &verification.settings;
    if settings.differing_count > 0 {
        return Verdict::fail(
            "SettingsDiffer",
            format!(
                "{} differ: {}",
                count(settings.differing_count, "setting"),
                examples(&settings.differing)
            ),
        );
    }
    held
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::run::facts::VerificationFacts;
    use crate::test_support::{World, Worlds};
    let with = |spoil: &dyn Fn(&mut VerificationFacts)| {
        World::with(|f| spoil(f.verification.as_mut().unwrap()))
    };
    let mut fail: Vec<(&'static str, World)> = matrix::spoil()
        .into_iter()
        .map(|(reason, spoil)| (reason, with(&|v| spoil(&mut v.matrix))))
        .collect();
    fail.push((
        "PrivilegesChanged",
        with(&|v| v.privileges_changed.rows = 1),
    ));
    fail.push((
        "SettingsDiffer",
        with(&|v| {
            v.settings.differing = vec!["row_security is off, not on".into()];
            v.settings.differing_count = 1;
        }),
    ));
    Worlds {
        fail,
        unknown: vec![("Pending", World::empty())],
    }
}
