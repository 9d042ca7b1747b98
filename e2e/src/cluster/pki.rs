//! Keys and certificates: one authority each for the API, for etcd and for the aggregation layer,
//! as Kubernetes requires.

use std::{
    fs,
    io::Write as _,
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use jiff::{ToSpan, Zoned};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};

use super::layout::{self, API_PORT, HOST, KUBERNETES_SERVICE, Node};

/// Validity of certificates in days: longer than any cluster lives.
const VALID_DAYS: i32 = 30;

const CLIENT: ExtendedKeyUsagePurpose = ExtendedKeyUsagePurpose::ClientAuth;
const SERVER: ExtendedKeyUsagePurpose = ExtendedKeyUsagePurpose::ServerAuth;

/// Name of the authority that signs users and servers of the Kubernetes API.
const KUBERNETES_CA: &str = "kubernetes-ca";

/// Creates all keys, certificates and kubeconfigs of a cluster.
pub(crate) fn create(nodes: &[Node]) -> Result<()> {
    let ca = authority("ca", KUBERNETES_CA)?;
    let etcd = authority("etcd-ca", "etcd-ca")?;
    let front_proxy = authority("front-proxy-ca", "front-proxy-ca")?;
    let (client, server, both) = (&[CLIENT][..], &[SERVER][..], &[SERVER, CLIENT][..]);
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
    ];
    let api_names = sans(
        &names,
        &[
            HOST.into(),
            KUBERNETES_SERVICE.into(),
            std::net::Ipv4Addr::LOCALHOST.into(),
        ],
    )?;
    let local = sans(&["localhost"], &[std::net::Ipv4Addr::LOCALHOST.into()])?;

    store(
        "apiserver",
        &issue(&ca, "kube-apiserver", None, server, api_names)?,
    )?;
    store("etcd", &issue(&etcd, "etcd", None, both, local)?)?;
    store(
        "apiserver-etcd",
        &issue(&etcd, "apiserver-etcd", None, client, vec![])?,
    )?;
    store(
        "front-proxy",
        &issue(&front_proxy, "front-proxy-client", None, client, vec![])?,
    )?;
    store(
        "apiserver-kubelet",
        &issue(&ca, "kube-apiserver-kubelet-client", None, client, vec![])?,
    )?;
    for node in nodes {
        let serving = sans(&[&node.name()], &[node.address().into()])?;
        let user = format!("system:node:{}", node.name());
        store(
            &format!("kubelet-{}", node.name()),
            &issue(&ca, &user, Some("system:nodes"), server, serving)?,
        )?;
    }

    let tokens = KeyPair::generate()?;
    secret(
        &layout::pki("service-accounts.key"),
        &tokens.serialize_pem(),
    )?;
    secret(
        &layout::pki("service-accounts.pub"),
        &tokens.public_key_pem(),
    )?;

    let kubeconfig = |file: &str, user: &str, group: Option<&str>| {
        secret(
            &layout::pki(&format!("{file}.kubeconfig")),
            &kubeconfig(&ca, &ca.pem(), user, group)?,
        )
    };
    kubeconfig("controller-manager", "system:kube-controller-manager", None)?;
    kubeconfig("scheduler", "system:kube-scheduler", None)?;
    kubeconfig("proxy", "system:kube-proxy", None)?;
    kubeconfig("netpol", "system:netpol", None)?;
    for node in nodes {
        kubeconfig(
            &format!("kubelet-{}", node.name()),
            &format!("system:node:{}", node.name()),
            Some("system:nodes"),
        )?;
    }
    secret(
        &layout::state("kubeconfig"),
        &self::kubeconfig(&ca, &ca.pem(), "admin", Some("system:masters"))?,
    )
}

