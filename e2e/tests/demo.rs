//! The demo's manifests and its tool, without a cluster.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use anyhow::Result;
use dryrun_core::api::{DryRun, DryRunApproval, Privilege};
use dryrun_e2e::toolchain::workspace;

fn demo(path: &str) -> PathBuf {
    workspace().join("e2e/demo").join(path)
}

fn manifest<T: serde::de::DeserializeOwned>(path: &str, values: &[(&str, &str)]) -> Result<T> {
    let text = fs::read_to_string(demo(path))?;
    let filled = values.iter().fold(text, |text, (name, value)| {
        text.replace(&format!("${{{name}}}"), value)
    });
    Ok(serde_saphyr::from_str(&filled)?)
}

fn dry_run() -> Result<DryRun> {
    let digest = "0".repeat(64);
    let values = [
        ("SYSTEM_IDENTIFIER", "7611578671664259111"),
        ("IU_CUTTER_SHA256", &digest),
        ("DR_HARNESS_SHA256", &digest),
    ];
    manifest("dryrun.yaml", &values)
}

#[test]
fn the_matrix_has_the_reviewed_privilege_counts() {
    let mut privileges = BTreeMap::<String, usize>::new();
    let mut columns = 0;
    for grant in dry_run().unwrap().spec.privileges.grants {
        let (class, name) = grant.object.split_once(':').unwrap();
        assert!(
            !name.contains('*'),
            "{name}: every privilege is written out"
        );
        *privileges.entry(class.to_owned()).or_default() += grant.privileges.len();
        columns += grant.columns.get(&Privilege::Update).map_or(0, Vec::len);
    }
    assert_eq!(
        (privileges["table"], columns, privileges["view"]),
        (33, 3, 13)
    );
    assert_eq!((privileges["schema"], privileges["database"]), (3, 2));
}

#[test]
fn all_twelve_scenarios_are_declared_in_order() {
    let scenarios = dry_run().unwrap().spec.harness.scenarios;
    let names: Vec<_> = scenarios
        .iter()
        .map(|scenario| scenario.name.as_str())
        .collect();
    let expected = [
        "S1",
        "S2",
        "S3",
        "S4",
        "S5",
        "S6",
        "S7",
        "S8",
        "S9",
        "S10",
        "S10-delete",
        "S11",
        "S11-views",
        "S12",
    ];
    assert_eq!(names, expected);
}

#[test]
fn tables_with_declared_changes_are_verified() {
    let verification = dry_run().unwrap().spec.verification;
    assert_eq!(verification.tables.len(), 12);
    assert!(
        verification
            .all_row_changes()
            .all(|change| verification.tables.contains(&change.table))
    );
}

#[test]
fn the_approval_names_the_run() {
    let run = dry_run().unwrap();
    let (uid, hash) = ("0".repeat(36), format!("sha256:{}", "0".repeat(64)));
    let values = [
        ("DRY_RUN_UID", uid.as_str()),
        ("PLAN_HASH", &hash),
        ("EXPIRES_AT", "2026-05-17T12:00:00Z"),
    ];
    let approval: DryRunApproval = manifest("approval.yaml", &values).unwrap();
    assert_eq!(
        Some(&approval.spec.dry_run_name),
        run.metadata.name.as_ref()
    );
    assert_eq!(approval.metadata.namespace, run.metadata.namespace);
    assert_ne!(approval.spec.approved_by, run.spec.requested_by);
}

#[test]
fn the_tool_passes_its_own_tests() {
    let unittest = Command::new("python3")
        .args(["-B", "-m", "unittest", "--quiet"])
        .current_dir(demo("iu-cutter"))
        .output();
    match unittest {
        Ok(output) => assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(missing) => {
            assert!(
                std::env::var_os("DRYRUN_TESTS_MUST_RUN").is_none(),
                "python3: {missing}"
            );
            eprintln!("skipped: python3: {missing}");
        }
    }
}
