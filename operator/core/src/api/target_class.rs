//! What pods of a run try to reach.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a target is to the run.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum TargetClass {
    /// Production's address and port.
    Production,
    /// The apiserver.
    ApiServer,
    /// The cluster's DNS.
    Dns,
    /// A listener in another namespace.
    OtherNamespace,
    /// The kubelet of the pod's own node. NetworkPolicy does not hold it back in general (kubernetes.io, Network Policies).
    OwnNode,
    /// The kubelet of another node.
    RemoteNode,
    /// The cloud's metadata service.
    Metadata,
    /// An address outside the cluster.
    Outside,
    /// The copy's Postgres.
    Copy,
    /// Another port of the copy's pod.
    CopyOtherPort,
}

impl TargetClass {
    /// The word in facts and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Production => "Production",
            Self::ApiServer => "ApiServer",
            Self::Dns => "Dns",
            Self::OtherNamespace => "OtherNamespace",
            Self::OwnNode => "OwnNode",
            Self::RemoteNode => "RemoteNode",
            Self::Metadata => "Metadata",
            Self::Outside => "Outside",
            Self::Copy => "Copy",
            Self::CopyOtherPort => "CopyOtherPort",
        }
    }
}
