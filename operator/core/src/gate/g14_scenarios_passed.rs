//! G-14 ScenariosPassed.

use super::{Evidence, Gate, Verdict, count};
use crate::api::Scenario;
use crate::commands::Command;
use crate::run::facts::{LogWindow, LoggedError, ScenarioFacts};

pub(super) static GATE: Gate = Gate {
    id: "G-14",
    name: "ScenariosPassed",
    doc: "Every scenario ended as expected and used the copy as its own login alone, and the copy's own log, whole between its markers, shows its expected errors and no other.",
    command: Command::Scenarios,
    evidence: &["/scenarios"],
    needs: &["G-13", "G-09"],
    reasons: &[
        (
            "ScenarioFailed",
            "A scenario ended in another way than expected.",
        ),
        ("ScenarioTimedOut", "A scenario did not end in time."),
        (
            "ErrorMissing",
            "An expected error is not in the copy's log.",
        ),
        (
            "UnexpectedError",
            "The copy's log has an error that the scenario does not expect.",
        ),
        (
            "ForeignLogin",
            "Another login than the scenario's used the copy, or tried to.",
        ),
        (
            "NothingDone",
            "A scenario left no session, or less statements than it has steps, in the copy's log.",
        ),
        (
            "UnexpectedSession",
            "A scenario that expects no session opened one.",
        ),
        (
            "Unattributable",
            "The copy's log lacks the markers of a scenario, or is not whole between them.",
        ),
        (
            "LogTooLarge",
            "The copy's log has too many different errors of a scenario, or one in too long a line.",
        ),
        ("SetupFailed", "A setup command failed."),
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    for (number, claim) in (1..).zip(&evidence.facts.setup) {
        if claim.exit_code != Some(0) {
            return Verdict::fail(
                "SetupFailed",
                format!(
                    "setup command {number} ended with {}",
                    ending(claim.exit_code, claim.timed_out)
                ),
            );
        }
    }
    let declared = &evidence.spec.harness.scenarios;
    for (scenario, facts) in declared.iter().zip(&evidence.facts.scenarios) {
        if let Some(failure) = failure(scenario, facts) {
            return failure;
        }
    }
    if evidence.facts.scenarios.len() < declared.len() {
        return Verdict::pending();
    }
    let statements: u64 = evidence
        .facts
        .scenarios
        .iter()
        .map(|s| s.window.statements)
        .sum();
    Verdict::pass(format!(
        "{}, {} in the copy's log",
        count(declared.len() as u64, "scenario"),
        count(statements, "statement")
    ))
}

/// Returns the reason why a scenario has not passed.
pub(super) fn failure(scenario: &Scenario, facts: &ScenarioFacts) -> Option<Verdict> {
    let (name, claim, window) = (&scenario.name, &facts.claim, &facts.window);
    if claim.name != *name {
        return Some(Verdict::fail(
            "Unattributable",
            format!("what is known of {name} is about another scenario"),
        ));
    }
    if claim.timed_out {
        return Some(Verdict::fail(
            "ScenarioTimedOut",
            format!("{name} was killed after {} ms", claim.milliseconds),
        ));
    }
    if let Some(problem) = &claim.problem {
        return Some(Verdict::fail(
            "ScenarioFailed",
            format!("{name}: {problem}"),
        ));
    }
    if scenario.command.is_some() && claim.exit_code != Some(i32::from(scenario.expect.exit_code)) {
        let end = ending(claim.exit_code, false);
        return Some(Verdict::fail(
            "ScenarioFailed",
            format!("{name} ended with {end}, not {}", scenario.expect.exit_code),
        ));
    }
    for (i, step) in scenario.steps.iter().flatten().enumerate() {
        let expected = step.expect.sqlstate.as_deref().unwrap_or("00000");
        let found = claim.steps.get(i);
        if found.is_none_or(|f| f.sqlstate != expected) {
            let sqlstate = found.map_or("nothing", |f| f.sqlstate.as_str());
            return Some(Verdict::fail(
                "ScenarioFailed",
                format!("{name} step {} gave {sqlstate}, not {expected}", i + 1),
            ));
        }
        if let (Some(rows), Some(found)) = (step.expect.rows, found)
            && found.rows != rows
        {
            return Some(Verdict::fail(
                "ScenarioFailed",
                format!("{name} step {} gave {} rows, not {rows}", i + 1, found.rows),
            ));
        }
    }
    if let Some(doubt) = doubt(scenario, window) {
        return Some(doubt);
    }
    let expected = expected_errors(scenario);
    if let Some(missing) = expected
        .iter()
        .find(|e| !window.errors.iter().any(|l| e.is(l)))
    {
        return Some(Verdict::fail(
            "ErrorMissing",
            format!("{name}: no {} in the copy's log", missing.sqlstate),
        ));
    }
    let surplus = window.errors.iter().find(|l| {
        !expected.iter().any(|e| e.is(l)) && !scenario.expect.may_log.contains(&l.sqlstate)
    });
    if let Some(error) = surplus.or(window.foreign.first()) {
        // A connection that was let in has no error.
        let (reason, who) = if surplus.is_none() && !error.user.is_empty() {
            ("ForeignLogin", format!(" by {}", error.user))
        } else {
            ("UnexpectedError", String::new())
        };
        let (count, sqlstate) = (error.count, &error.sqlstate);
        let told = format!("{name}: {count}× {sqlstate} {}", error.statement);
        return Some(Verdict::fail(reason, format!("{}{who}", told.trim_end())));
    }
    nothing_done(scenario, window)
}

/// Returns the reason why the events of a window are not known.
pub(super) fn doubt(scenario: &Scenario, window: &LogWindow) -> Option<Verdict> {
    let name = &scenario.name;
    if !window.enclosed {
        return Some(Verdict::fail(
            "Unattributable",
            format!("the markers of {name} are not in the copy's log"),
        ));
    }
    if window.unreadable > 0 {
        let lines = count(window.unreadable, "line");
        return Some(Verdict::fail(
            "Unattributable",
            format!("{name}: {lines} of the copy's log broken or missing"),
        ));
    }
    (window.overflow > 0).then(|| {
        let errors = count(window.overflow, "error");
        Verdict::fail(
            "LogTooLarge",
            format!("{name}: {errors} more than can be kept of the copy's log"),
        )
    })
}

/// Returns the reason why a scenario has shown nothing, or more than it should.
fn nothing_done(scenario: &Scenario, window: &LogWindow) -> Option<Verdict> {
    let name = &scenario.name;
    if scenario.expect.no_session {
        return (window.sessions > 0).then(|| {
            let sessions = count(window.sessions, "session");
            Verdict::fail(
                "UnexpectedSession",
                format!("{name} opened {sessions} and is to open none"),
            )
        });
    }
    // A connection that was refused is an error of the login.
    if window.sessions == 0 && window.errors.is_empty() {
        return Some(Verdict::fail(
            "NothingDone",
            format!("{name} opened no session as {}", scenario.identity.login),
        ));
    }
    let steps = scenario.steps.iter().flatten().count() as u64;
    let refused = window.errors.iter().any(|l| l.severity == "FATAL");
    (window.statements < steps && !refused).then(|| {
        Verdict::fail(
            "NothingDone",
            format!(
                "{name}: {} in the copy's log, of {}",
                count(window.statements, "statement"),
                count(steps, "step")
            ),
        )
    })
}

/// An error that a scenario must leave in the copy's log.
#[derive(Clone, Debug)]
pub(super) struct ExpectedError<'a> {
    /// Login that must make it.
    pub(super) login: &'a str,
    pub(super) sqlstate: &'a str,
    pub(super) object: Option<&'a str>,
}

