//! The CRDs' schemas, and the local evaluation of their rules.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use dryrun_core::api::crds;
use dryrun_core::plan::MAX_EXACT_INTEGER;
use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use serde_json::Value;

/// Schemas by kind.
pub(crate) static SCHEMAS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    crds()
        .into_iter()
        .map(|crd| {
            let schema = crd
                .spec
                .versions
                .into_iter()
                .next()
                .and_then(|version| version.schema);
            (
                crd.spec.names.kind,
                serde_json::to_value(schema.unwrap().open_api_v3_schema).unwrap(),
            )
        })
        .collect()
});

/// The same with their rules compiled.
static COMPILED: LazyLock<BTreeMap<&str, CompiledSchema>> = LazyLock::new(|| {
    SCHEMAS
        .iter()
        .map(|(kind, schema)| (kind.as_str(), compile_schema(schema)))
        .collect()
});

/// The sentences with which a kind's rules refuse an object.
pub(crate) fn refusals(kind: &str, object: &Value, old: Option<&Value>) -> Vec<String> {
    match Validator::new().validate_compiled(&COMPILED[kind], object, old) {
        Ok(()) => Vec::new(),
        Err(errors) => errors
            .into_vec()
            .into_iter()
            .map(|error| error.message)
            .collect(),
    }
}

/// The plan's canonical JSON writes numbers as doubles: no integer of a spec may be one that they
/// round.
#[test]
fn integers_of_a_spec_have_exact_doubles() {
    fn unbounded(path: &str, schema: &Value, found: &mut Vec<String>) {
        let exact = |key| {
            schema[key]
                .as_f64()
                .is_some_and(|n| n.abs() <= MAX_EXACT_INTEGER as f64)
        };
        let narrow = matches!(schema["format"].as_str(), Some(f) if f != "int64" && f != "uint64");
        if schema["type"] == "integer" && !narrow && !(exact("minimum") && exact("maximum")) {
            found.push(path.to_owned());
        }
        for (name, child) in schema["properties"].as_object().into_iter().flatten() {
            unbounded(&format!("{path}.{name}"), child, found);
        }
        for key in ["items", "additionalProperties"] {
            if schema[key].is_object() {
                unbounded(&format!("{path}[]"), &schema[key], found);
            }
        }
    }
    let mut found = Vec::new();
    unbounded("spec", &SCHEMAS["DryRun"]["properties"]["spec"], &mut found);
    assert_eq!(found, Vec::<String>::new());
}
