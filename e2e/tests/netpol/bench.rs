//! Two namespaces with pods that probe each other.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use dryrun_e2e::cluster::{Cluster, METADATA, OUTSIDE};
use dryrun_e2e::images::Image;
use dryrun_e2e::toolchain::progress::Progress;
use futures::FutureExt;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::time::timeout;

/// Deadline of everything that is not measured.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Pods of namespace a, besides the server.
const NEIGHBOURS: [&str; 2] = ["client", "other"];

/// Pods of namespace b.
const STRANGERS: [&str; 2] = ["guest", "visitor"];

/// Location of a pod: on the server's node or on another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Near,
    Far,
}

impl Place {
    pub const ALL: [Self; 2] = [Self::Near, Self::Far];

    /// Name in the table's output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::Far => "far",
        }
    }

    /// Name of the pod for `role` at this location.
    pub fn pod(self, role: &str) -> String {
        format!("{}-{role}", self.name())
    }
}

/// A test's own namespaces and the parameters of their pods.
pub struct Bench {
    pub client: Client,
    pub image: String,
    /// The server's namespace.
    pub a: String,
    /// Another namespace.
    pub b: String,
    /// Name and address of the server's node and of another one; the same one in a single-node
    /// cluster.
    nodes: [(String, String); 2],
}

impl Bench {
    /// Creates the namespaces without pods.
    pub async fn new() -> Result<Self> {
        let cluster = Cluster::existing(&Progress::new())
            .await?
            .context("KUBECONFIG must name a cluster")?;
        let client = cluster.client().await?;
        let archives = cluster.load_images(&[Image::Netprobe]).await?;
        let image = archives.first().context("no image")?.name.clone();
        let [a, b] = ["netpol-a-", "netpol-b-"].map(|prefix| namespace(&client, prefix));
        let (a, b) = tokio::try_join!(a, b)?;
        let nodes: Api<Node> = Api::all(client.clone());
        let nodes: Vec<_> = nodes
            .list(&ListParams::default())
            .await?
            .iter()
            .filter_map(internal_address)
            .collect();
        let (first, last) = (
            nodes.first().context("no node")?,
            nodes.last().context("no node")?,
        );
        if first == last {
            println!("there is one node alone: far is near");
        }
        Ok(Self {
            client,
            image,
            a,
            b,
            nodes: [first.clone(), last.clone()],
        })
    }

