//! Changes of a plan between its display and its run.

use serde_json::Value;
use std::collections::BTreeSet;

use crate::api::PlanSummary;

/// Returns the inputs that the operator resolved differently, most important first, in readable
/// names.
///
/// The spec is immutable: every change is in the resolved inputs.
pub fn changes(before: &PlanSummary, after: &PlanSummary) -> Vec<String> {
    let named = [("configMaps", "ConfigMap key"), ("secrets", "Secret")];
    let inputs = named.iter().flat_map(|(field, what)| {
        differing(&before.resolved[field], &after.resolved[field])
            .into_iter()
            .map(move |name| format!("{what} {name}"))
    });
    let others = differing(&before.resolved, &after.resolved)
        .into_iter()
        .filter(|field| named.iter().all(|(known, _)| known != field))
        .map(|field| match field {
            "operatorImage" => "the operator's image".to_owned(),
            other => format!("the operator's {other}"),
        });
    inputs.chain(others).collect()
}

/// Keys whose values differ, or that only one of the two has.
fn differing<'a>(before: &'a Value, after: &'a Value) -> Vec<&'a str> {
    let keys = |value: &'a Value| value.as_object().into_iter().flat_map(|map| map.keys());
    let all: BTreeSet<&str> = keys(before)
        .chain(keys(after))
        .map(String::as_str)
        .collect();
    all.into_iter()
        .filter(|key| before.get(key) != after.get(key))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(resolved: Value) -> PlanSummary {
        PlanSummary {
            hash: String::new(),
            resolved,
        }
    }

    #[test]
    fn inputs_are_named_and_what_is_the_operators_own_comes_last() {
        let before = plan(serde_json::json!({
            "configMaps": {"iu-cutter/source.tar": "a", "same/key": "s"}, "secrets": {"production": "1"}, "operatorImage": "o:1", "gates": ["G-01"],
        }));
        let after = plan(serde_json::json!({
            "configMaps": {"iu-cutter/source.tar": "b", "same/key": "s"}, "secrets": {"production": "2"}, "operatorImage": "o:2", "gates": [],
        }));
        assert_eq!(
            changes(&before, &after),
            [
                "ConfigMap key iu-cutter/source.tar",
                "Secret production",
                "the operator's gates",
                "the operator's image"
            ]
        );
        assert!(changes(&before, &before).is_empty());
    }
}
