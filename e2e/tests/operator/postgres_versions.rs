//! Productions with other major versions.

use anyhow::{Context, Result};
use dryrun_e2e::{cluster::apply, fixture::fill, images::Image};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::{Value, json};

use crate::{
    environment::{DATABASE, Environment, NAMESPACE, SOURCE, eventually, source},
    run::Run,
};

/// Namespace of these productions in the manifest.
const VERSIONS: &str = "operator-versions";
/// Password of their dump role.
const PASSWORD: &str = "rB8yQn3KvW6mXf1TzLc9HpJd4GsEu7Aa";

pub(crate) async fn postgres_15_passes(env: &Environment) -> Result<()> {
    let (request, _) = production(env, "postgres-15", Image::Postgres15).await?;
    Run::start(env, request).await?.ends_passed(&[]).await
}

pub(crate) async fn postgres_18_passes(env: &Environment) -> Result<()> {
    let (request, _) = production(env, "postgres-18", Image::Postgres18).await?;
    Run::start(env, request).await?.ends_passed(&[]).await
}

/// A copy of a newer major version prints definitions differently, so their equality cannot be
/// decided.
pub(crate) async fn newer_copy_leaves_catalog_match_unknown(env: &Environment) -> Result<()> {
    let (mut request, newer) = production(env, "postgres-15-newer", Image::Postgres15).await?;
    request["spec"]["postgres"]["image"] = json!(newer);
    Run::start(env, request)
        .await?
        .ends_passed(&[("CatalogMatches", "MajorDiffers")])
        .await
}

/// Creates a production that runs `image`, one per case. Returns a run on it with a copy of the
/// same image, and the image of the other copies.
async fn production(env: &Environment, name: &str, image: Image) -> Result<(Value, String)> {
    let images = env
        .fixture
        .cluster
        .load_images(&[image, Image::Postgres17])
        .await?;
    let [image, newer] = images.as_slice() else {
        anyhow::bail!("{} images were built", images.len());
    };
    let values = [
        ("NAME", name),
        ("IMAGE", image.name.as_str()),
        ("PASSWORD", PASSWORD),
    ];
    apply(
        &env.client,
        &fill(include_str!("postgres_versions.yaml"), &values)?,
    )
    .await?;
    let hosts = ["postgres-15", "postgres-15-newer", "postgres-18"];
    let sources = hosts.map(|host| source("dump_ro", &format!("{host}.{VERSIONS}.svc"), DATABASE));
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "stringData": {"password": PASSWORD},
        "metadata": {"name": "versions", "namespace": NAMESPACE, "annotations": {SOURCE: sources.join(" ")}},
    });
    apply(&env.client, &secret.to_string()).await?;
    let pods: Api<Pod> = Api::namespaced(env.client.clone(), VERSIONS);
    eventually(&format!("{name} is ready"), async || {
        let status = pods.get(name).await?.status.unwrap_or_default();
        let ready =
            |c: &k8s_openapi::api::core::v1::PodCondition| c.type_ == "Ready" && c.status == "True";
        Ok(if status.conditions.iter().flatten().any(ready) {
            Ok(())
        } else {
            Err(format!("{:?}", status.container_statuses))
        })
    })
    .await?;
    let identifier = env
        .fixture
        .administrator
        .run(&[
            "exec",
            "--namespace",
            VERSIONS,
            name,
            "--",
            "psql",
            "--host=/tmp",
            "--username=postgres",
            "--no-psqlrc",
            "--tuples-only",
            "--no-align",
            "--command=SELECT system_identifier FROM pg_control_system()",
        ])
        .await
        .context("asking for the identifier")?;
    let mut request = env.small(name);
    let source = &mut request["spec"]["source"];
    source["host"] = json!(format!("{name}.{VERSIONS}.svc"));
    source["systemIdentifier"] = json!(identifier.trim());
    source["passwordSecretRef"] = json!({"name": "versions", "key": "password"});
    source["network"] = json!({"namespace": VERSIONS, "podSelector": {"app": name}});
    request["spec"]["postgres"]["image"] = json!(image.name);
    if let Some(grants) = request["spec"]["privileges"]["grants"].as_array_mut() {
        grants.push(
            json!({"to": "public", "object": "function:public.worth(bigint)", "privileges": ["EXECUTE"]}),
        );
    }
    request["spec"]["verification"]["tables"] = json!(["public.item", "public.note"]);
    Ok((request, newer.name.clone()))
}
