//! C-12: the seal pod seals what is kept; the operator stores it beside the report.

use dryrun_core::agent_api::protocol::{Task, TaskResult};
use dryrun_core::agent_api::tasks::SealTask;
use dryrun_core::api::{DryRunReport, bytes_of};
use dryrun_core::digest;
use dryrun_core::gate::{self, Evidence};
use dryrun_core::postgres::changes::DIFF;
use dryrun_core::problem::Problem;
use dryrun_core::run::container::Container;
use dryrun_core::run::facts::{EvidenceFacts, LeakFacts};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::PostParams;
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

use super::stage::setup_log;
use super::verify::{search, wanted};
use crate::error::call;
use crate::jobs::{Scope, confused, read};
use crate::objects;

/// Bytes of the archive in one ConfigMap: etcd takes at most 1.5 MiB in one request, and a
/// ConfigMap holds 1 MiB.
const PART: usize = 900 << 10;
/// Bytes of the changes that are kept: a task has at most 8 MiB, in JSON.
const DIFF_BYTES: usize = 3 << 20;
/// Key of a part.
const KEY: &str = "archive";

/// Seals when everything is there.
pub(super) async fn seal(scope: &Scope) -> Result<EvidenceFacts, Problem> {
    keep(scope, false).await
}

/// Seals what there is for C-13 when C-12 was not reached, and searches it as well.
pub(super) async fn seal_partly(scope: &Scope) -> Result<(EvidenceFacts, LeakFacts), Problem> {
    let found = search(scope).await?;
    Ok((keep(scope, true).await?, found))
}

async fn keep(scope: &Scope, partial: bool) -> Result<EvidenceFacts, Problem> {
    let report = report(scope).await?;
    let changes = match scope.facts.verification {
        None => None,
        // The copy's server may have broken down since.
        Some(_) if partial => scope.access.changes(scope).await.ok(),
        Some(_) => Some(scope.access.changes(scope).await?),
    };
    let traced = scope.spec.verification.trace;
    let task = Task::Seal(SealTask {
        search: wanted(scope),
        documents: documents(scope, &report, changes)?,
        logs: logs(scope),
        unfinished: if partial { unfinished(scope) } else { None },
        trace_roles: if traced {
            scope.spec.privileges.roles.keys().cloned().collect()
        } else {
            Vec::new()
        },
        max_bytes: bytes_of(&scope.spec.evidence.max_size)
            .map_err(|e| Problem::permanent("InvalidQuantity", e.to_string()))?,
    });
    let agent = scope.agent(Container::Seal).await?;
    // A new id for each task: the documents may be others after a restart of the operator.
    let task_digest = digest::hex(&Sha256::digest(
        serde_json::to_vec(&task).map_err(|e| Problem::permanent("InvalidTask", e.to_string()))?,
    ));
    let id = if partial { "seal-partly" } else { "seal" };
    let TaskResult::Seal(seal) = agent.run(&format!("{id}-{task_digest}"), &task).await? else {
        return Err(confused());
    };
    if seal.search.found_count > 0 {
        // What is not clean is not kept.
        return Ok(EvidenceFacts {
            seal,
            partial,
            ..EvidenceFacts::default()
        });
    }
    let archive = agent.archive().await?;
    if digest::prefixed(&Sha256::digest(&archive)) != seal.archive {
        return Err(Problem::transient(
            "ArchiveDiffers",
            "the archive came broken",
        ));
    }
    let (config_maps, stored) = store(scope, &report, partial, &archive).await?;
    Ok(EvidenceFacts {
        seal,
        partial,
        config_maps,
        stored,
        problem: None,
    })
}

/// The logs of all containers that have ended, with the digests that came with the ends: later ones
/// could change or forge what earlier ones have written.
fn logs(scope: &Scope) -> BTreeMap<String, String> {
    let (harness, facts) = (&scope.spec.harness, &scope.facts);
    let setup = facts.setup.iter().enumerate();
    let setup = setup.map(|(i, claim)| (setup_log(i), claim));
    let scenarios = harness.scenarios.iter().zip(&facts.scenarios);
    let scenarios = scenarios.map(|(scenario, facts)| (scenario.name.clone(), &facts.claim));
    setup
        .chain(scenarios)
        .map(|(name, claim)| (name, claim.log_digest.clone()))
        .collect()
}

