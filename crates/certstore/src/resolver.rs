//! How rustls gets the certificate that was chosen for a handshake.
//!
//! The configuration of a policy is shared by all its hostnames, and rustls may ask for the
//! certificate more than once (after a HelloRetryRequest, RFC 8446 section 4.1.4). So the key is
//! chosen and loaded before the handshake starts, and pinned to the task for as long as it lasts.

use std::{future::Future, sync::Arc};

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

tokio::task_local! {
    static PINNED: Arc<CertifiedKey>;
}

/// Runs `handshake` so that the configuration of every [`Policy`](crate::Policy) presents `key` in it.
///
/// The call that makes the handshake's future must itself be inside: rustls reads the certificate
/// while it makes the connection.
pub async fn with_certificate<F: Future>(key: Arc<CertifiedKey>, handshake: F) -> F::Output {
    PINNED.scope(key, handshake).await
}

/// Presents the certificate that is pinned to the current task.
#[derive(Debug)]
pub(crate) struct PinnedCertificate;

impl ResolvesServerCert for PinnedCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        PINNED.try_with(Arc::clone).ok()
    }
}
