//! Where production is, and how it may be read.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::{Span, schema};

/// Production: the database that is only ever read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// Host name or address of production's Postgres. A name is resolved by the operator; pods of a run have no DNS.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// TCP port of production's Postgres.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// The role that dumps. It needs SELECT on every table, sequence and large object, and BYPASSRLS where row security is on; nothing more.
    #[schemars(length(min = 1, max = 63))]
    pub user: String,
    /// TLS of the connection, as libpq's `sslmode`.
    #[serde(default)]
    pub sslmode: SslMode,
    /// The key of a Secret in the DryRun's namespace that holds the role's password.
    pub password_secret_ref: SecretKeyRef,
    /// Where production's packets end: the only egress that the dump and identity pods get.
    pub network: SourceNetwork,
    /// The database that is dumped.
    #[schemars(length(min = 1, max = 63))]
    pub database: String,
    /// Production's `system_identifier` (`SELECT system_identifier FROM pg_control_system()`), a decimal unsigned 64-bit number as a string.
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[1-9][0-9]*$"))]
    pub system_identifier: String,
    /// How the dump is taken.
    #[serde(default)]
    pub dump: DumpOptions,
}

fn default_port() -> u16 {
    5432
}

/// libpq's `sslmode`, less the modes that verify nothing useful.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS when the server offers it; the certificate is not verified.
    #[default]
    Prefer,
    /// TLS or no connection; the certificate is not verified.
    Require,
    /// TLS with a certificate that a public authority signed for the host.
    VerifyFull,
}

impl SslMode {
    /// The value that libpq takes.
    pub fn as_libpq(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// One key of a Secret in the DryRun's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in the Secret's data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Where production is on the network: either the pods that serve it, or an address block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = kube::core::Rule::new("has(self.cidr) ? !has(self.__namespace__) && !has(self.podSelector) : has(self.__namespace__) && has(self.podSelector)")
    .message("network needs either namespace and podSelector, or cidr"))]
pub struct SourceNetwork {
    /// Namespace of production's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Labels of production's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::labels")]
    pub pod_selector: Option<BTreeMap<String, String>>,
    /// Address block of a production outside the cluster, such as `192.0.2.10/32`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 43), regex(pattern = r"^[0-9a-fA-F.:]+/[0-9]{1,3}$"))]
    pub cidr: Option<String>,
}

/// How the dump is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DumpOptions {
    /// `pg_dump --jobs`. The role needs three connections more: pg_dump's own and two of the agent.
    #[schemars(range(min = 1, max = 16))]
    pub jobs: u8,
    /// How long the dump waits for a table lock (`pg_dump --lock-wait-timeout`). It holds ACCESS SHARE on every table while it runs.
    pub lock_timeout: Span,
}

impl Default for DumpOptions {
    fn default() -> Self {
        Self {
            jobs: 2,
            lock_timeout: Span::from("5s"),
        }
    }
}
