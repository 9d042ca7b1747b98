//! Pods, namespaces and policies, parsed once and reduced to the properties that decide about
//! packets.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::core::{ParseExpressionError, Selector};

use crate::ranges::Ranges;

/// An object's labels.
pub type Labels = BTreeMap<String, String>;

/// A transport protocol that a policy's port can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP, the default.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    fn parse(name: Option<&str>) -> Result<Self, Unreadable> {
        match name {
            None | Some("TCP") => Ok(Self::Tcp),
            Some("UDP") => Ok(Self::Udp),
            Some("SCTP") => Ok(Self::Sctp),
            Some(other) => Err(Unreadable::Protocol(other.to_owned())),
        }
    }
}

/// A pod with its own address: it can be the subject of a policy and a peer in one.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Its node.
    pub node: String,
    /// Its IPv4 address.
    pub address: Ipv4Addr,
    /// Labels.
    pub labels: Labels,
    /// The named ports of its containers.
    pub ports: Vec<PodPort>,
    /// Creation time: of two pods that claim one address, the later one holds it.
    pub created: Option<Timestamp>,
}

/// A container port with a name.
#[derive(Clone, Debug)]
pub struct PodPort {
    /// The name that a policy may use.
    pub name: String,
    /// Protocol.
    pub protocol: Protocol,
    /// Number.
    pub number: u16,
}

impl Pod {
    /// Reads a Pod. Returns `None` if policies do not apply to it: it shares the node's network,
    /// has ended, or has no IPv4 address yet.
    ///
    /// `sandbox` is the address announced by the CNI plugin; it is often a second newer than the
    /// status.
    pub fn read(pod: &core::Pod, sandbox: Option<Ipv4Addr>) -> Option<Self> {
        let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref());
        let ended = matches!(
            status.and_then(|status| status.phase.as_deref()),
            Some("Succeeded" | "Failed")
        );
        if ended || spec.host_network == Some(true) {
            return None;
        }
        let address = sandbox.or_else(|| status?.pod_ip.as_ref()?.parse().ok())?;
        // An init container serves ports beside the others only if it is a sidecar.
        let sidecars = spec
            .init_containers
            .iter()
            .flatten()
            .filter(|container| container.restart_policy.as_deref() == Some("Always"));
        let ports = spec
            .containers
            .iter()
            .chain(sidecars)
            .flat_map(|container| container.ports.iter().flatten());
        Some(Self {
            namespace: pod.namespace()?,
            name: pod.name_any(),
            node: spec.node_name.clone()?,
            address,
            labels: pod.labels().clone(),
            ports: ports.filter_map(PodPort::read).collect(),
            created: pod.creation_timestamp().map(|time| time.0),
        })
    }

    /// The numbers of the pod's ports with this name.
    pub(crate) fn numbers(&self, protocol: Protocol, name: &str) -> impl Iterator<Item = u16> {
        self.ports
            .iter()
            .filter(move |port| port.protocol == protocol && port.name == name)
            .map(|port| port.number)
    }
}

impl PodPort {
    fn read(port: &core::ContainerPort) -> Option<Self> {
        Some(Self {
            name: port.name.clone()?,
            protocol: Protocol::parse(port.protocol.as_deref()).ok()?,
            number: u16::try_from(port.container_port).ok()?,
        })
    }
}

/// A NetworkPolicy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Namespace of the policy and of its subjects.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Selects its subjects among the namespace's pods.
    pub subjects: Selector,
    /// Allowed ingress; `None` if the policy does not cover ingress, an empty list if it allows
    /// none.
    pub ingress: Option<Vec<Rule>>,
    /// Allowed egress; `None` if the policy does not cover egress.
    pub egress: Option<Vec<Rule>>,
}

/// One rule: traffic with any of the peers on any of the ports.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The other ends; an empty list means all.
    pub peers: Vec<Peer>,
    /// The ports at the receiving end; an empty list means all, of every protocol.
    pub ports: Vec<PortMatch>,
}

/// The other ends of one entry of `from` or `to`.
#[derive(Clone, Debug)]
pub enum Peer {
    /// Pods by label.
    Pods {
        /// Selects their namespaces; `None` means the policy's own namespace.
        namespaces: Option<Selector>,
        /// Selects the pods.
        pods: Selector,
    },
    /// Addresses: a block without its exceptions.
    Block(Ranges),
}

/// One entry of `ports`.
#[derive(Clone, Debug)]
pub enum PortMatch {
    /// Port numbers.
    Numbers(Protocol, RangeInclusive<u16>),
    /// A port by the receiving pod's name for it.
    Named(Protocol, String),
}

