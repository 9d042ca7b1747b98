//! G-18 PrivilegesHeld.

use super::{Evidence, Gate, Status, Verdict, changes, count, examples, matrix};
use crate::commands::Command;

pub(super) static GATE: Gate = Gate {
    id: "G-18",
    name: "PrivilegesHeld",
    doc: "After the scenarios the matrix still holds and no privilege changed, but for what was declared, and the server is set as the source is.",
    command: Command::Verify,
    evidence: &["/verification"],
    needs: &["G-09"],
    reasons: &[
        matrix::REASONS[0],
        matrix::REASONS[1],
        matrix::REASONS[2],
        (
            "PrivilegesChanged",
            "The scenarios changed a privilege that verification.catalogChanges does not name.",
        ),
        changes::REASONS[0],
        changes::REASONS[1],
        changes::REASONS[2],
        changes::REASONS[3],
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
    let changed = &verification.privilege_changes;
    if let Some(verdict) = changes::judge(evidence, changed, "PrivilegesChanged", "privilege") {
        return verdict;
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
    if changed.changed == 0 {
        return held;
    }
    let allowed = changes::allowed(evidence, changed);
    Verdict::pass(format!("{}; {allowed}", held.message))
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::run::facts::VerificationFacts;
    use crate::test_support::World;
    let with = |spoil: &dyn Fn(&mut VerificationFacts)| {
        World::with(|f| spoil(f.verification.as_mut().unwrap()))
    };
    let mut worlds = changes::worlds("PrivilegesChanged", |v| &mut v.privilege_changes);
    let spoilt = matrix::spoil().into_iter();
    worlds
        .fail
        .extend(spoilt.map(|(reason, spoil)| (reason, with(&|v| spoil(&mut v.matrix)))));
    worlds.fail.push((
        "SettingsDiffer",
        with(&|v| {
            v.settings.differing = vec!["row_security is off, not on".into()];
            v.settings.differing_count = 1;
        }),
    ));
    worlds.unknown.push(("Pending", World::empty()));
    worlds
}
