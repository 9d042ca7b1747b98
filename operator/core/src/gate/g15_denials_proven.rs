//! G-15 DenialsProven.

use super::denial::{DENIED, Object, is_explained, is_of_server, is_of_this_kind};
use super::g14_scenarios_passed::{ExpectedError, doubt, expected_errors, failure};
use super::{Evidence, Gate, Verdict, count, examples};
use crate::api::{Scenario, SqlStep};
use crate::commands::Command;
use crate::run::facts::{LoggedError, ScenarioFacts};

pub(super) static GATE: Gate = Gate {
    id: "G-15",
    name: "DenialsProven",
    doc: "Every expected denial was made by the server itself and not by procedural code, of the scenario's login, on an object of the declared name on which that login lacks the privilege by the copy's catalog; and its twin passed: a twin of SQL steps with the same SQL. What is declared as unpaired or without an object is named.",
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
            "Procedural code raised the denial, not the server.",
        ),
        ("WrongObject", "The denial is about another object."),
        (
            "ObjectUnknown",
            "The copy has no object of the declared name.",
        ),
        (
            "PrivilegeHeld",
            "The login has what it was denied, by the copy's catalog: something else of that name was denied.",
        ),
        (
            "Unattributable",
            "The copy's log lacks the markers of a scenario, or is not whole between them.",
        ),
        (
            "LogTooLarge",
            "The copy's log has too many different errors of a scenario, or one in too long a line.",
        ),
        (
            "TwinFailed",
            "The twin, in which the statement must be allowed, has not passed, or has other SQL.",
        ),
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let declared = &evidence.spec.harness.scenarios;
    let with_facts = || declared.iter().zip(&evidence.facts.scenarios);
    let mut proven: u64 = 0;
    let mut unpaired = Vec::new();
    let mut unnamed = Vec::new();
    for (scenario, facts) in with_facts() {
        let mut denials = expected_errors(scenario);
        denials.retain(|expected| expected.sqlstate == DENIED);
        if denials.is_empty() {
            continue;
        }
        if let Some(failure) = denials
            .iter()
            .find_map(|expected| denial_failure(scenario, facts, expected))
        {
            return failure;
        }
        proven += denials.len() as u64;
        if denials.iter().any(|expected| expected.object.is_none()) {
            unnamed.push(&scenario.name);
        }
        let Some(twin) = &scenario.twin else {
            unpaired.push(&scenario.name);
            continue;
        };
        let Some((twin, facts)) = with_facts().find(|(s, _)| s.name == *twin) else {
            return Verdict::pending();
        };
        if let Some(failure) = twin_failure(scenario, twin, facts) {
            return failure;
        }
    }
    if evidence.facts.scenarios.len() < declared.len() {
        return Verdict::pending();
    }
    let without = |what: &str, names: &[&String]| {
        if names.is_empty() {
            String::new()
        } else {
            format!("; without {what}: {}", examples(names))
        }
    };
    Verdict::pass(format!(
        "{} by the server itself{}{}",
        count(proven, "denial"),
        without("a twin", &unpaired),
        without("an object", &unnamed)
    ))
}

/// Returns the reason why a twin does not show that the denied statement is allowed elsewhere. Of a
/// command it is only known that it passed.
fn twin_failure(scenario: &Scenario, twin: &Scenario, facts: &ScenarioFacts) -> Option<Verdict> {
    let is_denied = |step: &&SqlStep| step.expect.sqlstate.as_deref() == Some(DENIED);
    // A twin that expects a denial itself shows nothing.
    let denied = facts.window.errors.iter().any(|l| l.sqlstate == DENIED);
    if failure(twin, facts).is_some() || denied {
        return Some(Verdict::fail(
            "TwinFailed",
            format!(
                "{} is denied, but its twin {} has not passed",
                scenario.name, twin.name
            ),
        ));
    }
    let allowed = twin.steps.as_ref()?;
    scenario
        .steps
        .iter()
        .flatten()
        .filter(is_denied)
        .any(|step| !allowed.iter().any(|other| is_same(step, other)))
        .then(|| {
            Verdict::fail(
                "TwinFailed",
                format!(
                    "{} is denied SQL that its twin {} does not run",
                    scenario.name, twin.name
                ),
            )
        })
}

/// Returns true if a step is the other's SQL, and expects that it succeeds.
fn is_same(denied: &SqlStep, other: &SqlStep) -> bool {
    let succeeds = other.expect.sqlstate.as_deref().unwrap_or("00000") == "00000";
    succeeds && denied.sql.trim() == other.sql.trim()
}

