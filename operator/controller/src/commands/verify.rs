//! C-11: the copy, the inputs, the pods and the objects after the scenarios.

use dryrun_core::agent_api::protocol::{Task, TaskResult};
use dryrun_core::agent_api::tasks::SearchTask;
use dryrun_core::digest;
use dryrun_core::postgres::changes::{Changes, DIFF};
use dryrun_core::postgres::matrix as privilege_rows;
use dryrun_core::postgres::row_set::Rows;
use dryrun_core::postgres::server_log::Crashes;
use dryrun_core::problem::Problem;
use dryrun_core::run::container::Container;
use dryrun_core::run::facts::{CopySummary, LeakFacts, PodInspection, VerificationFacts};
use dryrun_core::run::layout::EVIDENCE_DIR;
use dryrun_core::run::object::RunPod;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::ListParams;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

use super::{pods, protected, stage};
use crate::copy::{self, Session, baseline as kept, failed, matrix};
use crate::jobs::{Scope, confused, leaks, read};
use crate::objects;

/// Looks at the copy, the inputs, the pods and the objects, all at a time.
pub(super) async fn verify(scope: &Scope) -> Result<(VerificationFacts, PodInspection), Problem> {
    let (copy, inputs, config_maps, pod, objects) = futures::try_join!(
        scope.access.verify_copy(scope),
        stage::digest_inputs(scope),
        input_digests(scope),
        pods::inspect(scope, RunPod::Postgres),
        leaks::objects(scope),
    )?;
    let facts = VerificationFacts {
        inputs,
        config_maps,
        objects,
        ..copy
    };
    Ok((facts, pod))
}

/// Compares the copy with what was kept of it before the scenarios.
pub(crate) async fn verify_copy(scope: &Scope) -> Result<VerificationFacts, Problem> {
    let endpoint = scope.copy().await?;
    let maintenance = Session::maintenance(&endpoint).await?;
    let session = maintenance
        .restored(&endpoint, &scope.spec.source.database)
        .await?;
    let before = |kind: &'static str| kept::kept(&maintenance, kind);
    let (counts_before, catalog_before) = (
        Rows::parse(&before("counts").await?).unwrap_or_default(),
        Rows::parse(&before("catalog").await?).unwrap_or_default(),
    );
    let privileges_before = matrix::parsed(&before("privileges").await?);
    let (counts, effects) = copy::effects::compare(
        &session,
        &maintenance,
        scope.facts.scenarios.len(),
        &numbers(&counts_before),
        &scope.spec.verification,
    )
    .await?;
    let catalog = dryrun_postgres::catalog(session.client())
        .await
        .map_err(failed)?;
    let privileges = dryrun_postgres::privileges(session.client())
        .await
        .map_err(failed)?
        .rows;
    let own = matrix::own(&scope.run);
    let changes = Changes::of_catalog(&catalog_before, &catalog).and_privileges(
        &privileges_before,
        &privileges,
        &own,
    );
    kept::keep(&maintenance, DIFF, &changes.to_text()).await?;
    let judged = changes.judge(&scope.spec.verification.catalog_changes);
    let held = judged.undone(&privileges_before, &privileges, &own);
    let difference =
        matrix::compare_again(&session, &maintenance, &scope.run, &privileges, &held).await?;
    let requirements = scope.dump()?.requirements.clone().unwrap_or_default();
    let settings = copy::settings::compare(&endpoint, &maintenance, &requirements).await?;

    let tables = scope
        .spec
        .verification
        .tables
        .iter()
        .map(|table| {
            let rows = counts.get(table).copied();
            (table.clone(), rows.and_then(|rows| rows.try_into().ok()))
        })
        .collect();
    let mut crashes = Crashes::default();
    copy::log::entries(&maintenance, |entry| crashes.add(entry)).await?;
    let pods = scope.pods();
    let labelled = ListParams::default().labels(&scope.run.selector());
    let pods = read("PodsUnreadable", "the run's pods", pods.list(&labelled)).await?;
    Ok(VerificationFacts {
        after: CopySummary {
            counts: rows(&counts).summary(),
            catalog: catalog.summary(),
            privileges: privilege_rows::summary(&privileges),
        },
        effects,
        tables,
        catalog_changes: judged.catalog,
        privilege_changes: judged.privileges,
        changes_digest: changes.digest(),
        matrix: difference,
        pods: pods.iter().map(protected::fingerprint).collect(),
        crashes: crashes.finish(),
        settings,
        ..VerificationFacts::default()
    })
}

/// Reads the changes of the scenarios, which were kept when the copy was compared.
pub(crate) async fn changes(scope: &Scope) -> Result<String, Problem> {
    kept::kept(&Session::maintenance(&scope.copy().await?).await?, DIFF).await
}

fn numbers(rows: &Rows) -> BTreeMap<String, u64> {
    rows.iter()
        .filter_map(|(table, count)| Some((table.to_owned(), count.parse().ok()?)))
        .collect()
}

fn rows(counts: &BTreeMap<String, u64>) -> Rows {
    let mut rows = Rows::default();
    for (table, count) in counts {
        rows.insert(&[table], &count.to_string());
    }
    rows
}

/// sha256 of each ConfigMap key that holds an input; empty for one that is gone.
async fn input_digests(scope: &Scope) -> Result<BTreeMap<String, String>, Problem> {
    let api: Api<ConfigMap> = Api::namespaced(scope.client.clone(), &scope.run.namespace);
    let mut digests = BTreeMap::new();
    for input in &scope.spec.harness.inputs {
        let reference = &input.config_map_ref;
        let reading = api.get_opt(&reference.name);
        let found = read("ConfigMapUnreadable", "an input's ConfigMap", reading).await?;
        let digest = found
            .and_then(|map| objects::config_map_bytes(&map, &reference.key))
            .map(|bytes| digest::hex(&Sha256::digest(&bytes)));
        digests.insert(
            format!("{}/{}", reference.name, reference.key),
            digest.unwrap_or_default(),
        );
    }
    Ok(digests)
}

/// Lets the seal pod search everything that the run has written.
pub(super) async fn search(scope: &Scope) -> Result<LeakFacts, Problem> {
    let task = Task::Search(wanted(scope));
    let agent = scope.agent(Container::Seal).await?;
    let TaskResult::Search(facts) = agent.run("search", &task).await? else {
        return Err(confused());
    };
    Ok(facts)
}

pub(super) fn wanted(scope: &Scope) -> SearchTask {
    SearchTask {
        directory: EVIDENCE_DIR.into(),
        run_uid: scope.run.uid.clone(),
        scenarios: scope.spec.harness.scenarios.len(),
        roles: leaks::roles(scope),
    }
}
