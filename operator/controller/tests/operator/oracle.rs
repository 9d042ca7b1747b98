//! Oracles over everything that a cluster has seen, as an audit log would show it.

use dryrun_core::gate;
use dryrun_core::run::id::{INTRUDER_LABEL, RUN_LABEL};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Cluster, INSTALLED};
use crate::model_apiserver::store::{Change, Key};

/// Kinds of objects of which nothing outlives a run.
const KINDS: [&str; 5] = [
    "pods",
    "secrets",
    "persistentvolumeclaims",
    "persistentvolumes",
    "networkpolicies",
];

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn uid(object: &Value) -> String {
    text(&object["metadata"]["uid"]).to_owned()
}

/// The run that an object belongs to, by its labels.
fn run_of(object: &Value) -> Option<&str> {
    let labels = &object["metadata"]["labels"];
    labels[INTRUDER_LABEL]
        .as_str()
        .or(labels[RUN_LABEL].as_str())
}

fn conditions(object: &Value) -> impl Iterator<Item = (&str, &str)> {
    let all = object["status"]["conditions"].as_array();
    let all = all.into_iter().flatten();
    all.map(|condition| (text(&condition["type"]), text(&condition["status"])))
}

/// The laws that hold over any history.
#[derive(Default)]
struct Laws {
    alive: BTreeMap<Key, String>,
    /// Gates that were False, by the UID of the DryRun or report that said so.
    failed: BTreeSet<(String, String)>,
    /// UIDs of DryRuns of which nothing is left.
    gone: BTreeSet<String>,
    broken: Vec<String>,
}

impl Laws {
    fn take(&mut self, change: &Change) {
        let Some(object) = change.new.as_deref() else {
            self.alive.remove(&change.key);
            return;
        };
        if let Some(run) = run_of(object) {
            if self.gone.contains(run) {
                self.broken
                    .push(format!("{:?} came or changed after NetZero", change.key));
            }
            self.alive.insert(change.key.clone(), run.to_owned());
        }
        if !["dryruns", "dryrunreports"].contains(&change.key.plural.as_str()) {
            return;
        }
        for (type_, status) in conditions(object) {
            let gate = (uid(object), type_.to_owned());
            match status {
                "False" if gate::ALL.iter().any(|gate| gate.name == type_) => {
                    self.failed.insert(gate);
                }
                "True" if self.failed.contains(&gate) => {
                    self.broken.push(format!("{type_} went from False to True"));
                }
                "True" if type_ == "NetZero" && change.key.plural == "dryruns" => {
                    self.gone.insert(uid(object));
                }
                _ => {}
            }
        }
        let left = self
            .alive
            .iter()
            .filter(|(_, run)| self.gone.contains(*run));
        let left: Vec<String> = left.map(|(key, _)| format!("{key:?} at NetZero")).collect();
        self.broken.extend(left);
    }
}

/// Fails when a gate went from False to True, or something was labelled with a run after its
/// NetZero.
pub fn assert_lawful(cluster: &Cluster, what: &str) {
    let mut laws = Laws::default();
    let state = cluster.model.state();
    state
        .store
        .changes_after(0)
        .iter()
        .for_each(|change| laws.take(change));
    drop(state);
    let broken = laws.broken;
    assert!(broken.is_empty(), "{what}: {broken:?} {}", cluster.told());
}

/// Fails unless everything that was created was deleted, by UID, but what outlives a run and what
/// was there before.
pub fn assert_balanced(cluster: &Cluster, what: &str) {
    let mut open = BTreeMap::new();
    let state = cluster.model.state();
    for change in state.store.changes_after(0) {
        if !KINDS.contains(&change.key.plural.as_str()) {
            continue;
        }
        match (&change.old, &change.new) {
            (None, Some(new)) if new["metadata"]["creationTimestamp"] != INSTALLED => {
                open.insert(uid(new), change.key.clone());
            }
            (Some(old), None) => drop(open.remove(&uid(old))),
            _ => {}
        }
    }
    drop(state);
    assert!(open.is_empty(), "{what}: {open:?} are left");
}

/// The end of a run, without what differs between two runs that end alike: times, words, numbers.
pub fn end(cluster: &Cluster) -> Value {
    let run = cluster.run().and_then(|run| run.status);
    let report = serde_json::to_value(cluster.report().and_then(|report| report.status)).unwrap();
    let mut facts = shape(&report["facts"]);
    if let Some(facts) = facts.as_object_mut() {
        // An operator that begins anew notes that the protected workloads were not watched
        // meanwhile.
        facts.remove("watchedSince");
    }
    let conditions: Vec<Value> = report["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|c| json!([c["type"], c["status"], c["reason"]]))
        .collect();
    let run = run.map(|status| json!([status.outcome, status.step, status.gates, status.net_zero]));
    json!({"run": run, "outcome": report["outcome"], "conditions": conditions, "facts": facts})
}

/// Keys, lengths and truth values of a JSON value.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), shape(value)))
            .collect(),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::String(_) => json!(""),
        Value::Number(_) => json!(0),
        Value::Bool(_) | Value::Null => value.clone(),
    }
}
