//! G-21 ProductionUntouched.

use super::{Evidence, Gate, NOT_PROBED, Verdict};
use crate::command::Command;
use crate::inspect;
use crate::names::{Object, key};

pub(super) static GATE: Gate = Gate {
    id: "G-21",
    name: "ProductionUntouched",
    doc: "No pod of the run but dump and identity could open a connection to production, its password was mounted nowhere else but where leaks are looked for, and the agent's session wrote nothing.",
    command: Command::Verify,
    evidence: &["/verification"],
    needs: &["G-05", "G-06"],
    reasons: &[
        (
            "PasswordMounted",
            "A pod that does not need it has production's password.",
        ),
        (
            "SessionWrote",
            "The agent's session with production could write, or did.",
        ),
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let facts = evidence.facts;
    let needed = |role: &str| {
        Object::PODS
            .into_iter()
            .any(|pod| pod.role() == role && key::needs_source(pod))
    };
    let source = format!("{}/", inspect::SOURCE);
    let mounted = facts.inspections.iter().find(|(role, pod)| {
        !needed(role) && pod.secrets.iter().any(|key| key.starts_with(&source))
    });
    if let Some((role, _)) = mounted {
        return Verdict::fail("PasswordMounted", format!("the {role} pod mounts it"));
    }
    let sessions = facts.dump.as_ref().and_then(|dump| dump.sessions.as_ref());
    if sessions.is_some_and(|s| s.xid_assigned || !s.read_only) {
        return Verdict::fail("SessionWrote", "it was not read-only to its end");
    }
    if facts.verification.is_none() {
        return Verdict::pending();
    }
    Verdict::unknown(
        NOT_PROBED,
        "its password was mounted nowhere else; this version does not probe what pods could reach",
    )
}

#[cfg(test)]
fn worlds() -> crate::testing::Worlds {
    use crate::testing::{World, Worlds};
    Worlds {
        fail: vec![
            (
                "PasswordMounted",
                World::with(|f| {
                    let pod = f.inspections.get_mut("restore").unwrap();
                    pod.secrets.insert("source/password".into());
                }),
            ),
            (
                "SessionWrote",
                World::with(|f| {
                    let dump = f.dump.as_mut().unwrap();
                    dump.sessions.as_mut().unwrap().xid_assigned = true;
                }),
            ),
        ],
        unknown: vec![("Pending", World::empty()), ("NotProbed", World::passing())],
    }
}
