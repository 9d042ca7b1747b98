//! Productions of other major versions.

use anyhow::{Context, Result};
use dryrun_e2e::{cluster::apply, fixture::fill, images::Image};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::{Value, json};

use crate::{
    environment::{NAMESPACE, Stage, soon},
    run::Run,
};

/// Where these productions live, as in the manifest.
const MAJORS: &str = "operator-majors";
/// Password of their dump role.
const PASSWORD: &str = "rB8yQn3KvW6mXf1TzLc9HpJd4GsEu7Aa";

pub(crate) async fn postgres_15(stage: &Stage) -> Result<()> {
    let (request, _) = production(stage, "postgres-15", Image::Postgres15).await?;
    Run::begin(stage, request).await?.ends_well(&[]).await
}

pub(crate) async fn postgres_18(stage: &Stage) -> Result<()> {
    let (request, _) = production(stage, "postgres-18", Image::Postgres18).await?;
    Run::begin(stage, request).await?.ends_well(&[]).await
}

/// A copy of a newer major prints definitions in its own way: that its catalog is the source's cannot be told.
pub(crate) async fn a_newer_copy_leaves_the_catalog_open(stage: &Stage) -> Result<()> {
    let (mut request, newer) = production(stage, "postgres-15-newer", Image::Postgres15).await?;
    request["spec"]["postgres"]["image"] = json!(newer);
    Run::begin(stage, request)
        .await?
        .ends_well(&[("CatalogMatches", "MajorDiffers")])
        .await
}

/// Brings up a production that runs `image`, one for each case. Gives a run on it, with a copy of the same image, and the image of the other copies.
async fn production(stage: &Stage, name: &str, image: Image) -> Result<(Value, String)> {
    let images = stage
        .rehearsal
        .cluster
        .load_images(&[image, Image::Postgres17])
        .await?;
    let [image, newer] = images.as_slice() else {
        anyhow::bail!("{} images were made", images.len());
    };
    let values = [
        ("NAME", name),
        ("IMAGE", image.name.as_str()),
        ("PASSWORD", PASSWORD),
    ];
    apply(
        &stage.client,
        &fill(include_str!("postgres_versions.yaml"), &values)?,
    )
    .await?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "majors", "namespace": NAMESPACE}, "stringData": {"password": PASSWORD},
    });
    apply(&stage.client, &secret.to_string()).await?;
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), MAJORS);
    soon(&format!("{name} is ready"), async || {
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
    let identifier = stage
        .rehearsal
        .administrator
        .run(&[
            "exec",
            "--namespace",
            MAJORS,
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
    let mut request = stage.small(name);
    let source = &mut request["spec"]["source"];
    source["host"] = json!(format!("{name}.{MAJORS}.svc"));
    source["systemIdentifier"] = json!(identifier.trim());
    source["passwordSecretRef"] = json!({"name": "majors", "key": "password"});
    source["network"] = json!({"namespace": MAJORS, "podSelector": {"app": name}});
    request["spec"]["postgres"]["image"] = json!(image.name);
    if let Some(grants) = request["spec"]["privileges"]["grants"].as_array_mut() {
        grants.push(
            json!({"to": "public", "object": "function:public.worth(bigint)", "privileges": ["EXECUTE"]}),
        );
    }
    request["spec"]["verification"]["tables"] = json!(["public.item", "public.note"]);
    Ok((request, newer.name.clone()))
}
