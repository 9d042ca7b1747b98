//! Requesters who want more than a rehearsal.

use dryrun_core::digest;
use dryrun_core::run::facts::LoggedError;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::cluster::{Cluster, NAMESPACE, create};
use crate::model_apiserver::faults::{Effect, Fault, forbidden, invalid, on};

/// Any Secret of the namespace could be sent to a server of the requester's.
#[test]
fn a_secret_is_not_sent_where_its_holder_has_not_said() {
    for (name, at, value) in [
        (
            "another team's Secret",
            "/source/passwordSecretRef/name",
            json!("payroll-production"),
        ),
        (
            "a Secret that does not exist",
            "/source/passwordSecretRef/name",
            json!("absent"),
        ),
        ("another host", "/source/host", json!("192.0.2.66")),
        ("another port", "/source/port", json!(5433)),
        ("another user", "/source/user", json!("postgres")),
        ("no verification", "/source/sslmode", json!("disable")),
        ("clear text", "/source/authentication", json!("any")),
    ] {
        let cluster = Cluster::new().spec(|spec| {
            let (parent, field) = at.rsplit_once('/').unwrap();
            spec.pointer_mut(parent).unwrap()[field] = value;
        });
        let message = cluster
            .operate(async {
                cluster.ask().await;
                cluster.condition("Approved", "SecretNotBound").await
            })
            .unwrap();
        assert!(
            message.contains("kubectl -n rehearsal annotate --overwrite secret"),
            "{name}: {message}"
        );
        let plan = cluster.run().unwrap().status.unwrap().plan;
        assert_eq!(plan, None, "{name}: no plan is shown");
    }
}

/// The set of Secrets and their keys is hidden from a requester.
#[test]
fn a_secret_that_is_not_bound_is_not_told_from_one_that_is_missing() {
    let told = |name: &str, key: &str| {
        let cluster = Cluster::new().spec(|spec| {
            spec["source"]["passwordSecretRef"] = json!({"name": name, "key": key});
        });
        let message = cluster.operate(async {
            cluster.ask().await;
            cluster.condition("Approved", "SecretNotBound").await
        });
        let read = on(&format!("get secrets/{name}"));
        let read = cluster
            .model
            .calls()
            .iter()
            .filter(|call| read(call))
            .count();
        (message.unwrap().replace(name, "NAME"), read)
    };
    let (missing, reads_missing) = told("absent", "password");
    let (foreign, reads_foreign) = told("payroll-production", "password");
    let (keyless, _) = told("payroll-production", "absent");
    assert_eq!(missing, foreign);
    assert_eq!(foreign, keyless);
    // And its contents never came here: the first request of each look is for metadata alone.
    assert_eq!(reads_missing, reads_foreign);
}

