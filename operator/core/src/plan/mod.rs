//! The plan: everything that decides what will run, and its hash.

pub mod admission;
pub mod approval;
pub mod binding;
mod changes;
mod declared;
mod effects;

pub use changes::changes;
pub use declared::DeclaredRows;

use serde::{Deserialize, Serialize, ser::Error as _};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

use crate::api::{DryRunSpec, PlanSummary};
use crate::digest::prefixed;
use crate::gate;

/// Put before the canonical JSON, so that no other use of the same bytes has the same hash. A
/// change to the hashed content requires a new version in it.
const DOMAIN: &str = "dryrun.dev/v1alpha1 plan (RFC 8785)\n";

/// The largest integer that canonical JSON holds exactly: 2^53 − 1.
pub const MAX_EXACT_INTEGER: u64 = (1 << 53) - 1;

/// The operator, as far as it decides what will run.
#[derive(Clone, Copy, Debug)]
pub struct Operator<'a> {
    /// Its image.
    pub image: &'a str,
    /// The namespace of canaries and listeners.
    pub probes_namespace: &'a str,
}

/// Inputs that the operator resolved beside the spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resolved {
    /// sha256 of each ConfigMap key that the run uses, by `name/key`.
    pub config_maps: BTreeMap<String, String>,
    /// resourceVersion of each Secret that the run reads, by name. Contents are never hashed.
    pub secrets: BTreeMap<String, String>,
    /// The operator's image: its agent works in the run's pods.
    pub operator_image: String,
    /// The namespace in which canaries and a listener of the run will be.
    pub probes_namespace: String,
    /// The gates that will be judged, by id.
    pub gates: Vec<String>,
    /// The privilege rows that the matrix declares.
    pub privileges: DeclaredRows,
    /// Effects of the run on production, in sentences.
    pub effects: Vec<String>,
}

impl Resolved {
    /// A resolution with this operator's own gates, and what follows from the spec.
    pub fn new(
        spec: &DryRunSpec,
        config_maps: BTreeMap<String, String>,
        secrets: BTreeMap<String, String>,
        operator: Operator<'_>,
        privileges: DeclaredRows,
    ) -> Self {
        Self {
            config_maps,
            secrets,
            operator_image: operator.image.to_owned(),
            probes_namespace: operator.probes_namespace.to_owned(),
            gates: gate::ALL.iter().map(|g| g.id.to_owned()).collect(),
            privileges,
            effects: effects::of(spec),
        }
    }
}

/// The plan as status shows it.
///
/// # Errors
/// When the spec has a value that JSON cannot hold, which no stored object has.
pub fn summarise(
    namespace: &str,
    name: &str,
    spec: &DryRunSpec,
    resolved: &Resolved,
) -> Result<PlanSummary, serde_json::Error> {
    let resolved = serde_json::to_value(resolved)?;
    Ok(PlanSummary {
        hash: hash(&document(namespace, name, spec, &resolved)?)?,
        resolved,
    })
}

/// The whole plan, whose hash is approved. The report keeps it, so that a reader of the report can
/// recompute the hash.
///
/// # Errors
/// As [`summarise`].
pub fn document(
    namespace: &str,
    name: &str,
    spec: &DryRunSpec,
    resolved: &Value,
) -> Result<Value, serde_json::Error> {
    Ok(serde_json::json!({
        "namespace": namespace,
        "name": name,
        "spec": serde_json::to_value(spec)?,
        "resolved": resolved,
    }))
}

/// Returns the plan's hash, `sha256:…`: over the domain and the plan's canonical JSON (RFC 8785),
/// so that any JCS library takes it again.
///
/// # Errors
/// When a number of the plan has no exact double, which no number of a stored DryRun lacks: the CRD
/// bounds them all.
pub fn hash(plan: &Value) -> Result<String, serde_json::Error> {
    let mut hasher = Sha256::new();
    hasher.update(DOMAIN);
    hasher.update(canonical(plan)?);
    Ok(prefixed(&hasher.finalize()))
}

/// Returns the JSON that RFC 8785 gives. It writes every number as a double, so one that would be
/// rounded is an error: two plans must not share a hash.
fn canonical(plan: &Value) -> Result<String, serde_json::Error> {
    if let Some(number) = inexact(plan) {
        return Err(serde_json::Error::custom(format!(
            "{number} has no exact double"
        )));
    }
    serde_json_canonicalizer::to_string(plan)
}

