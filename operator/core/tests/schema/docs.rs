//! Every manifest that people read, in the README and in the demo, is one that would be accepted.

use std::path::Path;

use dryrun_core::api::{DryRun, DryRunApproval, bytes_of};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::schemas::refusals;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The YAML blocks of a Markdown text.
fn blocks(markdown: &str) -> Vec<&str> {
    markdown
        .split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

/// Reads a manifest strictly and asks the schema's rules.
fn accept<T: DeserializeOwned>(kind: &str, manifest: &str) -> T {
    let value: Value = serde_saphyr::from_str(manifest).unwrap();
    assert_eq!(value["kind"], kind);
    assert_eq!(refusals(kind, &value, None), Vec::<String>::new());
    serde_saphyr::from_str(manifest).unwrap_or_else(|error| panic!("{kind}: {error}"))
}

/// Every key of these values is one of the chart's.
fn assert_known(path: &str, values: &Value, known: &Value) {
    for (key, value) in values.as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        assert!(!known[key].is_null(), "the chart has no {path}");
        assert_known(&path, value, &known[key]);
    }
}

#[test]
fn manifests_of_the_readme() {
    let readme = read("README.md");
    let [run, matrix, approval, isolation, values] = blocks(&readme)[..] else {
        panic!(
            "the README has a DryRun, a matrix, an approval, an isolation and values of the chart"
        )
    };
    let [values, known] = [values, &read("charts/dryrun-operator/values.yaml")]
        .map(|text| serde_saphyr::from_str::<Value>(text).unwrap());
    assert_known("values", &values, &known);
    for (part, of) in [(matrix, "privileges"), (isolation, "isolation")] {
        let mut with_part: Value = serde_saphyr::from_str(run).unwrap();
        let part: Value = serde_saphyr::from_str(part).unwrap();
        with_part["spec"][of] = part[of].clone();
        let _: DryRun = accept("DryRun", &serde_json::to_string(&with_part).unwrap());
    }
    let run: DryRun = accept("DryRun", run);
    assert!(bytes_of(&run.spec.postgres.storage.size).is_ok());
    let approval: DryRunApproval = accept("DryRunApproval", approval);
    assert_eq!(Some(approval.spec.dry_run_name), run.metadata.name);
}

#[test]
fn manifests_of_the_demo() {
    let digest = "0".repeat(64);
    let run = read("e2e/demo/dryrun.yaml")
        .replace("${SYSTEM_IDENTIFIER}", "7611578671664259111")
        .replace("${IU_CUTTER_SHA256}", &digest)
        .replace("${DR_HARNESS_SHA256}", &digest);
    let run: DryRun = accept("DryRun", &run);
    let approval = read("e2e/demo/approval.yaml")
        .replace("${DRY_RUN_UID}", "4c2f7a52-6d0e-4c36-9a53-0f8f6f0f3a11")
        .replace("${PLAN_HASH}", &format!("sha256:{digest}"))
        .replace("${EXPIRES_AT}", "2030-01-31T18:00:00Z");
    let approval: DryRunApproval = accept("DryRunApproval", &approval);
    assert_eq!(Some(approval.spec.dry_run_name), run.metadata.name);
    assert_ne!(approval.spec.approved_by, run.spec.requested_by);
}
