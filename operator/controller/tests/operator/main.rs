//! The operator's library below a cluster: its reconcile loop against an apiserver in this process.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and uses a part of the model"
)]

mod act;
mod approvals;
mod attacks;
mod cluster;
#[path = "../model_apiserver/mod.rs"]
mod model_apiserver;
mod observe;
mod oracle;
mod reports;
mod runs;
mod scripted;
mod sweep;

use model_apiserver::{Model, conformance};

#[tokio::test(start_paused = true)]
async fn the_model_answers_as_an_apiserver_does() {
    let model = Model::new();
    model.define(&conformance::crd());
    conformance::check(model.user(), "conformance").await;
}