/// A kubeconfig with a fresh certificate for `user`, signed by the running cluster's authority. It
/// has one group at most, because rcgen keeps only one organisation in a distinguished name.
pub(crate) fn user_kubeconfig(user: &str, group: Option<&str>) -> Result<PathBuf> {
    let (key, certificate) = (layout::pki("ca.key"), layout::pki("ca.crt"));
    let key = KeyPair::from_pem(
        &fs::read_to_string(&key).with_context(|| format!("reading {}", key.display()))?,
    )?;
    let certificate = fs::read_to_string(&certificate)
        .with_context(|| format!("reading {}", certificate.display()))?;
    let issuer = Issuer::new(authority_params(KUBERNETES_CA)?, key);
    let file = layout::state("users").join(format!("{}.kubeconfig", user.replace('/', "-")));
    fs::create_dir_all(layout::state("users"))?;
    secret(&file, &kubeconfig(&issuer, &certificate, user, group)?)?;
    Ok(file)
}

fn kubeconfig(
    issuer: &Issuer<'_, KeyPair>,
    authority: &str,
    user: &str,
    group: Option<&str>,
) -> Result<String> {
    let identity = issue(issuer, user, group, &[CLIENT], vec![])?;
    let base64 = |text: &str| k8s_openapi::ByteString(text.as_bytes().to_vec());
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "dryrun-e2e",
        "clusters": [{"name": "dryrun-e2e", "cluster": {"server": format!("https://{HOST}:{API_PORT}"), "certificate-authority-data": base64(authority)}}],
        "users": [{"name": user, "user": {"client-certificate-data": base64(&identity.certificate), "client-key-data": base64(&identity.key)}}],
        "contexts": [{"name": "dryrun-e2e", "context": {"cluster": "dryrun-e2e", "user": user}}],
    });
    Ok(serde_json::to_string_pretty(&config)?)
}

/// A certificate with its key, both as PEM.
struct Identity {
    certificate: String,
    key: String,
}

fn authority(file: &str, name: &str) -> Result<CertifiedIssuer<'static, KeyPair>> {
    let issuer = CertifiedIssuer::self_signed(authority_params(name)?, KeyPair::generate()?)?;
    secret(&layout::pki(&format!("{file}.crt")), &issuer.pem())?;
    secret(
        &layout::pki(&format!("{file}.key")),
        &issuer.key().serialize_pem(),
    )?;
    Ok(issuer)
}

fn authority_params(name: &str) -> Result<CertificateParams> {
    let mut params = params(name, None)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    Ok(params)
}

fn issue(
    issuer: &Issuer<'_, KeyPair>,
    name: &str,
    group: Option<&str>,
    usages: &[ExtendedKeyUsagePurpose],
    sans: Vec<SanType>,
) -> Result<Identity> {
    let mut params = params(name, group)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages.to_vec();
    params.subject_alt_names = sans;
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    Ok(Identity {
        certificate: params.signed_by(&key, issuer)?.pem(),
        key: key.serialize_pem(),
    })
}

/// Certificate parameters: Kubernetes reads the user from the common name and the group from the
/// organisation.
fn params(name: &str, group: Option<&str>) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    if let Some(group) = group {
        subject.push(DnType::OrganizationName, group);
    }
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    let day = |day: Zoned| {
        Ok::<_, anyhow::Error>(rcgen::date_time_ymd(
            day.year().into(),
            u8::try_from(day.month())?,
            u8::try_from(day.day())?,
        ))
    };
    let now = Zoned::now();
    params.not_before = day(now.checked_sub(1.day())?)?;
    params.not_after = day(now.checked_add(VALID_DAYS.days())?)?;
    Ok(params)
}

fn sans(names: &[&str], addresses: &[IpAddr]) -> Result<Vec<SanType>> {
    let names = names
        .iter()
        .map(|name| Ok(SanType::DnsName((*name).try_into()?)));
    names
        .chain(
            addresses
                .iter()
                .map(|address| Ok(SanType::IpAddress(*address))),
        )
        .collect()
}

fn store(name: &str, identity: &Identity) -> Result<()> {
    secret(&layout::pki(&format!("{name}.crt")), &identity.certificate)?;
    secret(&layout::pki(&format!("{name}.key")), &identity.key)
}

/// Writes a file that is readable by root only.
pub(crate) fn secret(path: &Path, text: &str) -> Result<()> {
    let mut file = fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("creating {}", path.display()))?;
    file.write_all(text.as_bytes())
        .with_context(|| format!("writing {}", path.display()))
}