    /// Removes the namespaces with their contents, without waiting.
    pub async fn remove(self) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client);
        for name in [self.a, self.b] {
            namespaces.delete(&name, &DeleteParams::default()).await?;
        }
        Ok(())
    }

    /// Starts all pods and the Service, and waits until the pods serve; returns the server's
    /// address.
    pub async fn populate(&self) -> Result<String> {
        // Boxed, because together they exceed an unoptimised test's stack.
        let placed = |role: &'static str, namespace| {
            Place::ALL.map(|place| self.serve(namespace, place.pod(role), role, place).boxed())
        };
        let neighbours = NEIGHBOURS
            .into_iter()
            .flat_map(|role| placed(role, &self.a));
        let strangers = STRANGERS.into_iter().flat_map(|role| placed(role, &self.b));
        let server = self
            .serve(&self.a, "server".to_owned(), "server", Place::Near)
            .boxed();
        let services: Api<Service> = Api::namespaced(self.client.clone(), &self.a);
        let service = json!({
            "metadata": {"name": "service"},
            "spec": {"selector": {"app": "server"}, "ports": [{"name": "web", "port": 80, "targetPort": "web"}, {"name": "other", "port": 81, "targetPort": 8081}]},
        });
        services
            .create(&PostParams::default(), &serde_json::from_value(service)?)
            .await?;
        let (server, _) = tokio::try_join!(server, try_join_all(neighbours.chain(strangers)))?;
        Ok(server)
    }

    /// Addresses of all names in the table.
    pub async fn addresses(&self) -> Result<BTreeMap<String, String>> {
        let mut addresses = BTreeMap::from([
            ("outside".to_owned(), OUTSIDE.to_string()),
            ("metadata".to_owned(), METADATA.to_string()),
        ]);
        for namespace in [&self.a, &self.b] {
            let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
            for pod in pods.list(&ListParams::default()).await? {
                addresses.insert(
                    pod.name_any(),
                    pod.status
                        .and_then(|status| status.pod_ip)
                        .context("a pod without address")?,
                );
            }
        }
        for (name, namespace, service) in [
            ("service", &*self.a, "service"),
            ("dns", "kube-system", "kube-dns"),
            ("apiserver", "default", "kubernetes"),
        ] {
            let services: Api<Service> = Api::namespaced(self.client.clone(), namespace);
            let address = services
                .get(service)
                .await?
                .spec
                .and_then(|spec| spec.cluster_ip);
            addresses.insert(
                name.to_owned(),
                address.context("a Service without address")?,
            );
        }
        let slices: Api<EndpointSlice> = Api::namespaced(self.client.clone(), "default");
        let endpoints = slices
            .get("kubernetes")
            .await?
            .endpoints
            .into_iter()
            .flatten();
        let endpoint = endpoints
            .flat_map(|endpoint| endpoint.addresses)
            .next()
            .context("no API server")?;
        // In the local cluster the API server runs on the machine itself.
        addresses.extend([
            ("host".to_owned(), endpoint.clone()),
            ("api-endpoint".to_owned(), endpoint),
        ]);
        for (name, place) in [
            ("server-node", Place::Near),
            ("near-node", Place::Near),
            ("far-node", Place::Far),
        ] {
            addresses.insert(name.to_owned(), self.node(place).1.clone());
        }
        Ok(addresses)
    }

    /// Replaces all policies of a namespace.
    pub async fn set_policies(
        &self,
        namespace: &str,
        policies: &[NetworkPolicySpec],
    ) -> Result<()> {
        let api: Api<NetworkPolicy> = Api::namespaced(self.client.clone(), namespace);
        api.delete_collection(&DeleteParams::default(), &ListParams::default())
            .await?;
        for (index, spec) in policies.iter().enumerate() {
            self.add_policy(namespace, &format!("policy-{index}"), spec)
                .await?;
        }
        Ok(())
    }

    /// Creates a policy.
    pub async fn add_policy(
        &self,
        namespace: &str,
        name: &str,
        spec: &NetworkPolicySpec,
    ) -> Result<()> {
        let api: Api<NetworkPolicy> = Api::namespaced(self.client.clone(), namespace);
        let mut policy = NetworkPolicy {
            spec: Some(spec.clone()),
            ..NetworkPolicy::default()
        };
        policy.metadata.name = Some(name.to_owned());
        api.create(&PostParams::default(), &policy)
            .await
            .with_context(|| format!("creating {name}"))?;
        Ok(())
    }

    /// Deletes a policy.
    pub async fn remove_policy(&self, namespace: &str, name: &str) -> Result<()> {
        let api: Api<NetworkPolicy> = Api::namespaced(self.client.clone(), namespace);
        api.delete(name, &DeleteParams::default())
            .await
            .with_context(|| format!("deleting {name}"))?;
        Ok(())
    }

    /// The namespace of the pods for `role`.
    pub fn namespace_of(&self, role: &str) -> &str {
        if STRANGERS.contains(&role) {
            &self.b
        } else {
            &self.a
        }
    }

    /// Returns whether `role` has a pod at both locations.
    pub fn is_placed(role: &str) -> bool {
        NEIGHBOURS.contains(&role) || STRANGERS.contains(&role)
    }

    /// Name and address of the node at a location.
    pub fn node(&self, place: Place) -> &(String, String) {
        let [near, far] = &self.nodes;
        match place {
            Place::Near => near,
            Place::Far => far,
        }
    }
}

/// Creates a namespace that accepts pods.
async fn namespace(client: &Client, prefix: &str) -> Result<String> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"generateName": prefix}}))?;
    let name = namespaces
        .create(&PostParams::default(), &namespace)
        .await?
        .name_any();
    // The API server refuses pods until the default service account exists.
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &name);
    let account = await_condition(accounts, "default", |account: Option<&ServiceAccount>| {
        account.is_some()
    });
    timeout(DEADLINE, account)
        .await
        .context("no default service account")??;
    Ok(name)
}

fn internal_address(node: &Node) -> Option<(String, String)> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    let address = addresses
        .iter()
        .find(|address| address.type_ == "InternalIP")?;
    Some((node.name_any(), address.address.clone()))
}
