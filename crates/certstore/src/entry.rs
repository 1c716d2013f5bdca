//! What the store holds for a name.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use landfall_model::{HostPattern, HostnameState, KeyType, Route, TlsPolicy};

use crate::Policy;

/// Names one stored certificate. Never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CertificateId(pub i64);

/// The kind of key that a certificate has, as far as a client must support it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256
    P256,
    /// ECDSA on P-384
    P384,
    /// RSA
    Rsa,
}

impl KeyKind {
    /// The type that a hostname holds one certificate of.
    pub fn key_type(self) -> KeyType {
        match self {
            Self::P256 | Self::P384 => KeyType::Ecdsa,
            Self::Rsa => KeyType::Rsa,
        }
    }
}

/// A certificate by reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateRef {
    /// Where the source keeps it.
    pub id: CertificateId,
    /// Which clients it suits.
    pub key_kind: KeyKind,
    /// When it expires, in seconds since 1970; the last that can be told for what is later.
    pub not_after: u32,
    /// Whether it gives way to that of the wildcard above, as long as that is valid.
    pub standby: bool,
}

impl CertificateRef {
    /// Whether it may stand in another's place at `now`, in seconds since 1970.
    pub(crate) fn is_lent(&self, now: u64) -> bool {
        !self.standby && u64::from(self.not_after) > now
    }
}

/// A name and what it is to be served with, before it is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntrySpec {
    /// The name or the wildcard.
    pub name: HostPattern,
    /// Whether it is verified.
    pub state: HostnameState,
    /// Where requests go.
    pub route: Route,
    /// Which TLS is offered.
    pub policy: TlsPolicy,
    /// At most one for each type of key.
    pub certificates: Vec<CertificateRef>,
}

/// A name in the store. `R` is what its route was made into.
#[derive(Debug)]
pub struct Entry<R> {
    name: HostPattern,
    state: HostnameState,
    route: Arc<R>,
    policy: Arc<Policy>,
    ecdsa: Option<CertificateRef>,
    rsa: Option<CertificateRef>,
    /// Handshakes that were given its certificate since they were last taken.
    handshakes: AtomicU32,
}

impl<R> Entry<R> {
    pub(crate) fn new(spec: &EntrySpec, route: Arc<R>, policy: Arc<Policy>) -> Self {
        let of_type = |key_type| {
            let mut certificates = spec.certificates.iter();
            certificates.find(|own| own.key_kind.key_type() == key_type).copied()
        };
        Self {
            name: spec.name.clone(),
            state: spec.state,
            route,
            policy,
            ecdsa: of_type(KeyType::Ecdsa),
            rsa: of_type(KeyType::Rsa),
            handshakes: AtomicU32::new(0),
        }
    }

    /// The name or the wildcard.
    pub fn name(&self) -> &HostPattern {
        &self.name
    }

    /// Whether it is verified.
    pub fn state(&self) -> HostnameState {
        self.state
    }

    /// Where requests go. Names with equal routes share one.
    pub fn route(&self) -> &Arc<R> {
        &self.route
    }

    /// Which TLS is offered.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The certificates, ECDSA first.
    pub fn certificates(&self) -> impl Iterator<Item = CertificateRef> + Clone + use<R> {
        self.ecdsa.into_iter().chain(self.rsa)
    }

    /// Counts a handshake. Its line of memory is written to by whoever looks the entry up anyway.
    pub(crate) fn count_handshake(&self) {
        self.handshakes.fetch_add(1, Ordering::Relaxed);
    }

    /// How many handshakes there were since the last call.
    pub(crate) fn take_handshakes(&self) -> u32 {
        match self.handshakes.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.handshakes.swap(0, Ordering::Relaxed),
        }
    }

    /// Whether it is to be served with the certificate of the wildcard above, where there is one: it has
    /// none, or only such as are for standby.
    pub(crate) fn gives_way(&self) -> bool {
        self.certificates().all(|own| own.standby)
    }
}
