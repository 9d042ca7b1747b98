//! The schema's own rules: every one refuses what it should with its sentence, lets the rest
//! through, and none got lost on the way into the CRD.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::schemas::{SCHEMAS, refusals};

/// `rules.yaml`.
#[derive(Deserialize)]
struct Table {
    example: Value,
    rules: Vec<Rule>,
}

/// One rule, with values at one place of the example that it refuses and accepts.
#[derive(Deserialize)]
struct Rule {
    sentence: String,
    at: String,
    refused: Vec<Value>,
    accepted: Vec<Value>,
}

impl Table {
    fn read() -> Self {
        serde_saphyr::from_str(include_str!("rules.yaml")).unwrap()
    }

    fn example_with(&self, at: &str, value: &Value) -> Value {
        let mut object = self.example.clone();
        *object
            .pointer_mut(at)
            .unwrap_or_else(|| panic!("the example has no {at}")) = value.clone();
        object
    }
}

/// All rules in a schema, as (rule, sentence).
fn rules(schema: &Value, found: &mut Vec<(String, String)>) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map {
                if key == "x-kubernetes-validations" {
                    found.extend(value.as_array().unwrap().iter().map(|rule| {
                        let text = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
                        (text("rule"), text("message"))
                    }));
                } else {
                    rules(value, found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| rules(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_rule_refuses_with_its_sentence_and_lets_the_rest_through() {
    let table = Table::read();
    assert_eq!(
        refusals("DryRun", &table.example, None),
        Vec::<String>::new()
    );
    for rule in &table.rules {
        assert!(
            !rule.refused.is_empty() && !rule.accepted.is_empty(),
            "{}",
            rule.sentence
        );
        for value in &rule.refused {
            let refused = refusals("DryRun", &table.example_with(&rule.at, value), None);
            assert!(
                refused.contains(&rule.sentence),
                "{value} at {}: {refused:?}",
                rule.at
            );
        }
        for value in &rule.accepted {
            let refused = refusals("DryRun", &table.example_with(&rule.at, value), None);
            assert_eq!(refused, Vec::<String>::new(), "{value} at {}", rule.at);
        }
    }
}

#[test]
fn specs_are_immutable() {
    for (kind, sentence) in IMMUTABLE {
        let old = json!({"metadata": {"name": "a"}, "spec": {"dryRunName": "a"}});
        let new = json!({"metadata": {"name": "a"}, "spec": {"dryRunName": "b"}});
        assert!(
            refusals(kind, &new, Some(&old)).contains(&sentence.to_owned()),
            "{kind}"
        );
        assert!(
            !refusals(kind, &old, Some(&old)).contains(&sentence.to_owned()),
            "{kind}"
        );
    }
}

const IMMUTABLE: [(&str, &str); 3] = [
    ("DryRun", "spec is immutable: a new run is a new DryRun"),
    (
        "DryRunApproval",
        "an approval is immutable: make another one",
    ),
    ("DryRunReport", "a report's spec is immutable"),
];

#[test]
fn every_rule_has_its_cases() {
    let mut found = Vec::new();
    SCHEMAS
        .values()
        .for_each(|schema| rules(schema, &mut found));
    let sentences: BTreeSet<_> = found.into_iter().map(|(_, sentence)| sentence).collect();
    let table = Table::read();
    let immutable = IMMUTABLE.iter().map(|(_, sentence)| (*sentence).to_owned());
    let tested: BTreeSet<_> = table
        .rules
        .into_iter()
        .map(|rule| rule.sentence)
        .chain(immutable)
        .collect();
    assert_eq!(sentences, tested);
}

/// An attribute that the derive macro does not know is dropped without a word, and the rule with
/// it.
#[test]
fn no_rule_is_lost_between_source_and_schema() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api");
    let written: usize = std::fs::read_dir(source)
        .unwrap()
        .map(|file| {
            std::fs::read_to_string(file.unwrap().path())
                .unwrap()
                .matches("Rule::new(")
                .count()
        })
        .sum();
    let mut found = Vec::new();
    SCHEMAS
        .values()
        .for_each(|schema| rules(schema, &mut found));
    assert_eq!(found.len(), written);
}

/// Nothing in a spec grows without end: every text has a length, every list and map a size.
#[test]
fn specs_are_bounded() {
    fn unbounded(path: &str, schema: &Value, found: &mut Vec<String>) {
        let bounded = match schema["type"].as_str() {
            Some("string") => ["maxLength", "enum", "format"]
                .iter()
                .any(|key| schema.get(key).is_some()),
            Some("array") => schema.get("maxItems").is_some(),
            Some("object") => {
                schema.get("properties").is_some() || schema.get("maxProperties").is_some()
            }
            _ => true,
        };
        if !bounded {
            found.push(path.to_owned());
        }
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            unbounded(&format!("{path}.{name}"), schema, found);
        }
        for (step, key) in [("[]", "items"), ("{}", "additionalProperties")] {
            if let Some(schema) = schema.get(key) {
                unbounded(&format!("{path}{step}"), schema, found);
            }
        }
    }
    let mut found = Vec::new();
    for (kind, schema) in SCHEMAS.iter() {
        unbounded(kind, &schema["properties"]["spec"], &mut found);
    }
    assert_eq!(found, Vec::<String>::new());
}