impl ExpectedError<'_> {
    pub(super) fn is(&self, logged: &LoggedError) -> bool {
        logged.sqlstate == self.sqlstate && logged.user == self.login
    }
}

/// The errors that a scenario must leave in the copy's log.
pub(super) fn expected_errors(scenario: &Scenario) -> Vec<ExpectedError<'_>> {
    let own = (
        scenario.expect.sqlstate.as_deref(),
        scenario.expect.object.as_deref(),
    );
    let steps = scenario
        .steps
        .iter()
        .flatten()
        .map(|s| (s.expect.sqlstate.as_deref(), s.expect.object.as_deref()));
    std::iter::once(own)
        .chain(steps)
        .filter_map(|(sqlstate, object)| {
            sqlstate
                .filter(|s| *s != "00000")
                .map(|sqlstate| ExpectedError {
                    login: &scenario.identity.login,
                    sqlstate,
                    object,
                })
        })
        .collect()
}

fn ending(exit_code: Option<i32>, timed_out: bool) -> String {
    match (exit_code, timed_out) {
        (_, true) => "a timeout".into(),
        (Some(code), _) => format!("exit code {code}"),
        (None, _) => "a signal".into(),
    }
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::run::facts::ScenarioClaim;
    use crate::test_support::{World, Worlds, denied};
    let first = |change: fn(&mut ScenarioFacts)| World::with(move |f| change(&mut f.scenarios[0]));
    Worlds {
        fail: vec![
            ("ScenarioFailed", first(|s| s.claim.exit_code = Some(1))),
            ("ScenarioFailed", first(|s| s.claim.exit_code = None)),
            (
                "ScenarioFailed",
                first(|s| s.claim.problem = Some("no such program".into())),
            ),
            (
                "ScenarioFailed",
                World::with(|f| f.scenarios[2].claim.steps[0].sqlstate = "42P01".into()),
            ),
            (
                "ScenarioFailed",
                World::with(|f| f.scenarios[2].claim.steps[0].sqlstate = "25006".into()),
            ),
            (
                "ScenarioFailed",
                World::with(|f| f.scenarios[2].claim.steps.clear()),
            ),
            ("ScenarioTimedOut", first(|s| s.claim.timed_out = true)),
            ("Unattributable", first(|s| s.claim.name = "another".into())),
            (
                "ErrorMissing",
                World::with(|f| f.scenarios[1].window.errors.clear()),
            ),
            (
                "UnexpectedError",
                first(|s| s.window.errors = vec![denied("cutter_exec", "iu.unit")]),
            ),
            (
                "UnexpectedError",
                first(|s| s.window.foreign = vec![denied("", "iu.unit")]),
            ),
            // It came in as the login of the scenario before.
            (
                "ForeignLogin",
                World::with(|f| {
                    f.scenarios[1].window.foreign = vec![denied("cutter_exec", "iu.unit")]
                }),
            ),
            (
                "ErrorMissing",
                World::with(|f| {
                    f.scenarios[1].window.errors = vec![denied("cutter_exec", "iu.unit")]
                }),
            ),
            ("Unattributable", first(|s| s.window.enclosed = false)),
            ("Unattributable", first(|s| s.window.unreadable = 1)),
            ("LogTooLarge", first(|s| s.window.overflow = 1)),
            (
                "NothingDone",
                first(|s| (s.window.sessions, s.window.statements) = (0, 0)),
            ),
            (
                "NothingDone",
                World::with(|f| f.scenarios[2].window.statements = 0),
            ),
            ("UnexpectedSession", {
                let mut world = World::passing();
                world.spec.harness.scenarios[0].expect.no_session = true;
                world
            }),
            ("SetupFailed", {
                let mut world = World::with(|f| {
                    f.setup = vec![ScenarioClaim {
                        exit_code: Some(2),
                        ..ScenarioClaim::default()
                    }]
                });
                let setup = serde_json::json!([{"command": ["false"]}]);
                world.spec.harness.setup = serde_json::from_value(setup).unwrap();
                world
            }),
        ],
        unknown: vec![
            ("Pending", World::empty()),
            ("Pending", World::with(|f| drop(f.scenarios.pop()))),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Status;
    use crate::test_support::World;

    fn status(world: &World) -> Status {
        evaluate(&world.evidence()).status
    }

    #[test]
    fn a_scenario_may_be_declared_to_open_no_session() {
        let mut world = World::with(|f| {
            let window = &mut f.scenarios[0].window;
            (window.sessions, window.statements) = (0, 0);
        });
        assert_eq!(status(&world), Status::False);
        world.spec.harness.scenarios[0].expect.no_session = true;
        assert_eq!(status(&world), Status::True);
    }

    /// Its steps have the SQLSTATE of the refusal, and no statement is in the log.
    #[test]
    fn a_refused_connection_is_something_done() {
        let mut world = World::with(|f| {
            let window = &mut f.scenarios[2].window;
            (window.sessions, window.statements) = (0, 0);
            window.errors[0].severity = "FATAL".into();
        });
        assert_eq!(status(&world), Status::True);
        world.facts.scenarios[2].window.errors[0].severity = "ERROR".into();
        assert_eq!(status(&world), Status::False);
    }
}
