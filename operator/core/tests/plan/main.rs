//! Hashes that must be the same on every machine and in every version: what an approver approved
//! yesterday must not be called changed today.
//!
//! `vectors.json` has whole plans, each twice, with the keys of its maps in another order, and the
//! hash that both must have. To make a new one, write plan and hash down, and let the failing test
//! say the hash; then take it a second time by other means:
//!
//! ```sh
//! { printf 'dryrun.dev/v1alpha1 plan (RFC 8785)\n'; jq --sort-keys --compact-output --join-output .plan new.json; } | sha256sum
//! ```
//!
//! (jq sorts keys by code point and RFC 8785 by UTF-16 unit, and they print U+007F differently; no
//! plan here has such a key.) A hash that stands here is never changed. Should the canonical form
//! or what a plan consists of have to change in meaning, the version in the domain changes with it,
//! and new vectors join the old ones.

#![allow(clippy::unwrap_used, reason = "a helper of a test may panic")]

use dryrun_core::api::DryRunSpec;
use dryrun_core::plan;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Vector {
    name: String,
    hash: String,
    plan: Value,
    again: Value,
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

#[test]
fn a_plan_has_its_hash_in_any_order_of_keys() {
    for Vector {
        name,
        hash,
        plan,
        again,
    } in vectors()
    {
        assert_eq!(plan::hash(&plan).unwrap(), hash, "{name}");
        assert_eq!(
            plan::hash(&again).unwrap(),
            hash,
            "{name}, in another order"
        );
    }
}

/// The second text of each plan says the same, and really is in another order.
#[test]
fn the_second_order_is_another() {
    let all = vectors();
    assert!(all.iter().all(|vector| vector.plan == vector.again));
    let texts = include_str!("vectors.json").split("\"again\": ");
    let first_keys = texts.map(|text| text.split('"').nth(1)).skip(1);
    assert_eq!(first_keys.collect::<Vec<_>>(), [Some("spec"); 3]);
}

/// A default that changes would change every plan that does not state the field: the hash would be
/// another for the same intent.
#[test]
fn a_spec_is_written_as_it_was() {
    let mut specs = 0;
    for Vector { name, plan, .. } in vectors() {
        let Ok(spec) = serde_json::from_value::<DryRunSpec>(plan["spec"].clone()) else {
            continue;
        };
        specs += 1;
        assert_eq!(serde_json::to_value(spec).unwrap(), plan["spec"], "{name}");
    }
    assert_eq!(specs, 2);
}
