//! TLS-ALPN-01 (RFC 8737): a handshake that shows the certificate of a challenge, and nothing after it.

use std::{io, sync::Arc};

use landfall_model::Hostname;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs::default_provider, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    version::TLS13,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, oid_registry::asn1_rs::oid,
    prelude::FromDer as _,
};

use super::ProbeError;

const PROTOCOL: &[u8] = b"acme-tls/1";
/// The DER of an OCTET STRING of 32 bytes begins so.
const OCTET_STRING: [u8; 2] = [4, 32];

pub(super) async fn shake_hands(
    stream: TcpStream,
    name: &Hostname,
    digest: &[u8],
) -> Result<(), ProbeError> {
    let failed = |error: io::Error| ProbeError::Handshake(error);
    let server = ServerName::try_from(name.to_string());
    let server = server.map_err(|error| failed(io::Error::other(error)))?;
    let config = config(name, digest).map_err(|error| failed(io::Error::other(error)))?;
    let stream =
        TlsConnector::from(Arc::new(config)).connect(server, stream).await.map_err(failed)?;
    let (_, connection) = stream.get_ref();
    let is_agreed = connection.alpn_protocol() == Some(PROTOCOL);
    if is_agreed { Ok(()) } else { Err(ProbeError::OtherAnswer) }
}

fn config(name: &Hostname, digest: &[u8]) -> Result<ClientConfig, Error> {
    let provider = Arc::new(default_provider());
    let shown =
        Shown { name: name.clone(), digest: digest.to_vec(), provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider);
    let mut config = builder
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(shown))
        .with_no_client_auth();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.enable_early_data = false;
    Ok(config)
}

/// Takes the challenge's certificate, which nobody has signed, and no other one.
#[derive(Debug)]
struct Shown {
    name: Hostname,
    digest: Vec<u8>,
    provider: Arc<CryptoProvider>,
}

impl Shown {
    /// RFC 8737 section 3.
    fn is_own(&self, certificate: &X509Certificate<'_>) -> bool {
        let identifier = certificate
            .extensions()
            .iter()
            .find(|extension| extension.oid == oid!(1.3.6.1.5.5.7.1.31) && extension.critical);
        let shows = identifier.is_some_and(|extension| {
            extension.value.strip_prefix(&OCTET_STRING) == Some(&self.digest)
        });
        let names = certificate.subject_alternative_name().ok().flatten();
        let is_for = names.is_some_and(|names| match names.value.general_names.as_slice() {
            [GeneralName::DNSName(name)] => name.eq_ignore_ascii_case(self.name.as_str()),
            _ => false,
        });
        shows && is_for
    }
}

impl ServerCertVerifier for Shown {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match X509Certificate::from_der(end_entity) {
            Ok((_, certificate)) if self.is_own(&certificate) => {
                Ok(ServerCertVerified::assertion())
            }
            _ => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // TLS 1.3 alone is offered.
        Err(CertificateError::BadSignature.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // By the bare key: the extension is critical, and what reads certificates does not know it.
        let (_, read) = X509Certificate::from_der(certificate)
            .map_err(|_| Error::from(CertificateError::BadEncoding))?;
        let key = SubjectPublicKeyInfoDer::from(read.public_key().raw);
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
