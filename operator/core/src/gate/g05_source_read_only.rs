//! G-05 SourceReadOnly.

use super::{Evidence, Gate, Verdict, count, examples};
use crate::commands::Command;

pub(super) static GATE: Gate = Gate {
    id: "G-05",
    name: "SourceReadOnly",
    doc: "Production was read in read-only sessions only: the agent's own wrote nothing, pg_dump's were started read-only with a lock timeout, its locks left room for other clients, and the role could read everything.",
    command: Command::Dump,
    evidence: &[
        "/dump/rights",
        "/dump/locks",
        "/dump/sessions",
        "/dump/archive",
    ],
    needs: &["G-06"],
    reasons: &[
        (
            "MissingRights",
            "The dump role cannot read everything; the GRANTs to run are in the facts.",
        ),
        (
            "LockTableTooSmall",
            "The locks of pg_dump would take room in the server's lock table that other clients may need; nothing was dumped.",
        ),
        (
            "WriteSession",
            "A session was not read-only, or was given a transaction ID.",
        ),
        (
            "NoLockTimeout",
            "pg_dump was not started with a lock timeout.",
        ),
        ("DumpFailed", "The dump could not be taken."),
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let Some(dump) = &evidence.facts.dump else {
        return Verdict::pending();
    };
    if let Some(rights) = &dump.rights
        && rights.missing_count > 0
    {
        return Verdict::fail(
            "MissingRights",
            format!(
                "{} missing: {}",
                count(rights.missing_count, "right"),
                examples(&rights.missing)
            ),
        );
    }
    if let Some(locks) = &dump.locks
        && !locks.suffices()
    {
        return Verdict::fail("LockTableTooSmall", locks.to_string());
    }
    if let Some(sessions) = &dump.sessions {
        if !sessions.read_only || sessions.xid_assigned {
            return Verdict::fail(
                "WriteSession",
                "the agent's session was not read-only to its end",
            );
        }
        if !sessions
            .dump_options
            .iter()
            .any(|option| option.starts_with("--lock-wait-timeout"))
        {
            return Verdict::fail(
                "NoLockTimeout",
                "pg_dump was started without --lock-wait-timeout",
            );
        }
    }
    // A server that is not the declared one, or was never asked, is another gate's business.
    let asked = dump.identity.is_some()
        && dump
            .problem
            .as_ref()
            .is_none_or(|p| p.reason != "IdentityMismatch");
    if asked && let Some(problem) = &dump.problem {
        return Verdict::fail("DumpFailed", problem.to_string());
    }
    match (&dump.rights, &dump.locks, &dump.sessions, &dump.archive) {
        (Some(rights), Some(_), Some(_), Some(archive)) => {
            let writes = match rights.writable_count {
                0 => "no right to write".to_owned(),
                n => format!("{} to write that it did not use", count(n, "right")),
            };
            Verdict::pass(format!(
                "{} MiB dumped read-only; the role has {writes}",
                archive.bytes >> 20
            ))
        }
        _ => Verdict::pending(),
    }
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::problem::Problem;
    use crate::test_support::{World, Worlds};
    Worlds {
        fail: vec![
            (
                "MissingRights",
                World::with(|f| {
                    let rights = f.dump.as_mut().unwrap().rights.as_mut().unwrap();
                    rights.missing_count = 1;
                    rights.missing =
                        vec!["GRANT SELECT ON SEQUENCE iu.unit_id_seq TO dump_ro;".into()];
                }),
            ),
            (
                "LockTableTooSmall",
                World::with(|f| f.dump.as_mut().unwrap().locks.as_mut().unwrap().needed = 4791),
            ),
            (
                "WriteSession",
                World::with(|f| {
                    f.dump
                        .as_mut()
                        .unwrap()
                        .sessions
                        .as_mut()
                        .unwrap()
                        .xid_assigned = true
                }),
            ),
            (
                "WriteSession",
                World::with(|f| {
                    f.dump
                        .as_mut()
                        .unwrap()
                        .sessions
                        .as_mut()
                        .unwrap()
                        .read_only = false
                }),
            ),
            (
                "NoLockTimeout",
                World::with(|f| {
                    f.dump
                        .as_mut()
                        .unwrap()
                        .sessions
                        .as_mut()
                        .unwrap()
                        .dump_options
                        .clear()
                }),
            ),
            (
                "DumpFailed",
                World::with(|f| {
                    f.dump.as_mut().unwrap().problem =
                        Some(Problem::permanent("ExtensionUnavailable", "postgis 3.4"));
                }),
            ),
        ],
        unknown: vec![
            ("Pending", World::empty()),
            (
                "Pending",
                World::with(|f| f.dump.as_mut().unwrap().archive = None),
            ),
        ],
    }
}
