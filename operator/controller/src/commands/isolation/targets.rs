//! Resolves the addresses that isolation probes try.

use dryrun_core::api::TargetClass;
use dryrun_core::isolation::target::{Greeting, Protocol, Target};
use dryrun_core::problem::Problem;
use dryrun_core::run::layout::{ECHO_PORT, POSTGRES_PORT};
use dryrun_core::run::object::RunPod;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::commands::dump;
use crate::jobs::{Scope, read};

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
    /// Targets that an unrestricted pod can reach if they exist.
    pub(super) open: Vec<Target>,
    /// The copy's Postgres at each of its pod's addresses: only the restore and harness pods may
    /// reach it.
    pub(super) copy: Vec<Target>,
    /// Another port of the copy's pod: no pod may reach it.
    pub(super) copy_other_port: Vec<Target>,
    /// Node of the copy.
    pub(super) node: String,
    /// Node of the listener; empty when it is the same.
    pub(super) other_node: String,
}

/// Looks them all up. `greeting` is what the copy answers to.
pub(super) async fn find(scope: &Scope, greeting: Greeting) -> Result<Places, Problem> {
    let nodes: Api<Node> = Api::all(scope.client.clone());
    let slices: Api<EndpointSlice> = Api::namespaced(scope.client.clone(), APISERVER.0);
    let (copy, listener, production) = futures::try_join!(
        pod(scope, RunPod::Postgres),
        pod(scope, RunPod::Listener),
        dump::source(&scope.spec.source),
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

    let mut open = apiservers(apiserver(), slice.as_ref(), &own);
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
        Problem::permanent(
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

/// The apiserver's Service, and each of its endpoints when there are several.
///
/// The Service is only a way to them: it counts as the own node's where one of them lives there. So
/// what lives elsewhere is tried by itself.
fn apiservers(
    service: Option<(String, u16)>,
    slice: Option<&EndpointSlice>,
    own: &[String],
) -> Vec<Target> {
    let target = |address: &str, port, on_own_node| Target {
        on_own_node,
        ..tcp(TargetClass::ApiServer, address, port, Greeting::Nothing)
    };
    let endpoints = endpoints(slice);
    let lives_here = |(address, _): &(String, u16)| own.contains(address);
    let here = endpoints.iter().any(lives_here);
    let mut targets: Vec<Target> = service
        .iter()
        .map(|service| target(&service.0, service.1, here || lives_here(service)))
        .collect();
    if endpoints.len() > 1 {
        let all = endpoints.iter();
        targets.extend(all.map(|endpoint| target(&endpoint.0, endpoint.1, lives_here(endpoint))));
    }
    targets
}

/// Addresses and ports, in an order that does not depend on the slice's.
fn endpoints(slice: Option<&EndpointSlice>) -> BTreeSet<(String, u16)> {
    let Some(slice) = slice else {
        return BTreeSet::new();
    };
    let ports = slice.ports.iter().flatten();
    let ports: Vec<u16> = ports
        .filter_map(|port| port.port?.try_into().ok())
        .collect();
    let addresses = slice.endpoints.iter().flatten();
    addresses
        .flat_map(|endpoint| &endpoint.addresses)
        .flat_map(|address| ports.iter().map(move |port| (address.clone(), *port)))
        .collect()
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

async fn pod(scope: &Scope, pod: RunPod) -> Result<Pod, Problem> {
    let (pods, name) = (scope.pods_of(pod), scope.run.name_of(pod));
    read("PodUnreadable", &name, pods.get(&name)).await
}

/// All addresses of a pod: two in a dual-stack cluster.
fn pod_addresses(pod: &Pod) -> Result<Vec<String>, Problem> {
    let status = pod.status.clone().unwrap_or_default();
    let all = status.pod_ips.into_iter().flatten();
    let addresses: Vec<String> = all.map(|address| address.ip).collect();
    if addresses.is_empty() {
        return Err(Problem::transient(
            "NoAddress",
            format!("{} has no address yet", pod.name_any()),
        ));
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

/// The apiserver's Service, as in every pod's environment.
fn apiserver() -> Option<(String, u16)> {
    let host = std::env::var("KUBERNETES_SERVICE_HOST").ok()?;
    let port = std::env::var("KUBERNETES_SERVICE_PORT").ok()?;
    Some((host, port.parse().ok()?))
}

/// The cluster's DNS, as in the operator's own resolv.conf.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Address and whether it is the own node's, of the targets where the apiserver has these
    /// endpoints.
    fn tried(addresses: &[&str]) -> Vec<(String, bool)> {
        let slice = serde_json::json!({
            "addressType": "IPv4",
            "endpoints": addresses.iter().map(|a| serde_json::json!({"addresses": [a]})).collect::<Vec<_>>(),
            "ports": [{"name": "https", "port": 6443}],
        });
        let slice = serde_json::from_value(slice).unwrap();
        let service = Some(("10.96.0.1".to_owned(), 443));
        let targets = apiservers(service, Some(&slice), &["192.0.2.1".to_owned()]);
        let told = targets.into_iter().map(|t| (t.address, t.on_own_node));
        told.collect()
    }

    #[test]
    fn an_apiserver_elsewhere_is_never_the_own_nodes() {
        let service = |own| ("10.96.0.1".to_owned(), own);
        let endpoint = |address: &str, own| (address.to_owned(), own);
        assert_eq!(tried(&["192.0.2.1"]), [service(true)]);
        assert_eq!(tried(&["192.0.2.2"]), [service(false)]);
        assert_eq!(
            tried(&["192.0.2.2", "192.0.2.1"]),
            [
                service(true),
                endpoint("192.0.2.1", true),
                endpoint("192.0.2.2", false)
            ]
        );
    }
}
