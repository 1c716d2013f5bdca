//! How rustls gets what was chosen for a handshake.
//!
//! The configuration of a policy is shared by all its hostnames, and rustls may ask for the
//! certificate more than once (after a HelloRetryRequest, RFC 8446 section 4.1.4). So the key is
//! chosen and loaded before the handshake starts, and pinned to the task for as long as it lasts,
//! together with what the session's tickets are bound to.

use std::{cell::Cell, future::Future, sync::Arc};

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::Selected;

tokio::task_local! {
    static PINNED: Pinned;
}

/// What belongs to the handshake that the current task does.
pub(crate) struct Pinned {
    key: Arc<CertifiedKey>,
    /// The name of the entry that is served.
    pub(crate) name: Vec<u8>,
    /// When the session began that a ticket brought, in seconds since 1970.
    pub(crate) began: Cell<Option<u64>>,
    /// Until when the ticket is taken that was made last, in seconds since 1970.
    pub(crate) taken_until: Cell<u64>,
}

impl Pinned {
    /// `None` outside of a handshake.
    pub(crate) fn with<T>(read: impl FnOnce(&Self) -> T) -> Option<T> {
        PINNED.try_with(read).ok()
    }
}

/// Runs `handshake` so that the configuration of every [`Policy`](crate::Policy) presents what was
/// selected, and makes tickets for that name.
///
/// The call that makes the handshake's future must itself be inside: rustls reads the certificate
/// while it makes the connection.
pub async fn with_certificate<R, F: Future>(selected: &Selected<R>, handshake: F) -> F::Output {
    let pinned = Pinned {
        key: Arc::clone(&selected.key),
        name: selected.entry.name().to_string().into_bytes(),
        began: Cell::new(None),
        taken_until: Cell::new(0),
    };
    PINNED.scope(pinned, handshake).await
}

/// Presents the certificate that is pinned to the current task.
#[derive(Debug)]
pub(crate) struct PinnedCertificate;

impl ResolvesServerCert for PinnedCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Pinned::with(|pinned| Arc::clone(&pinned.key))
    }
}
