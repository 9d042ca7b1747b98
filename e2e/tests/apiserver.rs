//! Conformance cases of the model apiserver, run on a real one: both must answer alike.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../../operator/controller/tests/model_apiserver/conformance.rs"]
mod conformance;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::await_condition;
use kube::{Api, Client, ResourceExt};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[tokio::test]
async fn the_apiserver_answers_as_the_model_does() {
    let client = Client::try_default().await.unwrap();
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let crd: CustomResourceDefinition = serde_json::from_value(conformance::crd()).unwrap();
    let name = crd.name_any();
    // An earlier run may have left it.
    if crds.get_opt(&name).await.unwrap().is_none() {
        crds.create(&PostParams::default(), &crd).await.unwrap();
    }
    let established = await_condition(crds.clone(), &name, is_crd_established());
    let established = tokio::time::timeout(Duration::from_secs(30), established).await;
    established.unwrap().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let namespace = format!("conformance-{}", now.as_millis());
    conformance::check(client, &namespace).await;
    crds.delete(&name, &DeleteParams::default()).await.unwrap();
}
