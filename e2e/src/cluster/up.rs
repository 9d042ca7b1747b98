//! Bring-up of the local cluster, until nodes are ready, DNS answers and storage provisions
//! volumes.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use futures::future::try_join_all;
use k8s_openapi::api::{apps::v1::Deployment, core::v1};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ListParams, LogParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;

use super::{
    apply::apply,
    config, control_plane, dns, down,
    layout::{self, DNS_SERVICE, Node, RUN, SMALL_VOLUMES, STATE, VOLUMES},
    network,
    node::{self, Netpol},
    pki,
    process::Daemons,
    sysctl,
};
use crate::{
    images::Archive,
    toolchain::{progress::Progress, tools::Tools},
};

/// Deadline for nodes, DNS and storage; each takes about three seconds.
const DEADLINE: Duration = Duration::from_secs(90);

/// Parts that a cluster is built from.
pub(crate) struct Parts<'a> {
    pub(crate) nodes: &'a [Node],
    pub(crate) tools: &'a Tools,
    pub(crate) netpol: &'a Netpol,
    /// Images that every node has from the start.
    pub(crate) images: &'a [Archive],
    /// The program that serves the outside when called with `outside`.
    pub(crate) outside: PathBuf,
}

/// Starts the cluster on a machine that has no part of an earlier one.
pub(crate) async fn up(parts: &Parts<'_>, progress: &Progress) -> Result<()> {
    let daemons = &mut Daemons::default();
    progress
        .phase("network, keys, configuration", async |_| {
            prepare(parts)?;
            network::up(parts.nodes).await
        })
        .await?;
    let containerd = start_machine(daemons, parts)?;
    let nodes = parts.nodes.to_vec();
    let images = parts.images.to_vec();
    let import = tokio::spawn(async move {
        try_join_all(nodes.into_iter().map(|node| node::import(node, &images))).await
    });

    let client = progress
        .phase("API server", async |_| {
            let client = client(&layout::state("kubeconfig")).await?;
            control_plane::ready(daemons, &client).await?;
            Ok(client)
        })
        .await?;
    control_plane::start_controllers(daemons, parts.tools)?;
    apply(&client, include_str!("manifests/system.yaml")).await?;
    for (node, containerd) in parts.nodes.iter().zip(containerd) {
        node::start_kubelet(daemons, parts.tools, parts.netpol, *node, containerd)?;
    }
    progress
        .phase("images into the nodes", async |_| import.await?.map(drop))
        .await?;
    apply(&client, include_str!("manifests/dns.yaml")).await?;
    apply(&client, include_str!("manifests/storage.yaml")).await?;
    progress
        .phase("nodes ready", async |_| {
            for node in parts.nodes {
                node_ready(daemons, &client, *node).await?;
            }
            Ok(())
        })
        .await?;
    progress
        .phase("DNS and storage", async |_| {
            available(daemons, &client, "kube-system", "coredns").await?;
            daemons
                .until("DNS answers", DEADLINE, async || {
                    dns::answers(DNS_SERVICE, "kubernetes.default.svc.cluster.local")
                        .await
                        .then_some(())
                })
                .await?;
            available(daemons, &client, "local-path-storage", "local-path").await?;
            provisioning(daemons, &client).await
        })
        .await
}

/// Creates directories, keys and configuration files. Settings that must be restored later are
/// saved first.
fn prepare(parts: &Parts<'_>) -> Result<()> {
    fs::create_dir_all(STATE).with_context(|| format!("creating {STATE}"))?;
    fs::set_permissions(STATE, fs::Permissions::from_mode(0o711))?;
    sysctl::save()?;
    down::make_private_directories()?;
    for directory in ["log", "config", "pki", "etcd", "tmp", "volume-plugins"]
        .map(layout::state)
        .into_iter()
        .chain([RUN, VOLUMES, SMALL_VOLUMES].map(PathBuf::from))
    {
        fs::create_dir_all(&directory)
            .with_context(|| format!("creating {}", directory.display()))?;
    }
    for private in ["pki", "etcd", "log", "config"].map(layout::state) {
        fs::set_permissions(&private, fs::Permissions::from_mode(0o700))?;
    }
    pki::create(parts.nodes)?;
    config::control_plane()?;
    for node in parts.nodes {
        node::prepare(*node, parts.netpol)?;
        config::node(*node)?;
    }
    Ok(())
}

/// Starts the API server and everything that does not need it. Returns each node's containerd.
fn start_machine(daemons: &mut Daemons, parts: &Parts<'_>) -> Result<Vec<u32>> {
    control_plane::start_api(daemons, parts.tools)?;
    daemons.start(
        "outside",
        network::inside(&layout::outside_net(), &parts.outside.to_string_lossy()).arg("outside"),
    )?;
    parts
        .nodes
        .iter()
        .map(|node| node::start_containerd(daemons, *node))
        .collect()
}

/// Waits for the node, and sets its pod CIDR as soon as it exists.
async fn node_ready(daemons: &mut Daemons, client: &Client, node: Node) -> Result<()> {
    let nodes: Api<v1::Node> = Api::all(client.clone());
    let name = node.name();
    let cidr = json!({"spec": {"podCIDR": node.pod_cidr(), "podCIDRs": [node.pod_cidr()]}});
    daemons
        .until("the node exists", DEADLINE, async || {
            nodes
                .patch(&name, &PatchParams::default(), &Patch::Merge(&cidr))
                .await
                .ok()
        })
        .await?;
    daemons
        .until("the node is ready", DEADLINE, async || {
            let conditions = nodes.get(&name).await.ok()?.status?.conditions?;
            conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True")
                .then_some(())
        })
        .await
}

async fn available(
    daemons: &mut Daemons,
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    daemons
        .until(&format!("{name} is available"), DEADLINE, async || {
            let status = deployments.get(name).await.ok()?.status?;
            (status.available_replicas >= Some(1)).then_some(())
        })
        .await
}

/// Waits until the provisioner has connected to the API server, which only its log shows.
async fn provisioning(daemons: &mut Daemons, client: &Client) -> Result<()> {
    let pods: Api<v1::Pod> = Api::namespaced(client.clone(), "local-path-storage");
    daemons
        .until("storage provisions", DEADLINE, async || {
            let provisioners = pods
                .list(&ListParams::default().labels("app=local-path"))
                .await
                .ok()?;
            let name = provisioners.items.first()?.name_any();
            let log = pods.logs(&name, &LogParams::default()).await.ok()?;
            log.contains("Started provisioner controller").then_some(())
        })
        .await
}

/// A client with the credentials of a kubeconfig.
pub(crate) async fn client(kubeconfig: &std::path::Path) -> Result<Client> {
    let config = Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("reading {}", kubeconfig.display()))?;
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}
