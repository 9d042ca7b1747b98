//! Where everything is that a run's pods must not reach.

use dryrun_core::control::TaskError;
use dryrun_core::names::Object;
use dryrun_core::probe::{Greeting, Protocol, Target, TargetClass};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use std::net::{IpAddr, SocketAddr};

use super::{Scope, agents, permanent, read};
use crate::build::{ECHO_PORT, POSTGRES_PORT};

/// Port of a kubelet that does not say (kubernetes.io, Ports and Protocols).
const KUBELET_PORT: u16 = 10_250;
/// The cloud's metadata service, the same for all large clouds.
const METADATA: &str = "169.254.169.254";
/// Namespace and name of the apiserver's own Service and EndpointSlice.
const APISERVER: (&str, &str) = ("default", "kubernetes");

/// The targets of one phase.
pub(super) struct Places {
    /// Production: only the dump and identity pods may reach it.
    pub(super) production: Target,
    /// What an unrestricted pod can reach, if it is there at all.
    pub(super) open: Vec<Target>,
    /// The copy's Postgres at each of its pod's addresses: only the restore and harness pods may reach it.
    pub(super) copy: Vec<Target>,
    /// Another port of the copy's pod: nobody may reach it.
    pub(super) copy_other_port: Vec<Target>,
    /// Node of the copy.
    pub(super) node: String,
    /// Node of the listener; empty when it is the same.
    pub(super) other_node: String,
}

/// Looks them all up. `greeting` is what the copy answers to.
pub(super) async fn find(scope: &Scope, greeting: Greeting) -> Result<Places, TaskError> {
    let nodes: Api<Node> = Api::all(scope.client.clone());
    let slices: Api<EndpointSlice> = Api::namespaced(scope.client.clone(), APISERVER.0);
    let (copy, listener, production) = futures::try_join!(
        pod(scope, Object::PostgresPod),
        pod(scope, Object::ListenerPod),
        agents::source(&scope.spec.source),
    )?;
    let everything = ListParams::default();
    let reading =
        async { futures::try_join!(nodes.list(&everything), slices.get_opt(APISERVER.1)) };
    let what = "nodes and the apiserver's addresses";
    let (nodes, slice) = read("NodesUnreadable", what, reading).await?;
    let node = node_of(&copy);
    let other_node = Some(node_of(&listener)).filter(|other| *other != node);
    let other_node = other_node.unwrap_or_default();
    let own: Vec<String> = nodes
        .iter()
        .filter(|n| n.name_any() == node)
        .flat_map(addresses)
        .collect();
    let endpoints: Vec<String> = slice
        .iter()
        .flat_map(|slice| slice.endpoints.iter().flatten())
        .flat_map(|endpoint| endpoint.addresses.clone())
        .collect();

    let mut open = Vec::new();
    if let Some((host, port)) = apiserver() {
        let mut target = tcp(TargetClass::ApiServer, &host, port, Greeting::Nothing);
        // The Service is only a way to its endpoints.
        target.on_own_node =
            own.contains(&host) || endpoints.iter().any(|endpoint| own.contains(endpoint));
        open.push(target);
    }
    for server in name_servers() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            open.push(Target {
                class: TargetClass::Dns,
                address: server.ip().to_string(),
                port: server.port(),
                protocol,
                greeting: Greeting::Dns,
                on_own_node: is_link_local(server.ip()) || own.contains(&server.ip().to_string()),
            });
        }
    }
    for listener in pod_addresses(&listener)? {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let class = TargetClass::OtherNamespace;
            open.push(Target {
                protocol,
                ..tcp(class, &listener, ECHO_PORT, Greeting::Echo)
            });
        }
    }
    for found in &nodes {
        let (class, wanted) = if found.name_any() == node {
            (TargetClass::OwnNode, true)
        } else {
            let first = other_node.is_empty()
                && !open
                    .iter()
                    .any(|t: &Target| t.class == TargetClass::RemoteNode);
            (
                TargetClass::RemoteNode,
                first || found.name_any() == other_node,
            )
        };
        for address in addresses(found).iter().filter(|_| wanted) {
            open.push(tcp(class, address, kubelet_port(found), Greeting::Nothing));
        }
    }
    open.push(tcp(TargetClass::Metadata, METADATA, 80, Greeting::Nothing));
    let outside = &scope.spec.isolation.outside_address;
    let outside: SocketAddr = outside.parse().map_err(|_| {
        permanent(
            "InvalidAddress",
            format!("isolation.outsideAddress {outside} is no address and port"),
        )
    })?;
    let host = outside.ip().to_string();
    open.push(tcp(
        TargetClass::Outside,
        &host,
        outside.port(),
        Greeting::Nothing,
    ));
    let copy = pod_addresses(&copy)?;
    let at_copy = |class, port, greeting| {
        copy.iter()
            .map(|address| tcp(class, address, port, greeting))
            .collect()
    };
    Ok(Places {
        production: tcp(
            TargetClass::Production,
            &production.address,
            production.port,
            Greeting::Nothing,
        ),
        open,
        copy: at_copy(TargetClass::Copy, POSTGRES_PORT, greeting),
        copy_other_port: at_copy(TargetClass::CopyOtherPort, ECHO_PORT, Greeting::Echo),
        node,
        other_node,
    })
}

