//! The core's table of schema rules, which it checks with its own CEL implementation, and the
//! README's manifests, checked by a real apiserver.

use anyhow::{Context, Result};
use dryrun_core::api::DryRun;
use dryrun_e2e::toolchain::workspace;
use serde::Deserialize;
use serde_json::Value;

use crate::actors::{Actors, Expected, expect};
use crate::release::REHEARSAL;

#[derive(Deserialize)]
struct Table {
    example: Value,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    sentence: String,
    at: String,
    refused: Vec<Value>,
    accepted: Vec<Value>,
}

pub(crate) async fn check(actors: &Actors) -> Result<()> {
    let table: Table = serde_saphyr::from_str(include_str!(
        "../../../operator/core/tests/schema/rules.yaml"
    ))?;
    let example = as_alice(actors, table.example);
    create(actors, "the example", Expected::Accepted, &example).await?;
    for rule in &table.rules {
        let refused = rule
            .refused
            .iter()
            .map(|value| (value, Expected::Refused(&rule.sentence)));
        let accepted = rule
            .accepted
            .iter()
            .map(|value| (value, Expected::Accepted));
        for (value, expected) in refused.chain(accepted) {
            let mut object = example.clone();
            *object
                .pointer_mut(&rule.at)
                .with_context(|| format!("the example has no {}", rule.at))? = value.clone();
            create(
                actors,
                &format!("{} is {value}", rule.at),
                expected,
                &object,
            )
            .await?;
        }
    }
    let readme = std::fs::read_to_string(workspace().join("README.md"))?;
    let manifest = readme
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .context("the README has no manifest")?;
    let manifest = as_alice(actors, serde_saphyr::from_str(manifest)?);
    create(actors, "the README's DryRun", Expected::Accepted, &manifest).await
}

/// The request as submitted by alice in this test.
fn as_alice(actors: &Actors, mut request: Value) -> Value {
    request["metadata"]["namespace"] = REHEARSAL.into();
    request["spec"]["requestedBy"] = actors.alice.user.as_str().into();
    request
}

/// Strict like kubectl: unknown fields are refused, not dropped. The returned object has its
/// defaults, and must be readable by the operator.
async fn create(actors: &Actors, what: &str, expected: Expected<'_>, object: &Value) -> Result<()> {
    let uri = format!(
        "/apis/dryrun.dev/v1alpha1/namespaces/{REHEARSAL}/dryruns?dryRun=All&fieldValidation=Strict"
    );
    let body = serde_json::to_vec(object)?;
    expect(what, expected, async || {
        let request = http::Request::post(&uri)
            .header("content-type", "application/json")
            .body(body.clone());
        actors
            .alice
            .client
            .request::<DryRun>(request.map_err(kube::Error::HttpError)?)
            .await
            .map(drop)
    })
    .await
}
