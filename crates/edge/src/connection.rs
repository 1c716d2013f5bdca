//! What is known of a client's connection: shared by its transport and its requests.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use crate::{client_certificate::ClientCertificate, site::Site};
use landfall_certstore::Entry;
use pingora_core::protocols::{Digest, http::ServerSession};

/// A client's connection. Travels to the requests as the user data of pingora's proxy digest.
#[derive(Debug)]
pub(crate) struct Connection {
    /// What the handshake chose by SNI; `None` on plain HTTP.
    entry: Option<Arc<Entry<Site>>>,
    client_certificate: Option<ClientCertificate>,
    requests: Requests,
}

impl Connection {
    pub(crate) fn tls(
        entry: Arc<Entry<Site>>,
        client_certificate: Option<ClientCertificate>,
    ) -> Self {
        Self { entry: Some(entry), client_certificate, requests: Requests::default() }
    }

    pub(crate) fn plain() -> Self {
        Self { entry: None, client_certificate: None, requests: Requests::default() }
    }

    /// The connection that a request came on. `None` where the transport isn't ours.
    pub(crate) fn of(session: &ServerSession) -> Option<&Self> {
        Self::in_digest(session.digest()?)
    }

    fn in_digest(digest: &Digest) -> Option<&Self> {
        let user_data = digest.proxy_digest.as_ref()?.user_data.as_ref()?;
        user_data.downcast_ref::<Arc<Self>>().map(Arc::as_ref)
    }

    pub(crate) fn entry(&self) -> Option<&Arc<Entry<Site>>> {
        self.entry.as_ref()
    }

    /// What the client showed, verified with the roots of the connection's entry; `None` where
    /// it was not asked, or had nothing to show.
    #[allow(dead_code, reason = "what tells origins of it reads it")]
    pub(crate) fn client_certificate(&self) -> Option<&ClientCertificate> {
        self.client_certificate.as_ref()
    }

    pub(crate) fn requests(&self) -> &Requests {
        &self.requests
    }
}

/// Counts the requests of one connection, so that its transport can tell whether what arrives is
/// a request's header.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    started: AtomicU32,
    ended: AtomicU32,
}

impl Requests {
    /// A request's header is complete.
    pub(crate) fn start(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
    }

    /// A request's response is complete, or given up.
    pub(crate) fn end(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were started, wrapping around.
    pub(crate) fn started(&self) -> u32 {
        self.started.load(Ordering::Relaxed)
    }

    /// Whether one is between its header and the end of its response.
    pub(crate) fn is_busy(&self) -> bool {
        self.started.load(Ordering::Relaxed) != self.ended.load(Ordering::Relaxed)
    }
}