fn denial_failure(
    scenario: &Scenario,
    facts: &ScenarioFacts,
    expected: &ExpectedError<'_>,
) -> Option<Verdict> {
    let name = &scenario.name;
    if let Some(doubt) = doubt(scenario, &facts.window) {
        return Some(doubt);
    }
    let denials: Vec<&LoggedError> = facts
        .window
        .errors
        .iter()
        .filter(|l| expected.is(l))
        .collect();
    if denials.is_empty() {
        return Some(Verdict::fail(
            "DenialMissing",
            format!("{name}: no {DENIED} in the copy's log"),
        ));
    }
    let genuine: Vec<_> = denials.into_iter().filter(|l| is_of_server(l)).collect();
    if genuine.is_empty() {
        return Some(Verdict::fail(
            "DenialForged",
            format!("{name}: procedural code raised {DENIED}, not the server"),
        ));
    }
    let named = expected.object?;
    let object = Object::parse(named);
    let about: Vec<_> = genuine
        .into_iter()
        .filter_map(|l| Some((l, object.kind_in(&l.message)?)))
        .collect();
    if about.is_empty() {
        return Some(Verdict::fail(
            "WrongObject",
            format!("{name}: the denial is not about {}", object.name()),
        ));
    }
    let known = |(l, kind): &(&'_ LoggedError, &'static str)| {
        let (l, kind) = (*l, *kind);
        facts
            .access
            .iter()
            .filter(move |access| access.object == named && is_of_this_kind(access, kind))
            .map(move |access| is_explained(l, access))
            .collect::<Vec<_>>()
    };
    let explained: Vec<bool> = about.iter().flat_map(known).collect();
    if explained.is_empty() {
        return Some(Verdict::fail(
            "ObjectUnknown",
            format!("{name}: the copy has no {named}; is its schema missing?"),
        ));
    }
    (!explained.contains(&true)).then(|| {
        Verdict::fail(
            "PrivilegeHeld",
            format!(
                "{name}: {} has what it was denied on {named}",
                scenario.identity.login
            ),
        )
    })
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::test_support::{World, Worlds, denied};
    let second = |change: fn(&mut ScenarioFacts)| World::with(move |f| change(&mut f.scenarios[1]));
    Worlds {
        fail: vec![
            ("DenialMissing", second(|s| s.window.errors.clear())),
            // RAISE … USING ERRCODE = '42501' differs only in its function.
            (
                "DenialForged",
                second(|s| s.window.errors[0].function = "exec_stmt_raise".into()),
            ),
            (
                "DenialForged",
                second(|s| s.window.errors[0].function = "dblink_res_error".into()),
            ),
            (
                "WrongObject",
                second(|s| s.window.errors = vec![denied("cutter_verify", "iu.another")]),
            ),
            (
                "WrongObject",
                second(|s| s.window.errors = vec![denied("cutter_verify", "iu.x unit")]),
            ),
            // A login that was kept from the scenario before.
            (
                "DenialMissing",
                second(|s| s.window.errors = vec![denied("cutter_exec", "iu.unit")]),
            ),
            ("ObjectUnknown", second(|s| s.access.clear())),
            // It was denied its own temporary table.
            (
                "PrivilegeHeld",
                second(|s| s.access[0].missing = vec!["DELETE".into(), "OWNER".into()]),
            ),
            ("Unattributable", second(|s| s.window.unreadable = 1)),
            ("LogTooLarge", second(|s| s.window.overflow = 1)),
            (
                "TwinFailed",
                World::with(|f| f.scenarios[0].claim.exit_code = Some(1)),
            ),
            ("TwinFailed", {
                let mut world = World::with(|f| {
                    f.scenarios[0].window.errors = vec![denied("cutter_exec", "iu.unit")]
                });
                world.spec.harness.scenarios[0].expect.sqlstate = Some(DENIED.into());
                world.spec.harness.scenarios[0].unpaired = Some(true);
                world
            }),
            ("TwinFailed", paired_by("DELETE FROM iu.unit WHERE false")),
        ],
        unknown: vec![
            ("Pending", World::empty()),
            ("Pending", World::with(|f| drop(f.scenarios.pop()))),
        ],
    }
}

/// The denied step of the third scenario has the first as its twin, with this SQL.
#[cfg(test)]
fn paired_by(sql: &str) -> crate::test_support::World {
    use crate::run::facts::StepClaim;
    let mut world = crate::test_support::World::with(|f| {
        f.scenarios[0].claim.steps = vec![StepClaim {
            sqlstate: "00000".into(),
            rows: 0,
        }];
    });
    let twin = &mut world.spec.harness.scenarios[0];
    let steps = serde_json::json!([{"sql": sql}]);
    (twin.command, twin.steps) = (None, serde_json::from_value(steps).unwrap());
    world
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Status;
    use crate::test_support::World;

    #[test]
    fn the_same_sql_in_the_twin_pairs_a_step() {
        let verdict = evaluate(&paired_by(" DELETE FROM iu.unit").evidence());
        assert_eq!(verdict.status, Status::True, "{}", verdict.message);
    }

    #[test]
    fn row_security_and_columns_deny_as_well() {
        for (function, message, missing) in [
            (
                "ExecWithCheckOptions",
                "new row violates row-level security policy for table \"unit\"",
                "ROW SECURITY",
            ),
            (
                "aclcheck_error_col",
                "permission denied for column \"c\" of relation \"unit\"",
                "INSERT",
            ),
        ] {
            let world = World::with(|f| {
                let denial = &mut f.scenarios[1].window.errors[0];
                (denial.function, denial.message) = (function.into(), message.into());
                f.scenarios[1].access[0].missing = vec![missing.into()];
            });
            let verdict = evaluate(&world.evidence());
            assert_eq!(verdict.status, Status::True, "{}", verdict.message);
        }
    }

    #[test]
    fn what_has_no_twin_or_object_is_named() {
        let mut world = World::passing();
        world.spec.harness.scenarios[2].twin = None;
        let message = evaluate(&world.evidence()).message;
        assert_eq!(
            message,
            "2 denials by the server itself; without a twin: S10; without an object: S10"
        );
    }
}
