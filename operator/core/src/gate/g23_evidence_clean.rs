//! G-23 EvidenceClean.

use super::{Evidence, Gate, Verdict, count, examples, leak};
use crate::commands::Command;

pub(super) static GATE: Gate = Gate {
    id: "G-23",
    name: "EvidenceClean",
    doc: "What is kept was redacted, then searched and found clean, stands whole under one sha256 manifest, and was read back as it was sealed; each log is what it was when its command ended.",
    command: Command::Evidence,
    evidence: &["/evidence"],
    needs: &[],
    reasons: &[
        (
            "CredentialFound",
            "A credential is left in what was to be kept.",
        ),
        (
            "LogChanged",
            "A log of the harness is gone, or is not what it was when its command ended: it is not kept.",
        ),
        ("StoredDiffers", "What is stored is not what was sealed."),
        (
            "CanaryMissed",
            "The search did not find the canary that was put among what is kept: it proves nothing.",
        ),
        (
            "Partial",
            "The run ended early: this was sealed on the way out, from what there was.",
        ),
        ("NotSealed", "Nothing could be sealed."),
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let Some(kept) = &evidence.facts.evidence else {
        return Verdict::pending();
    };
    if let Some(problem) = &kept.problem {
        return Verdict::unknown("NotSealed", problem.to_string());
    }
    let seal = &kept.seal;
    if let Some(found) = seal.search.found.first() {
        return Verdict::fail("CredentialFound", leak(found));
    }
    if !seal.changed_logs.is_empty() {
        return Verdict::fail("LogChanged", examples(&seal.changed_logs));
    }
    if kept.stored != seal.archive || seal.archive.is_empty() {
        return Verdict::fail(
            "StoredDiffers",
            format!("sealed {}, stored {}", seal.archive, kept.stored),
        );
    }
    if !seal.search.canary {
        return Verdict::unknown(
            "CanaryMissed",
            "the canary among what is kept was not found",
        );
    }
    let files = format!(
        "{} under manifest {}",
        count(seal.files.len() as u64, "file"),
        seal.manifest
    );
    if kept.partial {
        return Verdict::unknown("Partial", files);
    }
    let cut = seal.files.iter().filter(|file| file.cut_bytes > 0).count() as u64;
    Verdict::pass(match cut {
        0 => files,
        n => format!("{files}; {} cut", count(n, "file")),
    })
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::problem::Problem;
    use crate::run::facts::EvidenceFacts;
    use crate::test_support::{World, Worlds, leaking};
    let kept =
        |change: fn(&mut EvidenceFacts)| World::with(move |f| change(f.evidence.as_mut().unwrap()));
    Worlds {
        fail: vec![
            (
                "CredentialFound",
                kept(|e| e.seal.search = leaking("harness/S2.log")),
            ),
            (
                "LogChanged",
                kept(|e| e.seal.changed_logs = vec!["harness/S2.log".into()]),
            ),
            // The end of a run excuses nothing.
            (
                "LogChanged",
                kept(|e| {
                    e.partial = true;
                    e.seal.changed_logs = vec!["harness/S2.log".into()];
                }),
            ),
            ("StoredDiffers", kept(|e| e.stored = "sha256:other".into())),
            ("StoredDiffers", kept(|e| e.stored.clear())),
        ],
        unknown: vec![
            ("Pending", World::empty()),
            ("CanaryMissed", kept(|e| e.seal.search.canary = false)),
            ("Partial", kept(|e| e.partial = true)),
            (
                "NotSealed",
                kept(|e| e.problem = Some(Problem::permanent("DeadlineExceeded", "no answer"))),
            ),
        ],
    }
}
