//! C-11: the copy, the inputs, the pods and the objects after the scenarios.

use dryrun_core::agent_api::protocol::{Task, TaskResult};
use dryrun_core::agent_api::tasks::SearchTask;
use dryrun_core::api::RowDelta;
use dryrun_core::digest;
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

use super::{pods, protected, roles, stage};
use crate::copy::{self, Session, baseline as kept, failed, matrix};
use crate::jobs::{Scope, confused, leaks, read};
use crate::objects;

/// How many changed catalog rows, and how many tables that moved undeclared, stand in the facts: the report must fit into etcd.
const CHANGES_SHOWN: usize = 100;

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
    let before = |kind: &'static str| {
        let maintenance = &maintenance;
        async move {
            Ok::<_, Problem>(Rows::parse(&kept::kept(maintenance, kind).await?).unwrap_or_default())
        }
    };
    let (counts_before, catalog_before, privileges_before) = (
        before("counts").await?,
        before("catalog").await?,
        before("privileges").await?,
    );
    let counts = dryrun_postgres::counts(session.client())
        .await
        .map_err(failed)?;
    let catalog = dryrun_postgres::catalog(session.client())
        .await
        .map_err(failed)?;
    let literal = roles::literal(scope).await?;
    let (difference, privileges) = matrix::compare_again(
        &session,
        &maintenance,
        &roles::declared(scope, literal.as_ref()),
    )
    .await?;
    let requirements = scope.dump()?.requirements.clone().unwrap_or_default();
    let settings = copy::settings::compare(&endpoint, &maintenance, &requirements).await?;

    let changed: Vec<String> = catalog
        .differing(&catalog_before, None)
        .iter()
        .map(|identity| identity.replace('\t', " "))
        .collect();
    let now = numbers(&counts);
    let moved = moved(&numbers(&counts_before), &now);
    let tables = scope
        .spec
        .verification
        .tables
        .iter()
        .map(|table| (table.clone(), now.get(table).copied()))
        .collect();
    let mut crashes = Crashes::default();
    copy::log::entries(&maintenance, |entry| crashes.add(entry)).await?;
    let pods = scope.pods();
    let labelled = ListParams::default().labels(&scope.run.selector());
    let pods = read("PodsUnreadable", "the run's pods", pods.list(&labelled)).await?;
    Ok(VerificationFacts {
        after: CopySummary {
            counts: counts.summary(),
            catalog: catalog.summary(),
            privileges: privileges.summary(),
        },
        moved_count: moved.len() as u64,
        moved: shown(moved, &scope.spec.verification.row_deltas),
        tables,
        catalog_changed_count: changed.len() as u64,
        catalog_changed: changed.into_iter().take(CHANGES_SHOWN).collect(),
        matrix: difference,
        privileges_changed: privileges.difference(&privileges_before, None),
        pods: pods.iter().map(protected::fingerprint).collect(),
        crashes: crashes.finish(),
        settings,
        ..VerificationFacts::default()
    })
}

fn numbers(rows: &Rows) -> BTreeMap<String, i64> {
    rows.iter()
        .filter_map(|(table, count)| Some((table.to_owned(), count.parse().ok()?)))
        .collect()
}

/// Tables whose count differs; one that is there only once counts as empty where it is not.
fn moved(before: &BTreeMap<String, i64>, now: &BTreeMap<String, i64>) -> BTreeMap<String, i64> {
    before
        .keys()
        .chain(now.keys())
        .map(|table| {
            (
                table.clone(),
                now.get(table).unwrap_or(&0) - before.get(table).unwrap_or(&0),
            )
        })
        .filter(|(_, delta)| *delta != 0)
        .collect()
}

/// Those that are declared to move, and a few others: one that is not declared is enough to fail.
fn shown(moved: BTreeMap<String, i64>, declared: &[RowDelta]) -> BTreeMap<String, i64> {
    let (mut shown, others): (BTreeMap<_, _>, BTreeMap<_, _>) = moved
        .into_iter()
        .partition(|(table, _)| declared.iter().any(|delta| delta.table == *table));
    shown.extend(others.into_iter().take(CHANGES_SHOWN));
    shown
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

/// Lets the seal pod search all that the run has written.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(tables: impl IntoIterator<Item = (usize, i64)>) -> BTreeMap<String, i64> {
        let named = |(table, count)| (format!("public.t{table:05}"), count);
        tables.into_iter().map(named).collect()
    }

    #[test]
    fn declared_tables_and_a_few_others_are_shown() {
        let moved = moved(
            &counts((0..15_000).map(|table| (table, 1))),
            &counts((1..15_001).map(|table| (table, if table == 7 { 1 } else { 3 }))),
        );
        assert_eq!(moved.len(), 15_000);
        assert_eq!(moved["public.t00000"], -1);
        assert_eq!(moved["public.t15000"], 3);
        let declared = RowDelta {
            table: "public.t14000".into(),
            delta: 2,
        };
        let shown = shown(moved, &[declared]);
        assert_eq!(shown.len(), CHANGES_SHOWN + 1);
        assert_eq!(shown["public.t14000"], 2);
        assert!(self::shown(counts([(1, 1)]), &[]).len() == 1);
    }
}
