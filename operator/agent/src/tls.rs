//! TLS of connections to production, as libpq's `sslmode` has it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use dryrun_core::{api::SslMode, problem::Problem, run::layout::AGENT_DIR};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{self, CryptoProvider},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::failure::Result;

/// The CA bundle of Debian's images; `dryrun-agent install` puts a copy next to the agent.
pub(crate) const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The public authorities of this pod: the agent's own bundle before the image's.
pub(crate) fn bundle() -> PathBuf {
    let own = Path::new(AGENT_DIR).join("ca-certificates.crt");
    if own.exists() { own } else { BUNDLE.into() }
}

/// A connector for one of the modes that use TLS. `authorities` is a file of certificates in PEM.
pub(crate) fn connector(mode: SslMode, authorities: &Path) -> Result<MakeRustlsConnect> {
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let config = match mode {
        SslMode::VerifyFull => {
            let roots = Arc::new(roots(authorities)?);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider);
            let verifier = verifier.build().map_err(|e| unreadable(authorities, &e))?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Verified(verifier)))
        }
        SslMode::Disable | SslMode::Prefer | SslMode::Require => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unverified(provider))),
    };
    Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Problem {
    let path = path.display();
    Problem::permanent(
        "TlsUnusable",
        format!("sslmode verify-full needs {path}: {error}"),
    )
}

fn roots(path: &Path) -> Result<RootCertStore> {
    let unreadable = |error: &dyn std::fmt::Display| unreadable(path, error);
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .map_err(|e| unreadable(&e))?
        .collect::<Result<_, _>>()
        .map_err(|e| unreadable(&e))?;
    let mut roots = RootCertStore::empty();
    if roots.add_parsable_certificates(certificates).0 == 0 {
        return Err(unreadable(&"it has no usable certificate"));
    }
    Ok(roots)
}

fn unusable(error: rustls::Error) -> Problem {
    Problem::permanent("TlsUnusable", error.to_string())
}

/// `verify-full`: the certificate is for the host, and an authority has signed it. What else stands
/// in a certificate that is refused is not repeated: its server is not known.
#[derive(Debug)]
struct Verified(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Verified {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self
            .0
            .verify_server_cert(certificate, chain, name, ocsp, now);
        verified.map_err(|error| match error {
            rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                ..
            }) => rustls::Error::InvalidCertificate(CertificateError::NotValidForName),
            other => other,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// `prefer` and `require`: any certificate will do, as in libpq; the handshake's signatures are
/// still checked.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
