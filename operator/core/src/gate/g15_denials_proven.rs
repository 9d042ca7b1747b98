//! G-15 DenialsProven.

use super::g14_scenarios_passed::{ExpectedError, expected_errors, failure};
use super::{Evidence, Gate, Verdict, count};
use crate::api::Scenario;
use crate::command::Command;
use crate::facts::{LoggedError, ScenarioFacts};

pub(super) static GATE: Gate = Gate {
    id: "G-15",
    name: "DenialsProven",
    doc: "Every expected denial was raised by the server's own access check, on the declared object, and the same statement is allowed in its twin.",
    command: Command::Scenarios,
    evidence: &["/scenarios"],
    needs: &["G-13", "G-09"],
    reasons: &[
        (
            "DenialMissing",
            "An expected denial is not in the copy's log.",
        ),
        (
            "DenialForged",
            "The denial was not raised by the server's own access check.",
        ),
        ("WrongObject", "The denial is about another object."),
        (
            "TwinFailed",
            "The twin, in which the statement must be allowed, has not passed.",
        ),
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

/// SQLSTATE of a denial.
const DENIED: &str = "42501";

/// Functions of the server that raise a denial after an access check of their own
/// (`src/backend/catalog/aclchk.c`, `src/backend/executor/execMain.c`). `RAISE` gives `exec_stmt_raise`.
const ACCESS_CHECKS: [&str; 4] = [
    "aclcheck_error",
    "aclcheck_error_col",
    "aclcheck_error_type",
    "ExecWithCheckOptions",
];

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let declared = &evidence.spec.harness.scenarios;
    let with_facts = || declared.iter().zip(&evidence.facts.scenarios);
    let mut proven: u64 = 0;
    let mut unpaired: u64 = 0;
    for (scenario, facts) in with_facts() {
        for expected in expected_errors(scenario)
            .iter()
            .filter(|e| e.sqlstate == DENIED)
        {
            if let Some(failure) = denial_failure(scenario, facts, expected) {
                return failure;
            }
            proven += 1;
            match scenario
                .twin
                .as_ref()
                .map(|twin| with_facts().find(|(s, _)| s.name == *twin))
            {
                None => unpaired += 1,
                Some(None) => return Verdict::pending(),
                Some(Some((twin, facts))) => {
                    // A twin that expects a denial itself shows nothing.
                    let denied = facts.window.errors.iter().any(|l| l.sqlstate == DENIED);
                    if failure(twin, facts).is_some() || denied {
                        return Verdict::fail(
                            "TwinFailed",
                            format!(
                                "{} is denied, but its twin {} has not passed",
                                scenario.name, twin.name
                            ),
                        );
                    }
                }
            }
        }
    }
    if evidence.facts.scenarios.len() < declared.len() {
        return Verdict::pending();
    }
    let alone = if unpaired > 0 {
        format!(", {unpaired} unpaired")
    } else {
        String::new()
    };
    Verdict::pass(format!(
        "{} by the server's own check{alone}",
        count(proven, "denial")
    ))
}

fn denial_failure(
    scenario: &Scenario,
    facts: &ScenarioFacts,
    expected: &ExpectedError<'_>,
) -> Option<Verdict> {
    let name = &scenario.name;
    let denials: Vec<&LoggedError> = facts
        .window
        .errors
        .iter()
        .filter(|l| l.sqlstate == DENIED)
        .collect();
    if denials.is_empty() {
        return Some(Verdict::fail(
            "DenialMissing",
            format!("{name}: no {DENIED} in the copy's log"),
        ));
    }
    let checked: Vec<_> = denials
        .into_iter()
        .filter(|l| ACCESS_CHECKS.contains(&l.function.as_str()))
        .collect();
    if checked.is_empty() {
        return Some(Verdict::fail(
            "DenialForged",
            format!("{name}: {DENIED} was not raised by an access check of the server"),
        ));
    }
    // The server names the object without its schema: "permission denied for table unit".
    let object = expected
        .object
        .map(|o| o.rsplit('.').next().unwrap_or(o).trim_matches('"'));
    match object {
        Some(object)
            if !checked
                .iter()
                .any(|l| l.message.ends_with(&format!(" {object}"))) =>
        {
            Some(Verdict::fail(
                "WrongObject",
                format!("{name}: the denial is not about {object}"),
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
fn worlds() -> crate::testing::Worlds {
    use crate::testing::{World, Worlds, denied};
    let second = |change: fn(&mut ScenarioFacts)| World::with(move |f| change(&mut f.scenarios[1]));
    Worlds {
        fail: vec![
            ("DenialMissing", second(|s| s.window.errors.clear())),
            // RAISE … USING ERRCODE = '42501' reads the same but for its function.
            (
                "DenialForged",
                second(|s| s.window.errors[0].function = "exec_stmt_raise".into()),
            ),
            (
                "WrongObject",
                second(|s| s.window.errors = vec![denied("iu.another")]),
            ),
            (
                "TwinFailed",
                World::with(|f| f.scenarios[0].claim.exit_code = Some(1)),
            ),
            ("TwinFailed", {
                let mut world =
                    World::with(|f| f.scenarios[0].window.errors = vec![denied("iu.unit")]);
                world.spec.harness.scenarios[0].expect.sqlstate = Some(DENIED.into());
                world.spec.harness.scenarios[0].unpaired = Some(true);
                world
            }),
        ],
        unknown: vec![
            ("Pending", World::empty()),
            ("Pending", World::with(|f| drop(f.scenarios.pop()))),
        ],
    }
}