/// The command of the message suffices.
#[test]
fn a_holder_binds_a_secret_and_the_run_passes() {
    let cluster = Cluster::new().spec(|spec| spec["source"]["database"] = json!("other"));
    let status = cluster.operate(async {
        cluster.ask().await;
        let message = cluster.condition("Approved", "SecretNotBound").await;
        let (_, value) = message.split_once("dryrun.dev/source='").unwrap();
        let patch = json!({"metadata": {"annotations": {"dryrun.dev/source": value.trim_end_matches('\'')}}});
        let secrets: Api<Secret> = Api::namespaced(cluster.model.user(), NAMESPACE);
        secrets
            .patch("directus-production", &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
        cluster.approve().await;
        cluster.ended().await
    });
    cluster.assert_passed(&status.unwrap(), "bound while it was waited for");
}

/// A plan was shown and approved; what it may use is looked at once more before anything is made.
#[test]
fn a_secret_that_is_taken_back_before_the_run_begins_is_not_used() {
    let cluster = Cluster::new();
    let message = cluster.operate(async {
        cluster.ask().await;
        cluster.condition("Approved", "AwaitingApproval").await;
        let patch = json!({"metadata": {"annotations": {"dryrun.dev/source": null}}});
        let secrets: Api<Secret> = Api::namespaced(cluster.model.user(), NAMESPACE);
        secrets
            .patch(
                "directus-production",
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .await
            .unwrap();
        cluster.approve().await;
        cluster.condition("Approved", "SecretNotBound").await
    });
    assert!(message.is_some());
    assert_eq!(cluster.done(on("create dryrunreports/*")), 0);
    assert_eq!(cluster.done(on("create pods/*")), 0);
}

#[test]
fn the_chart_can_bind_a_secret() {
    let mut cluster = Cluster::new().spec(|spec| {
        spec["source"]["passwordSecretRef"]["name"] = json!("payroll-production");
    });
    let source = "postgresql://dump_ro@192.0.2.10:5432/directus?sslmode=verify-full";
    cluster.sources = vec![format!("{NAMESPACE}/payroll-production={source}")];
    cluster.operate(async {
        cluster.ask().await;
        cluster.condition("Approved", "AwaitingApproval").await;
    });
}

/// 29 kB that any user who may apply a DryRun can make the operator read took it 280 MiB of memory,
/// and again after every restart.
#[test]
fn a_matrix_of_a_million_rows_is_refused_with_a_sentence() {
    let mut lines: Vec<String> = (0..932_064)
        .map(|row: u32| {
            let digits = [46_656, 1296, 36, 1].map(|place| row / place % 36);
            let name: String = digits
                .iter()
                .filter_map(|digit| char::from_digit(*digit, 36))
                .collect();
            format!("a\t{name}\ta\ta\ttrue\t+\n")
        })
        .collect();
    lines.sort_unstable();
    let bomb = zstd::encode_all(lines.concat().as_bytes(), 19).unwrap();
    assert!(bomb.len() < 64 << 10, "{} bytes", bomb.len());
    let digest = digest::hex(&Sha256::digest(&bomb));
    let cluster = Cluster::new().spec(|spec| {
        spec["privileges"]["grants"] = json!([]);
        spec["privileges"]["matrixRef"] =
            json!({"configMapRef": {"name": "matrix", "key": "matrix.tsv.zst"}, "sha256": digest});
    });
    let message = cluster.operate(async {
        let bytes = k8s_openapi::ByteString(bomb);
        let map = json!({"metadata": {"name": "matrix", "namespace": NAMESPACE}, "binaryData": {"matrix.tsv.zst": bytes}});
        create::<ConfigMap>(&cluster.model.user(), map).await;
        cluster.ask().await;
        cluster.condition("Approved", "MatrixInvalid").await
    });
    assert!(message.unwrap().contains("more than 200000 rows"));
}

/// Reports hold the whole spec, and everything of the run beside it.
#[test]
fn a_spec_that_no_report_could_hold_is_refused() {
    let cluster = Cluster::new().spec(|spec| {
        let step = json!({"sql": format!("SELECT 1 /* {} */", "x".repeat(60_000))});
        spec["harness"]["scenarios"][2]["steps"] = json!([step, step, step, step]);
        spec["harness"]["scenarios"][2]
            .as_object_mut()
            .unwrap()
            .remove("twin");
    });
    let message = cluster.operate(async {
        cluster.ask().await;
        cluster.condition("Approved", "SpecTooLarge").await
    });
    assert!(message.unwrap().contains("may have 200"));
}

#[test]
fn evidence_that_no_cluster_should_hold_is_refused() {
    let cluster = Cluster::new().spec(|spec| spec["evidence"] = json!({"maxSize": "1Gi"}));
    let message = cluster.operate(async {
        cluster.ask().await;
        cluster.condition("Approved", "EvidenceTooLarge").await
    });
    assert!(message.unwrap().contains("may be 40Mi"));
}

/// 7,000 tables that cannot be restored, or a tool that probes as many names, made a report that
/// etcd refuses: the run was never torn down.
#[test]
fn a_run_whose_report_would_be_too_large_is_torn_down_and_says_so() {
    let cluster = Cluster::finding(|facts| {
        let errors = (0..20_000).map(|n| LoggedError {
            sqlstate: "42P01".into(),
            message: format!("relation \"{n:0100}\" does not exist"),
            ..LoggedError::default()
        });
        facts.restore.as_mut().unwrap().logged = errors.collect();
    });
    let status = cluster.complete();
    assert_eq!(status.outcome.unwrap().as_str(), "Failed");
    assert!(status.failed_gate.unwrap().starts_with("G-08"));
    cluster.assert_nothing_left("a report too large");
    let report = cluster.report().unwrap().status.unwrap();
    assert!(report.outcome.is_some());
    let stopped = report.facts.stopped.unwrap();
    assert_eq!(stopped.problem.reason, "ReportTooLarge");
    assert!(
        stopped.problem.message.contains("restore ("),
        "{}",
        stopped.problem
    );
}

/// Whenever the apiserver refuses a report, no object of the run stays because of it.
#[test]
fn a_report_that_is_refused_for_good_holds_up_no_teardown() {
    let refusals: [fn() -> Effect; 2] =
        [|| Effect::Refuse(forbidden()), || Effect::Refuse(invalid())];
    for refusal in refusals {
        let cluster = Cluster::new();
        cluster.pods.stick("scenario-0");
        cluster.operate(async {
            cluster.begin().await;
            cluster.pods.stuck().await;
            let reports = on("apply dryrunreports/*/status");
            cluster
                .model
                .fault(Fault::times(usize::MAX, reports, refusal));
            cluster.delete().await;
            cluster.gone().await;
        });
        cluster.assert_nothing_left("a report that is refused");
    }
}
