//! Where production is, and how it may be read.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

use super::{ConfigMapKey, Span, schema};

/// Production: the database that is only ever read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = kube::core::Rule::new("!has(self.caRef) || !has(self.sslmode) || self.sslmode == 'verify-full'")
    .message("source.caRef needs sslmode verify-full: no other mode verifies the server"))]
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
    /// The authority that must have signed the server's certificate. Public authorities if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CaRef>,
    /// How the password may be asked for; by SCRAM alone if absent.
    #[serde(default, skip_serializing_if = "Authentication::is_default")]
    pub authentication: Authentication,
    /// The key of a Secret in the DryRun's namespace that holds the role's password. The Secret must name this source in its annotation
    /// `dryrun.dev/source`.
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

/// Bytes that stand for themselves in a URI (RFC 3986, section 2.3), beside letters and digits.
const UNRESERVED: &[u8] = b"-._~";

impl Source {
    /// Returns the name of this source, as Secrets and charts give it: a connection URI of libpq, without a password.
    ///
    /// Whatever decides to which server a password is sent, and how, is in it.
    pub fn uri(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            encoded(&self.host)
        };
        let (user, database) = (encoded(&self.user), encoded(&self.database));
        let (port, mode) = (self.port, self.sslmode.as_libpq());
        let mut uri = format!("postgresql://{user}@{host}:{port}/{database}?sslmode={mode}");
        if let Some(ca) = &self.ca_ref {
            uri.push_str("&sslrootcert=");
            uri.push_str(&encoded(&ca.to_string()));
        }
        match self.authentication {
            Authentication::ScramSha256 => {}
            Authentication::Any => uri.push_str("&require_auth=any"),
        }
        uri
    }

    /// Returns the keys of Secrets that the pods next to production get.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretKeyRef> {
        let ca = self.ca_ref.as_ref().and_then(|ca| ca.secret_ref.as_ref());
        std::iter::once(&self.password_secret_ref).chain(ca)
    }
}

/// Percent-encodes all bytes that have a meaning in a URI.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || UNRESERVED.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

/// libpq's `sslmode`, less the modes that verify nothing useful.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS when the server offers it; the certificate is not verified.
    Prefer,
    /// TLS or no connection; the certificate is not verified.
    Require,
    /// TLS with a certificate for the host that `caRef`, or a public authority, has signed.
    #[default]
    VerifyFull,
}

/// How production may ask for the password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Authentication {
    /// By SCRAM, bound to the TLS connection if there is one: the server does not learn the password, and proves that it knows it.
    #[default]
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// Also as an md5 hash or in clear text. The server learns a hash that lets anyone in, or the password.
    #[serde(rename = "any")]
    Any,
}

impl Authentication {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The key of a ConfigMap or Secret with certificates of authorities, in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = kube::core::Rule::new("has(self.configMapRef) != has(self.secretRef)")
    .message("caRef needs either configMapRef or secretRef"))]
pub struct CaRef {
    /// A key of a ConfigMap in the DryRun's namespace. The plan pins its contents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapKey>,
    /// A key of a Secret in the DryRun's namespace, which must name the source like the password's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
}

impl fmt::Display for CaRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ConfigMapKey { name, key }) = &self.config_map_ref {
            write!(f, "ConfigMap/{name}/{key}")?;
        }
        if let Some(SecretKeyRef { name, key }) = &self.secret_ref {
            write!(f, "Secret/{name}/{key}")?;
        }
        Ok(())
    }
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
#[x_kube(validation = kube::core::Rule::new("!has(self.cidr) || self.cidr.matches('^[0-9.]+/(2[4-9]|3[0-2])$') || self.cidr.matches('^[0-9a-fA-F.]*:[0-9a-fA-F.:]*/(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-8])$')")
    .message("network.cidr may have 256 IPv4 addresses (/24) or one IPv6 subnet (/64) at most: it is all that the pods with production's password reach"))]
pub struct SourceNetwork {
    /// Namespace of production's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Labels of production's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::labels")]
    pub pod_selector: Option<BTreeMap<String, String>>,
    /// Address block of a production outside the cluster, such as `192.0.2.10/32`; /24 (IPv6: /64) at most.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::spec;

    #[test]
    fn a_source_has_one_name() {
        let mut source = spec().source;
        assert_eq!(
            source.uri(),
            "postgresql://dump_ro@postgres.incomex.svc:5432/directus?sslmode=verify-full"
        );
        source.user = "dump@ro/x y,ü".into();
        source.host = "2001:db8::1".into();
        source.sslmode = SslMode::Prefer;
        source.authentication = Authentication::Any;
        assert_eq!(
            source.uri(),
            "postgresql://dump%40ro%2Fx%20y%2C%C3%BC@[2001:db8::1]:5432/directus?sslmode=prefer&require_auth=any"
        );
        source.ca_ref = Some(CaRef {
            config_map_ref: None,
            secret_ref: Some(SecretKeyRef {
                name: "shop-ca".into(),
                key: "ca.crt".into(),
            }),
        });
        assert!(
            source
                .uri()
                .contains("&sslrootcert=Secret%2Fshop-ca%2Fca.crt")
        );
        let names: Vec<&str> = source.secrets().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["directus-production", "shop-ca"]);
    }

    /// A requester who could write another server into the name of a permitted one would get the password sent there.
    #[test]
    fn no_two_sources_have_the_same_name() {
        let source = spec().source;
        let other = Source {
            host: "evil".into(),
            user: "dump_ro@postgres.incomex.svc:5432/directus?sslmode=verify-full#".into(),
            ..source.clone()
        };
        assert!(!other.uri().starts_with("postgresql://dump_ro@postgres"));
        let with_comma = Source {
            host: "a,postgres.incomex.svc".into(),
            ..source
        };
        assert!(with_comma.uri().contains("@a%2Cpostgres"));
    }
}
