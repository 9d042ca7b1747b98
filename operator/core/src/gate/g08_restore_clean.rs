//! G-08 RestoreClean.

use super::{Evidence, Gate, Verdict, count, examples, examples_of};
use crate::api::ToleratedError;
use crate::commands::Command;
use crate::postgres::server_log::is_tolerable;
use crate::run::facts::LoggedError;

pub(super) static GATE: Gate = Gate {
    id: "G-08",
    name: "RestoreClean",
    doc: "The restore left no error in the copy's own log but those that the spec tolerates, and pg_restore saw no other.",
    command: Command::Restore,
    evidence: &["/restore"],
    needs: &["G-05", "G-10"],
    reasons: &[
        (
            "RestoreErrors",
            "The copy's log has errors that the spec does not tolerate.",
        ),
        (
            "LogTooLarge",
            "The copy's log has too many different errors of the restore.",
        ),
        ("RestoreFailed", "pg_restore did not come to its end."),
        (
            "ErrorCountMismatch",
            "pg_restore and the copy's log tell of different numbers of errors.",
        ),
        (
            "ToleranceUnused",
            "A tolerated error did not occur: the pattern is wrong or no longer needed.",
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
    let tolerated = &evidence.spec.restore.tolerate;
    let mut used = vec![0_u32; tolerated.len()];
    let mut errors = Vec::new();
    for logged in &restore.logged {
        let matching = tolerated.iter().position(|t| matches(t, logged));
        match matching {
            Some(i) if used[i] + logged.count <= tolerated[i].at_most => used[i] += logged.count,
            _ => errors.push(format!(
                "{}× {} {}",
                logged.count, logged.sqlstate, logged.statement
            )),
        }
    }
    let logged: u64 = restore.logged.iter().map(|l| u64::from(l.count)).sum();
    let failed = match restore.claim.failed_count {
        0 => String::new(),
        failed => format!("; failed: {}", examples_of(&restore.claim.failed, failed)),
    };
    if !errors.is_empty() {
        return Verdict::fail("RestoreErrors", examples(&errors) + &failed);
    }
    if restore.overflow > 0 {
        let more = count(restore.overflow, "error");
        return Verdict::fail("LogTooLarge", format!("{more} more than can be kept"));
    }
    // pg_restore ends with 1 also when all errors were ignored.
    if restore.claim.exit_code != 0 && !(restore.claim.exit_code == 1 && logged > 0) {
        return Verdict::fail(
            "RestoreFailed",
            format!(
                "pg_restore ended with {}: {}",
                restore.claim.exit_code,
                examples(&restore.claim.errors)
            ),
        );
    }
    if restore.claim.error_lines != logged {
        return Verdict::fail(
            "ErrorCountMismatch",
            format!(
                "{} in the copy's log, {} seen by pg_restore",
                count(logged, "error"),
                restore.claim.error_lines
            ),
        );
    }
    if let Some(i) = used.iter().position(|n| *n == 0) {
        return Verdict::fail(
            "ToleranceUnused",
            format!(
                "no {} {} occurred",
                tolerated[i].sqlstate, tolerated[i].statement
            ),
        );
    }
    Verdict::pass(match logged {
        0 => "no error".to_owned(),
        logged => format!("{}, all tolerated{failed}", count(logged, "error")),
    })
}

fn matches(tolerated: &ToleratedError, logged: &LoggedError) -> bool {
    logged.severity == "ERROR"
        && is_tolerable(&logged.sqlstate, &logged.statement)
        && tolerated.sqlstate == logged.sqlstate
        && tolerated.statement == logged.statement
        && tolerated
            .matching
            .as_ref()
            .is_none_or(|text| logged.message.contains(text))
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::test_support::{World, Worlds};
    let error = |severity: &str, count: u32| LoggedError {
        sqlstate: "42501".into(),
        severity: severity.into(),
        statement: "COMMENT".into(),
        count,
        ..LoggedError::default()
    };
    let logged = |errors: Vec<LoggedError>, lines: u64, exit_code: i32| {
        World::with(move |f| {
            let restore = f.restore.as_mut().unwrap();
            restore.logged = errors;
            restore.claim.error_lines = lines;
            restore.claim.exit_code = exit_code;
        })
    };
    let tolerating = |mut world: World| {
        world.spec.restore.tolerate = vec![ToleratedError {
            sqlstate: "42501".into(),
            statement: "COMMENT".into(),
            matching: None,
            at_most: 2,
        }];
        world
    };
    Worlds {
        fail: vec![
            ("RestoreErrors", logged(vec![error("ERROR", 1)], 1, 1)),
            (
                "RestoreErrors",
                tolerating(logged(vec![error("ERROR", 3)], 3, 1)),
            ),
            (
                "RestoreErrors",
                tolerating(logged(vec![error("PANIC", 1)], 1, 1)),
            ),
            (
                "LogTooLarge",
                World::with(|f| f.restore.as_mut().unwrap().overflow = 1),
            ),
            ("RestoreFailed", logged(vec![], 0, 137)),
            ("RestoreFailed", logged(vec![], 0, 1)),
            ("ErrorCountMismatch", logged(vec![], 2, 0)),
            ("ToleranceUnused", tolerating(World::passing())),
        ],
        unknown: vec![("Pending", World::empty())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::World;

    #[test]
    fn tolerated_errors_pass_up_to_their_number() {
        let mut world = World::passing();
        world.spec.restore.tolerate = vec![ToleratedError {
            sqlstate: "42501".into(),
            statement: "COMMENT".into(),
            matching: Some("plpgsql".into()),
            at_most: 1,
        }];
        let restore = world.facts.restore.as_mut().unwrap();
        restore.logged = vec![LoggedError {
            sqlstate: "42501".into(),
            severity: "ERROR".into(),
            statement: "COMMENT".into(),
            message: "must be owner of extension plpgsql".into(),
            count: 1,
            ..LoggedError::default()
        }];
        restore.claim.error_lines = 1;
        restore.claim.exit_code = 1;
        restore.claim.failed = vec!["COMMENT - EXTENSION plpgsql".into()];
        restore.claim.failed_count = 1;
        let named = "; failed: COMMENT - EXTENSION plpgsql";
        assert_eq!(
            evaluate(&world.evidence()),
            Verdict::pass(format!("1 error, all tolerated{named}"))
        );
        world.spec.restore.tolerate.clear();
        assert_eq!(
            evaluate(&world.evidence()),
            Verdict::fail("RestoreErrors", format!("1× 42501 COMMENT{named}"))
        );
    }
}
