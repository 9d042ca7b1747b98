//! The CRDs' schemas, and the local evaluation of their rules.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use dryrun_core::api::crds;
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