/// Reason why a NetworkPolicy cannot be parsed. The API server admits none of these; they guard
/// against a newer API.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// A selector with an unknown operator.
    #[error("selector: {0}")]
    Selector(#[from] ParseExpressionError),
    /// A protocol other than TCP, UDP and SCTP.
    #[error("unknown protocol {0:?}")]
    Protocol(String),
    /// An invalid address block.
    #[error("address block: {0}")]
    Block(#[from] ipnet::AddrParseError),
    /// A port number out of range.
    #[error("port number: {0}")]
    Port(#[from] std::num::TryFromIntError),
    /// No spec.
    #[error("no spec")]
    Empty,
}

impl TryFrom<&networking::NetworkPolicy> for Policy {
    type Error = Unreadable;

    fn try_from(policy: &networking::NetworkPolicy) -> Result<Self, Unreadable> {
        let spec = policy.spec.as_ref().ok_or(Unreadable::Empty)?;
        // The API server fills in policyTypes by the same rule, so this default only matters for
        // manifests.
        let covers = |direction: &str| match spec.policy_types.as_deref() {
            None | Some([]) => {
                direction == "Ingress"
                    || spec.egress.as_ref().is_some_and(|rules| !rules.is_empty())
            }
            Some(types) => types.iter().any(|listed| listed == direction),
        };
        let ingress = spec
            .ingress
            .iter()
            .flatten()
            .map(|rule| Rule::read(rule.from.as_deref(), rule.ports.as_deref()));
        let egress = spec
            .egress
            .iter()
            .flatten()
            .map(|rule| Rule::read(rule.to.as_deref(), rule.ports.as_deref()));
        Ok(Self {
            subjects: selector(spec.pod_selector.as_ref())?,
            ingress: covers("Ingress").then(|| ingress.collect()).transpose()?,
            egress: covers("Egress").then(|| egress.collect()).transpose()?,
            ..Self::isolating(policy)
        })
    }
}

impl Policy {
    /// Replacement for a policy that cannot be parsed: it isolates every pod of the namespace, in
    /// both directions.
    pub fn isolating(policy: &networking::NetworkPolicy) -> Self {
        Self {
            namespace: policy.namespace().unwrap_or_default(),
            name: policy.name_any(),
            subjects: Selector::default(),
            ingress: Some(Vec::new()),
            egress: Some(Vec::new()),
        }
    }
}

impl Rule {
    fn read(
        peers: Option<&[networking::NetworkPolicyPeer]>,
        ports: Option<&[networking::NetworkPolicyPort]>,
    ) -> Result<Self, Unreadable> {
        Ok(Self {
            peers: peers
                .unwrap_or_default()
                .iter()
                .map(Peer::read)
                .collect::<Result<_, _>>()?,
            ports: ports
                .unwrap_or_default()
                .iter()
                .map(PortMatch::read)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Peer {
    fn read(peer: &networking::NetworkPolicyPeer) -> Result<Self, Unreadable> {
        match &peer.ip_block {
            None => Ok(Self::Pods {
                namespaces: peer
                    .namespace_selector
                    .as_ref()
                    .map(|namespaces| selector(Some(namespaces)))
                    .transpose()?,
                pods: selector(peer.pod_selector.as_ref())?,
            }),
            Some(block) => {
                let except = block
                    .except
                    .iter()
                    .flatten()
                    .map(|except| ipv4(except))
                    .collect::<Result<Vec<_>, _>>()?;
                let except: Ranges = except.iter().flat_map(Ranges::iter).collect();
                Ok(Self::Block(ipv4(&block.cidr)?.minus(&except)))
            }
        }
    }
}

impl PortMatch {
    fn read(port: &networking::NetworkPolicyPort) -> Result<Self, Unreadable> {
        let protocol = Protocol::parse(port.protocol.as_deref())?;
        Ok(match &port.port {
            None => Self::Numbers(protocol, 0..=u16::MAX),
            Some(IntOrString::String(name)) => Self::Named(protocol, name.clone()),
            Some(IntOrString::Int(first)) => {
                let last = port.end_port.unwrap_or(*first);
                Self::Numbers(protocol, u16::try_from(*first)?..=u16::try_from(last)?)
            }
        })
    }
}

/// A missing selector is equivalent to an empty one, which selects everything.
fn selector(selector: Option<&LabelSelector>) -> Result<Selector, ParseExpressionError> {
    selector.cloned().unwrap_or_default().try_into()
}

/// The IPv4 addresses of a block; none for an IPv6 block.
fn ipv4(block: &str) -> Result<Ranges, ipnet::AddrParseError> {
    Ok(match block.parse()? {
        IpNet::V4(network) => Ranges::network(network),
        IpNet::V6(_) => Ranges::default(),
    })
}

/// All inputs of policies, cluster-wide.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The pods by address.
    pub pods: BTreeMap<Ipv4Addr, Pod>,
    /// The labels of each namespace by its name.
    pub namespaces: BTreeMap<String, Labels>,
    /// The policies, by namespace and name.
    pub policies: Vec<Policy>,
}

impl World {
    /// Assembles a world; the order of the inputs does not matter.
    pub fn new(
        pods: impl IntoIterator<Item = Pod>,
        namespaces: impl IntoIterator<Item = (String, Labels)>,
        policies: impl IntoIterator<Item = Policy>,
    ) -> Self {
        let mut by_address = BTreeMap::new();
        for pod in pods {
            // An address can be reused before the API server knows that the old pod has ended.
            let age = |pod: &Pod| (pod.created, pod.namespace.clone(), pod.name.clone());
            if by_address
                .get(&pod.address)
                .is_none_or(|holder| age(holder) < age(&pod))
            {
                by_address.insert(pod.address, pod);
            }
        }
        let mut policies: Vec<_> = policies.into_iter().collect();
        policies.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        Self {
            pods: by_address,
            namespaces: namespaces.into_iter().collect(),
            policies,
        }
    }
}
