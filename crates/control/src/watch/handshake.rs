//! A TLS handshake with a PoP, for the certificate that it shows and nothing else. Nobody's trust in it is
//! asked for: whether the PoP has the certificate's key is.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use landfall_feed::seal::sha256;
use landfall_model::{Fingerprint, Hostname, KeyType};
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        CryptoProvider, aws_lc_rs::default_provider, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;

use super::Finding;

/// A certificate that is looked for.
#[derive(Clone, Debug)]
pub(crate) struct Sought {
    /// A name that is served with it.
    pub(crate) name: Hostname,
    pub(crate) key_type: KeyType,
    pub(crate) fingerprint: Fingerprint,
    /// Of the one that is as good.
    pub(crate) stand_in: Option<Fingerprint>,
}

/// Looks at a PoP: at the first of its addresses where somebody answers. `time` is for all of it.
pub(crate) async fn look(
    (addresses, port): (&[IpAddr], u16),
    sought: &Sought,
    time: Duration,
) -> Finding {
    let begun = Instant::now();
    let all = begun + time;
    let each = time / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    for (index, address) in (1..).zip(addresses) {
        // What one address does not use is for those after it.
        let connected =
            timeout_at(begun + each * index, TcpStream::connect(SocketAddr::new(*address, port)));
        if let Ok(Ok(stream)) = connected.await {
            let shown = timeout_at(all, shake_hands(stream, sought)).await;
            return shown.unwrap_or(Finding::Failed);
        }
    }
    Finding::Unreachable
}

async fn shake_hands(stream: TcpStream, sought: &Sought) -> Finding {
    let shown = Arc::new(Shown::new(sought.key_type));
    let (Ok(config), Ok(server)) = (config(&shown), ServerName::try_from(sought.name.to_string()))
    else {
        return Finding::Failed;
    };
    let connected = TlsConnector::from(Arc::new(config)).connect(server, stream).await;
    match (shown.proven(), connected) {
        // What follows does not count: a PoP may want a client's certificate.
        (Some(leaf), connected) => {
            if let Ok(mut stream) = connected {
                // Whether it hears that is its own affair.
                let _ = stream.shutdown().await;
            }
            match leaf == sought.fingerprint || sought.stand_in == Some(leaf) {
                true => Finding::Shown,
                false => Finding::OtherCertificate,
            }
        }
        (None, Err(error)) if is_refusal(&error) => Finding::NameRefused,
        (None, _) => Finding::Failed,
    }
}

/// Whether it is the `unrecognized_name` alert (RFC 6066 section 3).
fn is_refusal(error: &io::Error) -> bool {
    let own = error.get_ref().and_then(|source| source.downcast_ref::<Error>());
    matches!(own, Some(Error::AlertReceived(AlertDescription::UnrecognisedName)))
}

fn config(shown: &Arc<Shown>) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(&shown.provider));
    let mut config = builder
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(shown) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    // A resumed session shows no certificate.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Takes whatever certificate is shown, and remembers it once the peer has proven to have its key. Of a
/// hostname's two certificates it asks for the one with this type of key.
#[derive(Debug)]
struct Shown {
    provider: Arc<CryptoProvider>,
    key_type: KeyType,
    proven: Mutex<Option<Fingerprint>>,
}

impl Shown {
    fn new(key_type: KeyType) -> Self {
        Self { provider: Arc::new(default_provider()), key_type, proven: Mutex::default() }
    }

    fn proven(&self) -> Option<Fingerprint> {
        *self.proven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, leaf: &CertificateDer<'_>) {
        let mut proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        *proven = Some(Fingerprint(sha256(leaf)));
    }
}

impl ServerCertVerifier for Shown {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let valid = verify_tls12_signature(message, leaf, signed, algorithms)?;
        self.remember(leaf);
        Ok(valid)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let valid = verify_tls13_signature(message, leaf, signed, algorithms)?;
        self.remember(leaf);
        Ok(valid)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let schemes = self.provider.signature_verification_algorithms.supported_schemes();
        let is_ecdsa = |scheme: &SignatureScheme| {
            matches!(
                scheme,
                SignatureScheme::ECDSA_NISTP256_SHA256
                    | SignatureScheme::ECDSA_NISTP384_SHA384
                    | SignatureScheme::ECDSA_NISTP521_SHA512
            )
        };
        let is_meant = |scheme: &SignatureScheme| match self.key_type {
            KeyType::Ecdsa => is_ecdsa(scheme),
            KeyType::Rsa => !is_ecdsa(scheme),
        };
        schemes.into_iter().filter(is_meant).collect()
    }
}

#[cfg(test)]
mod tests;
