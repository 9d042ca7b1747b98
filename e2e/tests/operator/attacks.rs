//! Requesters and scenarios that try to do harm, and the operator's process afterwards.

use anyhow::{Context, Result, ensure};
use dryrun_core::{commands::Command, digest};
use dryrun_e2e::{
    cluster::apply,
    fixture::{SYSTEM, fill},
    images::Image,
};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Pod},
};
use kube::{
    Api,
    api::{ListParams, LogParams, PostParams},
};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    environment::{DATABASE, Environment, NAMESPACE, PASSWORD, SOURCE, eventually, source},
    run::{Run, is},
    waiting::never_began,
};

/// Namespace of the server that would like to know the password.
const NAMESPACE_OF_SERVER: &str = "operator-curious";

/// A server asks for the password in clear text, and says what it was told. Even a Secret that is meant for it is not
/// given away like that; and no word of the server's comes back.
pub(crate) async fn curious_server_gets_no_password(env: &Environment) -> Result<()> {
    let images = env.fixture.cluster.load_images(&[Image::Python]).await?;
    let image = images.first().context("no image was built")?;
    let values = [("IMAGE", image.name.as_str())];
    apply(&env.client, &fill(include_str!("curious.yaml"), &values)?).await?;
    let host = format!("curious.{NAMESPACE_OF_SERVER}.svc");
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "stringData": {"password": PASSWORD},
        "metadata": {"name": "curious", "namespace": NAMESPACE, "annotations": {SOURCE: source("dump_ro", &host, DATABASE)}},
    });
    apply(&env.client, &secret.to_string()).await?;
    let pods: Api<Pod> = Api::namespaced(env.client.clone(), NAMESPACE_OF_SERVER);
    eventually("the server is ready", async || {
        let status = pods.get("curious").await?.status.unwrap_or_default();
        let mut conditions = status.conditions.into_iter().flatten();
        let ready = conditions.any(|c| c.type_ == "Ready" && c.status == "True");
        Ok(ready
            .then_some(())
            .ok_or_else(|| format!("{:?}", status.phase)))
    })
    .await?;
    let mut request = env.small("curious-server");
    let spec = &mut request["spec"]["source"];
    spec["host"] = json!(host);
    spec["passwordSecretRef"]["name"] = json!("curious");
    spec["network"] = json!({"namespace": NAMESPACE_OF_SERVER, "podSelector": {"app": "curious"}});
    let run = Run::start(env, request).await?;
    run.ends_at(
        "G-06",
        "Unreachable",
        &["asks for the password in clear text"],
        Command::Dump,
    )
    .await?;
    let heard = pods.logs("curious", &LogParams::default()).await?;
    ensure!(heard.contains("asked"), "nobody came by: {heard:?}");
    ensure!(
        !heard.contains(PASSWORD),
        "the server was told the password"
    );
    let shown = serde_json::to_string(&run.api().get(&run.name).await?)?;
    let kept = serde_json::to_string(&run.report().await?)?;
    for (what, text) in [("the DryRun", shown), ("the report", kept)] {
        ensure!(!text.contains(PASSWORD), "{what} has the password");
        ensure!(!text.contains("you said"), "{what} has the server's words");
    }
    Ok(())
}

/// A scenario that writes 200,000 errors into the copy's log fails a gate, and the operator reads on.
pub(crate) async fn endless_errors_fail_a_gate(env: &Environment) -> Result<()> {
    let before = restarts(env).await?;
    let mut request = env.small("endless-errors");
    request["spec"]["harness"]["image"] = request["spec"]["postgres"]["image"].clone();
    request["spec"]["harness"]["scenarios"] = json!([{
        "name": "loops", "as": {"login": "keeper"}, "timeout": "3m",
        "command": ["sh", "-c", "yes 'SELECT 1/0;' | head -200000 | psql --quiet >/dev/null 2>&1; true"],
    }]);
    let run = Run::start(env, request).await?;
    run.ends_at("G-14", "UnexpectedError", &["22012"], Command::Scenarios)
        .await?;
    let after = restarts(env).await?;
    ensure!(
        before == after,
        "the operator was restarted: {before:?} became {after:?}"
    );
    Ok(())
}

/// A matrix of a million rows, in some kilobytes.
pub(crate) async fn matrix_bomb_is_refused(env: &Environment) -> Result<()> {
    let before = restarts(env).await?;
    let digit = |value: u32| char::from_digit(value % 36, 36).unwrap_or('0');
    let mut lines: Vec<String> = (0..932_064)
        .map(|row: u32| {
            let name: String = [46_656, 1296, 36, 1]
                .map(|place| digit(row / place))
                .iter()
                .collect();
            format!("a\t{name}\ta\ta\ttrue\t+\n")
        })
        .collect();
    lines.sort_unstable();
    let bomb = zstd::encode_all(lines.concat().as_bytes(), 19)?;
    let sha256 = digest::hex(&Sha256::digest(&bomb));
    let map = ConfigMap {
        metadata: serde_json::from_value(json!({"generateName": "bomb-"}))?,
        binary_data: Some([("matrix.tsv.zst".to_owned(), ByteString(bomb))].into()),
        ..ConfigMap::default()
    };
    let maps: Api<ConfigMap> = Api::namespaced(env.alice.clone(), NAMESPACE);
    let map = maps.create(&PostParams::default(), &map).await?;
    let mut request = env.small("matrix-bomb");
    request["spec"]["privileges"]["grants"] = json!([]);
    request["spec"]["privileges"]["matrixRef"] = json!({"configMapRef": {"name": map.metadata.name, "key": "matrix.tsv.zst"}, "sha256": sha256});
    let run = Run::request(env, request).await?;
    run.until("the matrix is refused", |run| {
        is(run, "Approved", "Unknown", "MatrixInvalid")
    })
    .await?;
    let after = restarts(env).await?;
    ensure!(
        before == after,
        "the operator was restarted: {before:?} became {after:?}"
    );
    never_began(&run).await
}

/// Names and restarts of the operator's pods.
async fn restarts(env: &Environment) -> Result<Vec<(Option<String>, i32)>> {
    let pods: Api<Pod> = Api::namespaced(env.client.clone(), SYSTEM);
    let own = ListParams::default().labels("app.kubernetes.io/name=dryrun-operator");
    let restarts = |pod: &Pod| -> i32 {
        let statuses = pod
            .status
            .iter()
            .flat_map(|status| status.container_statuses.iter().flatten());
        statuses.map(|container| container.restart_count).sum()
    };
    let found = pods.list(&own).await?;
    Ok(found
        .iter()
        .map(|pod| (pod.metadata.name.clone(), restarts(pod)))
        .collect())
}
