//! G-13 ArtifactsVerified.

use super::{Evidence, Gate, Verdict, count};
use crate::commands::Command;

pub(super) static GATE: Gate = Gate {
    id: "G-13",
    name: "ArtifactsVerified",
    doc: "Every input had its declared sha256 inside the harness pod, before any code of the user ran.",
    command: Command::Stage,
    evidence: &["/inputs"],
    needs: &["G-11"],
    reasons: &[
        (
            "DigestMismatch",
            "An input has another sha256 than the spec declares.",
        ),
        ("InvalidArchive", "An input cannot be unpacked safely."),
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let Some(inputs) = &evidence.facts.inputs else {
        return Verdict::pending();
    };
    let declared = &evidence.spec.harness.inputs;
    if inputs.inputs.len() != declared.len() {
        return Verdict::fail(
            "DigestMismatch",
            format!(
                "{} of {} inputs were looked at",
                inputs.inputs.len(),
                declared.len()
            ),
        );
    }
    for (input, found) in declared.iter().zip(&inputs.inputs) {
        let name = format!("{}/{}", input.config_map_ref.name, input.config_map_ref.key);
        if found.sha256 != input.sha256 {
            return Verdict::fail(
                "DigestMismatch",
                format!("{name} has sha256 {}, not {}", found.sha256, input.sha256),
            );
        }
        if let Some(problem) = &found.problem {
            return Verdict::fail("InvalidArchive", format!("{name}: {problem}"));
        }
    }
    let files: u64 = inputs.inputs.iter().map(|i| i.files).sum();
    Verdict::pass(format!(
        "{} with {} verified in the pod",
        count(declared.len() as u64, "input"),
        count(files, "file")
    ))
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::test_support::{World, Worlds};
    Worlds {
        fail: vec![
            (
                "DigestMismatch",
                World::with(|f| f.inputs.as_mut().unwrap().inputs[0].sha256 = "0".repeat(64)),
            ),
            (
                "DigestMismatch",
                World::with(|f| f.inputs.as_mut().unwrap().inputs.clear()),
            ),
            (
                "InvalidArchive",
                World::with(|f| {
                    f.inputs.as_mut().unwrap().inputs[0].problem =
                        Some("a link leads out of the tree".into())
                }),
            ),
        ],
        unknown: vec![("Pending", World::empty())],
    }
}
