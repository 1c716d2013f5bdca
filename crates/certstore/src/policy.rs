//! A TLS policy with its ready-made rustls configuration.

use std::{fmt, sync::Arc};

use landfall_model::{CipherSuite, ClientAuth, ClientAuthMode, TlsPolicy, TlsVersion};
use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs::default_provider},
    pki_types::CertificateDer,
    server::{
        NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier,
        danger::ClientCertVerifier,
    },
    version::{TLS12, TLS13},
};

use crate::{
    resolver::PinnedCertificate,
    tickets::{TicketSecrets, Ticketer},
};

/// A policy and the server configuration that all of its hostnames share.
pub struct Policy {
    policy: TlsPolicy,
    server: Arc<ServerConfig>,
}

/// Why a policy can't be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// rustls refuses it.
    #[error("the TLS policy can't be configured")]
    Refused(#[source] rustls::Error),
    /// A root for client certificates is none.
    #[error("a root for client certificates can't be used")]
    ClientRoot(#[source] rustls::Error),
    /// The roots for client certificates are refused.
    #[error("client certificates can't be verified")]
    ClientVerifier(#[source] VerifierBuilderError),
    /// More different policies than the store holds.
    #[error("{limit} different TLS policies are in use, no other one can be added")]
    TooMany {
        /// The bound.
        limit: usize,
    },
}

impl Policy {
    pub(crate) fn new(policy: TlsPolicy, tickets: Arc<TicketSecrets>) -> Result<Self, PolicyError> {
        let mut server = server_config(&policy)?;
        server.ticketer = Arc::new(Ticketer::new(&policy, tickets));
        Ok(Self { policy, server: Arc::new(server) })
    }

    /// What was asked for.
    pub fn policy(&self) -> &TlsPolicy {
        &self.policy
    }

    /// What a handshake is done with, inside [`with_certificate`](crate::with_certificate).
    pub fn server_config(&self) -> &Arc<ServerConfig> {
        &self.server
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.policy.fmt(f)
    }
}

fn server_config(policy: &TlsPolicy) -> Result<ServerConfig, PolicyError> {
    let versions: Vec<_> = policy.versions().map(protocol_version).collect();
    let provider = Arc::new(provider(policy));
    let verifier = match &policy.client_auth {
        Some(auth) => client_verifier(auth, Arc::clone(&provider))?,
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(PolicyError::Refused)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(PinnedCertificate));
    config.alpn_protocols = match policy.http2 {
        true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        false => vec![b"http/1.1".to_vec()],
    };
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(config)
}

/// Verifies client certificates with the hostname's own roots, and no others.
fn client_verifier(
    auth: &ClientAuth,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, PolicyError> {
    let mut roots = RootCertStore::empty();
    for root in &auth.ca {
        roots.add(CertificateDer::from(root.0.as_slice())).map_err(PolicyError::ClientRoot)?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match auth.mode {
        ClientAuthMode::Required => builder,
        ClientAuthMode::Optional => builder.allow_unauthenticated(),
    };
    builder.build().map_err(PolicyError::ClientVerifier)
}

fn provider(policy: &TlsPolicy) -> CryptoProvider {
    let mut provider = default_provider();
    provider.cipher_suites.retain(|own| {
        let code = u16::from(own.suite());
        let known = CipherSuite::ALL.iter().find(|suite| suite.code() == code);
        known.is_some_and(|suite| policy.accepts(*suite))
    });
    provider
}

fn protocol_version(version: TlsVersion) -> &'static SupportedProtocolVersion {
    match version {
        TlsVersion::Tls12 => &TLS12,
        TlsVersion::Tls13 => &TLS13,
    }
}
