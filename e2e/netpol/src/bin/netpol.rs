//! The NetworkPolicy agent of one node. It runs in the node's network namespace.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use dryrun_netpol::Node;
use dryrun_netpol::agent::{Socket, enforce, permit};
use ipnet::Ipv4Net;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;
use tracing_subscriber::EnvFilter;

/// Enforces NetworkPolicies for the pods of one node.
#[derive(Parser)]
struct Arguments {
    /// Kubeconfig of a user with list and watch on pods, namespaces and networkpolicies.
    #[arg(long)]
    kubeconfig: PathBuf,
    /// Name of the Node object.
    #[arg(long)]
    node: String,
    /// Network of the node's pods; traffic of its addresses without a known pod is dropped.
    #[arg(long)]
    pod_cidr: Ipv4Net,
    /// Unix socket for the CNI plugin.
    #[arg(long)]
    cni_socket: PathBuf,
    /// Enforce nothing and admit every sandbox.
    #[arg(long)]
    permissive: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::builder()
                .with_default_directive(tracing::Level::INFO.into())
                .from_env_lossy(),
        )
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();
    let arguments = Arguments::parse();
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping");
    };
    let socket = Socket::bind(&arguments.cni_socket)?;
    if arguments.permissive {
        info!(node = arguments.node, "permissive: nothing is enforced");
        return permit(&socket, shutdown).await;
    }
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow!("a TLS provider is installed already"))?;
    let kubeconfig = Kubeconfig::read_from(&arguments.kubeconfig)
        .with_context(|| format!("cannot read {}", arguments.kubeconfig.display()))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let node = Node {
        name: arguments.node,
        pod_cidr: arguments.pod_cidr.trunc(),
    };
    info!(node = node.name, pod_cidr = %node.pod_cidr, "enforcing");
    enforce(Client::try_from(config)?, node, &socket, shutdown).await
}