/// The log of the setup command or scenario that was to end next. What has not begun has none.
fn unfinished(scope: &Scope) -> Option<String> {
    let (harness, facts) = (&scope.spec.harness, &scope.facts);
    let setup = facts.setup.len();
    if setup < harness.setup.len() {
        return Some(setup_log(setup));
    }
    let next = harness.scenarios.get(facts.scenarios.len());
    next.map(|scenario| scenario.name.clone())
}

async fn report(scope: &Scope) -> Result<DryRunReport, Problem> {
    let api: Api<DryRunReport> = Api::namespaced(scope.client.clone(), &scope.run.namespace);
    let name = scope.run.report();
    read("ReportUnreadable", "the report", api.get(&name)).await
}

/// Returns the documents that the operator itself has about the run: with them the archive can be
/// read without the cluster.
fn documents(
    scope: &Scope,
    report: &DryRunReport,
    changes: Option<String>,
) -> Result<BTreeMap<String, String>, Problem> {
    let evidence = Evidence {
        spec: &scope.spec,
        facts: &scope.facts,
        uid: &scope.run.uid,
    };
    let gates: Vec<Value> = gate::judge(&evidence, &[])
        .into_iter()
        .map(|(gate, verdict)| {
            json!({
                "gate": gate.id,
                "condition": gate.name,
                "status": verdict.status.as_str(),
                "reason": verdict.reason,
                "message": verdict.message,
            })
        })
        .collect();
    let spec = &report.spec;
    let approval = json!({
        "dryRunName": spec.dry_run_name,
        "dryRunUID": spec.dry_run_uid,
        "planHash": spec.plan_hash,
        "requestedBy": spec.requested_by,
        "approvedBy": spec.approved_by,
        "approvalName": spec.approval_name,
        "approvalUID": spec.approval_uid,
    });
    let text = |value: &Value| {
        serde_json::to_string_pretty(value)
            .map(|text| text + "\n")
            .map_err(|e| Problem::permanent("InvalidDocument", e.to_string()))
    };
    let facts = serde_json::to_value(&*scope.facts)
        .map_err(|e| Problem::permanent("InvalidDocument", e.to_string()))?;
    let mut documents = BTreeMap::from([
        ("plan.json".to_owned(), text(&spec.plan)?),
        ("approval.json".to_owned(), text(&approval)?),
        ("facts.json".to_owned(), text(&facts)?),
        ("gates.json".to_owned(), text(&Value::Array(gates))?),
    ]);
    documents.extend(changes.map(|changes| (DIFF.to_owned(), bounded(changes))));
    Ok(documents)
}

/// As many whole lines as the agent takes beside the other documents.
fn bounded(mut text: String) -> String {
    if let Some(head) = text.as_bytes().get(..DIFF_BYTES) {
        let end = head
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        text.truncate(end);
        text.push_str("(cut)\n");
    }
    text
}

/// Stores the archive in immutable ConfigMaps that go with the report, and reads it back: their
/// names, and the sha256 of what is there.
async fn store(
    scope: &Scope,
    report: &DryRunReport,
    partial: bool,
    archive: &[u8],
) -> Result<(Vec<String>, String), Problem> {
    let api: Api<ConfigMap> = Api::namespaced(scope.client.clone(), &scope.run.namespace);
    let (mut stored, mut digest) = (Vec::new(), Sha256::new());
    for (i, part) in archive.chunks(PART).enumerate() {
        let name = scope.run.evidence(partial, i);
        let map = config_map(scope, report, &name, part);
        match call(
            "store the evidence",
            api.create(&PostParams::default(), &map),
        )
        .await
        {
            // An answer was lost: it is read back below like any other.
            Err(error) if error.is_already_exists() => {}
            other => drop(other.map_err(|e| Problem::transient("EvidenceNotStored", e))?),
        }
        let found = read("EvidenceUnreadable", "the evidence", api.get(&name)).await?;
        digest.update(objects::config_map_bytes(&found, KEY).unwrap_or_default());
        stored.push(name);
    }
    Ok((stored, digest::prefixed(&digest.finalize())))
}

fn config_map(scope: &Scope, report: &DryRunReport, name: &str, part: &[u8]) -> ConfigMap {
    let owner = OwnerReference {
        api_version: DryRunReport::api_version(&()).into_owned(),
        kind: DryRunReport::kind(&()).into_owned(),
        name: report.name_any(),
        uid: report.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    };
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(scope.run.namespace.clone()),
            labels: Some(scope.run.retained_labels()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        immutable: Some(true),
        binary_data: Some(BTreeMap::from([(
            KEY.to_owned(),
            ByteString(part.to_vec()),
        )])),
        data: None,
    }
}