/// Finds an integer beyond ±(2^53 − 1).
fn inexact(value: &Value) -> Option<&serde_json::Number> {
    match value {
        Value::Number(number) => {
            let exact = |n: u64| n <= MAX_EXACT_INTEGER;
            let fits = number
                .as_i64()
                .map(i64::unsigned_abs)
                .or(number.as_u64())
                .is_none_or(exact);
            (!fits).then_some(number)
        }
        Value::Array(items) => items.iter().find_map(inexact),
        Value::Object(map) => map.values().find_map(inexact),
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::spec;

    fn resolved() -> Resolved {
        Resolved {
            config_maps: BTreeMap::from([("iu-cutter/source.tar".into(), "ab".repeat(32))]),
            secrets: BTreeMap::from([("directus-production".into(), "41".into())]),
            operator_image: "registry.example/operator:1".into(),
            gates: vec!["G-01".into()],
            ..Resolved::default()
        }
    }

    /// The approval of a hash covers each of these.
    #[test]
    fn everything_that_decides_the_run_is_in_the_plan() {
        let resolved = Resolved::new(
            &spec(),
            resolved().config_maps,
            resolved().secrets,
            Operator {
                image: "registry.example/operator:1",
                probes_namespace: "dryrun-probes",
            },
            DeclaredRows::granted(&spec().privileges).unwrap(),
        );
        let resolved = serde_json::to_value(resolved).unwrap();
        let plan = document("rehearsal", "demo", &spec(), &resolved).unwrap();
        for pointer in [
            "/namespace",
            "/name",
            "/resolved/probesNamespace",
            "/spec/requestedBy",
            "/spec/source/host",
            "/spec/source/port",
            "/spec/source/user",
            "/spec/source/sslmode",
            "/spec/source/network/podSelector/app",
            "/spec/source/database",
            "/spec/source/systemIdentifier",
            "/spec/source/dump/jobs",
            "/spec/source/dump/lockTimeout",
            "/spec/images/allowTags",
            "/spec/postgres/image",
            "/spec/harness/image",
            "/spec/harness/inputs/0/sha256",
            "/spec/harness/scenarios/2/steps/0/sql",
            "/spec/privileges/grants/0/object",
            "/spec/privileges/mode",
            "/spec/protected/0/selector/app",
            "/spec/isolation/ownNode",
            "/spec/evidence/retain",
            "/spec/deadlines/total",
            "/resolved/configMaps/iu-cutter~1source.tar",
            "/resolved/secrets/directus-production",
            "/resolved/operatorImage",
            "/resolved/gates/24",
            "/resolved/privileges/total",
            "/resolved/privileges/grantees/cutter_exec",
            "/resolved/effects/1",
        ] {
            assert!(
                plan.pointer(pointer).is_some_and(|value| !value.is_null()),
                "{pointer} is not in {plan:#}"
            );
        }
    }

    #[test]
    fn order_of_keys_does_not_matter() {
        let a: Value =
            serde_json::from_str(r#"{"b":1,"a":{"d":[1,{"y":0,"x":"é\n"}],"c":null}}"#).unwrap();
        let b: Value =
            serde_json::from_str(r#"{"a":{"c":null,"d":[1,{"x":"é\n","y":0}]},"b":1}"#).unwrap();
        assert_eq!(
            canonical(&a).unwrap(),
            "{\"a\":{\"c\":null,\"d\":[1,{\"x\":\"é\\n\",\"y\":0}]},\"b\":1}"
        );
        assert_eq!(hash(&a).unwrap(), hash(&b).unwrap());
    }

    #[test]
    fn a_number_that_would_be_rounded_has_no_hash() {
        let plan = |n: u64| serde_json::json!({"spec": [{"delta": n}]});
        assert!(hash(&plan(MAX_EXACT_INTEGER)).is_ok());
        assert!(hash(&plan(MAX_EXACT_INTEGER + 1)).is_err());
        assert!(hash(&serde_json::json!([i64::MIN])).is_err());
    }

    #[test]
    fn whatever_decides_the_run_changes_the_hash() {
        let (spec, resolved) = (spec(), resolved());
        let base = summarise("rehearsal", "demo", &spec, &resolved)
            .unwrap()
            .hash;
        assert_eq!(
            base,
            summarise("rehearsal", "demo", &spec.clone(), &resolved.clone())
                .unwrap()
                .hash
        );
        let mut other = spec.clone();
        other.source.port = 5433;
        assert_ne!(
            base,
            summarise("rehearsal", "demo", &other, &resolved)
                .unwrap()
                .hash
        );
        let mut moved = resolved.clone();
        moved
            .secrets
            .insert("directus-production".into(), "42".into());
        assert_ne!(
            base,
            summarise("rehearsal", "demo", &spec, &moved).unwrap().hash
        );
        assert_ne!(
            base,
            summarise("elsewhere", "demo", &spec, &resolved)
                .unwrap()
                .hash
        );
    }

    #[test]
    fn a_kept_plan_has_the_hash_that_was_approved() {
        let summary = summarise("rehearsal", "demo", &spec(), &resolved()).unwrap();
        let kept = document("rehearsal", "demo", &spec(), &summary.resolved).unwrap();
        let read: Value = serde_json::from_str(&kept.to_string()).unwrap();
        assert_eq!(hash(&read).unwrap(), summary.hash);
    }

    #[test]
    fn the_hash_is_the_same_on_every_machine() {
        let plan = serde_json::json!({"name": "a", "spec": {"port": 5432, "jobs": [1, 2]}});
        assert_eq!(
            hash(&plan).unwrap(),
            "sha256:2a2ff4b8ed60cf2a3dd3c6a580076056935a460e749b4458eceadfc69a140e2e"
        );
    }
}
