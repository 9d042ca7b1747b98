//! The operator's binary: options, logging, health, and the library's controllers.

use anyhow::Context as _;
use clap::Parser;
use dryrun_controller::admission_policies::AdmissionPolicies;
use dryrun_controller::jobs::PortForward;
use dryrun_controller::pinned_operator::PinnedOperator;
use dryrun_controller::{Settings, health, operate, shutdown};
use dryrun_core::api::DryRun;
use kube::api::ListParams;
use kube::{Api, Client};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// Rehearses tools on isolated copies of production Postgres.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// The operator's own image, as the pods of a run must name it.
    #[arg(long, env = "DRYRUN_OPERATOR_IMAGE")]
    operator_image: String,
    /// Namespaces that are prepared for runs, separated by commas.
    #[arg(long, env = "DRYRUN_REHEARSAL_NAMESPACES", value_delimiter = ',')]
    rehearsal_namespaces: Vec<String>,
    /// Secrets and the sources that they are for, as namespace/secret=uri, separated by commas. A
    /// Secret may also say so itself.
    #[arg(long, env = "DRYRUN_SOURCES", value_delimiter = ',')]
    sources: Vec<String>,
    /// Namespace of canaries and listeners, prepared for nothing else.
    #[arg(long, env = "DRYRUN_PROBES_NAMESPACE", default_value = "dryrun-probes")]
    probes_namespace: String,
    /// Directory with the admission policies of the chart, and their bindings, as they must be in
    /// force: without them no approval counts.
    #[arg(long, env = "DRYRUN_ADMISSION_POLICIES")]
    admission_policies: PathBuf,
    /// Address of /livez and /readyz.
    #[arg(long, env = "DRYRUN_HEALTH_ADDRESS", default_value = "0.0.0.0:8080")]
    health_address: SocketAddr,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    tracing_subscriber::fmt()
        .json()
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(filter()?)
        .init();
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider is installed already"))?;
    let directory = options.admission_policies.display().to_string();
    let policies = AdmissionPolicies::load(&options.admission_policies)
        .with_context(|| format!("the admission policies in {directory}"))?;
    let client = Client::try_default()
        .await
        .context("no cluster: neither a service account nor a kubeconfig")?;

    let ready = Arc::new(AtomicBool::new(false));
    let health = tokio::spawn(health::serve(options.health_address, Arc::clone(&ready)));
    tokio::select! {
        () = wait_for_crds(&client) => {}
        () = shutdown::requested() => return Ok(()),
    }
    let settings = Settings {
        operator: PinnedOperator {
            image: options.operator_image,
            probes_namespace: options.probes_namespace,
        },
        namespaces: options
            .rehearsal_namespaces
            .into_iter()
            .filter(|n| !n.is_empty())
            .collect(),
        sources: options.sources,
        policies,
        instance: std::env::var("HOSTNAME").ok(),
    };
    ready.store(true, Ordering::Relaxed);
    tracing::info!(namespaces = ?settings.namespaces, "operator started");
    tokio::select! {
        () = operate(client, settings, Arc::new(PortForward)) => Ok(()),
        ended = health => ended.context("health server")?.context("health server"),
    }
}

/// Returns the filter of log lines. The client logs the whole body of an answer that it cannot
/// read, and a log is no place for objects.
fn filter() -> anyhow::Result<EnvFilter> {
    let quiet = "kube_client::client=error".parse()?;
    Ok(EnvFilter::from_default_env().add_directive(quiet))
}

/// Waits for the CRDs and says so, instead of ending.
async fn wait_for_crds(client: &Client) {
    let runs: Api<DryRun> = Api::all(client.clone());
    while let Err(error) = runs.list_metadata(&ListParams::default().limit(1)).await {
        tracing::warn!(%error, "DryRuns cannot be listed yet: are the CRDs and the operator's ClusterRole installed?");
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}
