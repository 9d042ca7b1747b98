//! The abort matrix: every world that fails a gate, walked from the request to the end.

use super::model::Model;
use crate::api::Outcome;
use crate::commands::{Action, Command};
use crate::gate;
use crate::run::object::{Object, RunPod};

/// Objects that may still be created once a gate has failed.
const LATE: [Object; 2] = [Object::Pod(RunPod::Seal), Object::Pod(RunPod::Identity)];

/// Walks a run in which `known` is found, and demands after every pass that a failed gate is
/// followed by teardown alone.
fn walk(known: crate::test_support::World, what: &str) -> Model {
    let mut model = Model::new();
    model.known = known;
    for _ in 0..500 {
        let failed = model.failed();
        let before = model.log.len();
        let busy = model.pass();
        if failed {
            for action in &model.log[before..] {
                let late = match action {
                    Action::Create(object) => LATE.contains(object),
                    Action::Start(job, _) => job.is_teardown(),
                    Action::AddFinalizer | Action::CreateReport => false,
                    Action::RemoveFinalizer
                    | Action::Delete(_)
                    | Action::CancelJobs
                    | Action::End(_)
                    | Action::EndJobs => true,
                };
                assert!(late, "{what}: {action:?} after a gate had failed");
            }
        }
        if !busy {
            return model;
        }
    }
    panic!("{what}: no end");
}

#[test]
fn every_world_that_fails_a_gate_ends_in_teardown_and_names_it() {
    let mut walked = 0;
    for gate in gate::ALL {
        let worlds = (gate.worlds)();
        assert!(!worlds.fail.is_empty(), "{} cannot fail", gate.id);
        for (reason, world) in worlds.fail {
            let what = format!("{} {reason}", gate.id);
            let model = walk(world, &what);
            model.assert_nothing_left();
            assert_eq!(model.condition("NetZero"), ("True", "Proven"), "{what}");
            assert_eq!(model.status.outcome, Some(Outcome::Failed), "{what}");
            assert_eq!(model.condition("Stalled").0, "True", "{what}");
            let named = model.status.failed_gate.clone().unwrap_or_default();
            let first = gate::ALL
                .iter()
                .find(|other| named.starts_with(other.id))
                .unwrap();
            // The same find may fail a gate that is judged earlier: then that one is named, and
            // this one is never reached.
            assert!(
                first.id == gate.id || first.command <= gate.command,
                "{what}: {named} is named"
            );
            if first.id == gate.id {
                assert_eq!(model.condition(gate.name), ("False", reason), "{what}");
            }
            assert!(
                model.status.verdict[0].starts_with(first.id),
                "{what}: {}",
                model.status.verdict[0]
            );
            assert!(model.facts.began.contains_key(&Command::Teardown), "{what}");
            let sealed = model.facts.evidence.is_some();
            assert_eq!(
                sealed,
                model.facts.dump.is_some(),
                "{what}: a run that wrote something keeps what there is"
            );
            walked += 1;
        }
    }
    assert!(walked >= 60, "only {walked} worlds");
}