fn tcp(class: TargetClass, address: &str, port: u16, greeting: Greeting) -> Target {
    Target {
        class,
        address: address.to_owned(),
        port,
        protocol: Protocol::Tcp,
        greeting,
        on_own_node: false,
    }
}

async fn pod(scope: &Scope, pod: Object) -> Result<Pod, TaskError> {
    let (pods, name) = (scope.pods_of(pod), pod.name(&scope.name, &scope.uid));
    read("PodUnreadable", &name, pods.get(&name)).await
}

/// All addresses of a pod: two in a dual-stack cluster.
fn pod_addresses(pod: &Pod) -> Result<Vec<String>, TaskError> {
    let status = pod.status.clone().unwrap_or_default();
    let all = status.pod_ips.into_iter().flatten();
    let addresses: Vec<String> = all.map(|address| address.ip).collect();
    if addresses.is_empty() {
        return Err(TaskError {
            reason: "NoAddress".into(),
            message: format!("{} has no address yet", pod.name_any()),
            transient: true,
        });
    }
    Ok(addresses)
}

fn node_of(pod: &Pod) -> String {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    node.unwrap_or_default()
}

/// Addresses of a node inside the cluster.
fn addresses(node: &Node) -> Vec<String> {
    let all = node
        .status
        .iter()
        .flat_map(|status| status.addresses.iter().flatten());
    all.filter(|address| address.type_ == "InternalIP")
        .map(|address| address.address.clone())
        .collect()
}

fn kubelet_port(node: &Node) -> u16 {
    let endpoint = node
        .status
        .as_ref()
        .and_then(|status| status.daemon_endpoints.as_ref()?.kubelet_endpoint.as_ref());
    endpoint
        .and_then(|endpoint| endpoint.port.try_into().ok())
        .filter(|port| *port != 0)
        .unwrap_or(KUBELET_PORT)
}

/// The apiserver's Service, as every pod is told of it.
fn apiserver() -> Option<(String, u16)> {
    let host = std::env::var("KUBERNETES_SERVICE_HOST").ok()?;
    let port = std::env::var("KUBERNETES_SERVICE_PORT").ok()?;
    Some((host, port.parse().ok()?))
}

/// The cluster's DNS, as the operator's own pod is told of it.
fn name_servers() -> Vec<SocketAddr> {
    let Ok((configuration, _)) = hickory_resolver::system_conf::read_system_conf() else {
        return Vec::new();
    };
    let mut servers: Vec<SocketAddr> = configuration
        .name_servers()
        .iter()
        .map(|server| server.socket_addr)
        .collect();
    // Each is there for UDP and for TCP.
    servers.dedup();
    servers
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
