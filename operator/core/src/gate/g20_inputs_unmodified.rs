//! G-20 InputsUnmodified.

use super::{Evidence, Gate, Verdict, count};
use crate::commands::Command;

pub(super) static GATE: Gate = Gate {
    id: "G-20",
    name: "InputsUnmodified",
    doc: "The harness's inputs have the same digests after the scenarios as before, unpacked in the pod, as mounted, and in their ConfigMaps.",
    command: Command::Verify,
    evidence: &[
        "/inputs",
        "/verification/inputs",
        "/verification/configMaps",
    ],
    needs: &["G-13"],
    reasons: &[
        (
            "InputChanged",
            "An input in the pod is not what it was before the scenarios.",
        ),
        (
            "ConfigMapChanged",
            "A ConfigMap does not hold the declared input any more.",
        ),
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let (Some(before), Some(verification)) = (&evidence.facts.inputs, &evidence.facts.verification)
    else {
        return Verdict::pending();
    };
    let after = &verification.inputs.inputs;
    for (i, input) in evidence.spec.harness.inputs.iter().enumerate() {
        let reference = &input.config_map_ref;
        let name = format!("{}/{}", reference.name, reference.key);
        // First the ConfigMap itself: the kubelet carries a change into the pod sooner or later.
        let stored = verification.config_maps.get(&name);
        if stored != Some(&input.sha256) {
            let stored = stored.filter(|s| !s.is_empty()).map_or("gone", |s| s);
            return Verdict::fail("ConfigMapChanged", format!("{name} is {stored}"));
        }
        match (before.inputs.get(i), after.get(i)) {
            (Some(before), Some(after)) if before == after => {}
            (_, Some(after)) => {
                let what = after
                    .problem
                    .clone()
                    .unwrap_or_else(|| format!("{} files, {}", after.files, after.tree_digest));
                return Verdict::fail("InputChanged", format!("{name} is now {what}"));
            }
            (_, None) => {
                return Verdict::fail("InputChanged", format!("{name} was not found again"));
            }
        }
    }
    Verdict::pass(format!("{} unchanged", count(after.len() as u64, "input")))
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::run::facts::{InputFact, VerificationFacts};
    use crate::test_support::{World, Worlds};
    fn after(change: fn(&mut InputFact)) -> World {
        World::with(move |f| change(&mut f.verification.as_mut().unwrap().inputs.inputs[0]))
    }
    let verified = |change: fn(&mut VerificationFacts)| {
        World::with(move |f| change(f.verification.as_mut().unwrap()))
    };
    Worlds {
        fail: vec![
            // One changed byte, an added file, a link out of the tree, a swapped ConfigMap.
            (
                "InputChanged",
                after(|input| input.tree_digest = "sha256:other".into()),
            ),
            ("InputChanged", after(|input| input.files += 1)),
            (
                "InputChanged",
                after(|input| input.problem = Some("a link leads out of the tree".into())),
            ),
            ("InputChanged", after(|input| input.sha256 = "b".repeat(64))),
            ("InputChanged", verified(|v| v.inputs.inputs.clear())),
            (
                "ConfigMapChanged",
                verified(|v| {
                    v.config_maps
                        .values_mut()
                        .for_each(|sha256| *sha256 = "b".repeat(64))
                }),
            ),
            ("ConfigMapChanged", verified(|v| v.config_maps.clear())),
        ],
        unknown: vec![
            ("Pending", World::empty()),
            ("Pending", World::with(|f| f.verification = None)),
        ],
    }
}
