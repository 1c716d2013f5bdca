//! Tickets for rustls.

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::digest::{Context, SHA256};
use landfall_model::{ClientAuth, ClientAuthMode, TlsPolicy, TlsVersion};
use rustls::server::ProducesTickets;

use super::{
    Binding, TicketSecrets,
    sealed::{Issued, Session},
};
use crate::resolver::Pinned;

/// Makes and takes the tickets of one policy.
pub(crate) struct Ticketer {
    policy: [u8; 32],
    secrets: Arc<TicketSecrets>,
}

impl Ticketer {
    pub(crate) fn new(policy: &TlsPolicy, secrets: Arc<TicketSecrets>) -> Self {
        Self { policy: digest(policy), secrets }
    }

    fn binding<'a>(&'a self, pinned: &'a Pinned) -> Binding<'a> {
        Binding { policy: &self.policy, name: &pinned.name }
    }
}

/// Outside of a handshake there are no tickets: nothing says which hostname they would be for.
impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    /// Of the ticket that was made last in this handshake: rustls asks right after it.
    fn lifetime(&self) -> u32 {
        let until = Pinned::with(|pinned| pinned.taken_until.get()).unwrap_or_default();
        u32::try_from(until.saturating_sub(now())).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let now = now();
        Pinned::with(|pinned| {
            // A session that is resumed stays as old as it is.
            let session =
                Session { began: pinned.began.get().unwrap_or(now), plain: plain.to_vec() };
            let issued = self.secrets.secrets.load().issue(now, self.binding(pinned), session);
            let Issued { ticket, taken_until } = issued?;
            pinned.taken_until.set(taken_until);
            Some(ticket)
        })?
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        Pinned::with(|pinned| {
            let binding = self.binding(pinned);
            let Session { began, plain } =
                self.secrets.secrets.load().open(now(), binding, ticket)?;
            pinned.began.set(Some(began));
            Some(plain)
        })?
    }
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticketer")
    }
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The SHA-256 of a policy, the same at every edge: all of its parts in order, each list with its
/// length in front.
fn digest(policy: &TlsPolicy) -> [u8; 32] {
    let TlsPolicy { min_version, tls13, http2, ciphers, client_auth } = policy;
    let mut context = Context::new(&SHA256);
    let min_version = match min_version {
        TlsVersion::Tls12 => 2,
        TlsVersion::Tls13 => 3,
    };
    context.update(&[min_version, u8::from(*tls13), u8::from(*http2)]);
    context.update(&(ciphers.len() as u64).to_be_bytes());
    for suite in ciphers {
        context.update(&suite.code().to_be_bytes());
    }
    if let Some(ClientAuth { mode, ca }) = client_auth {
        let mode = match mode {
            ClientAuthMode::Required => 1,
            ClientAuthMode::Optional => 2,
        };
        context.update(&[mode]);
        for root in ca {
            context.update(&(root.0.len() as u64).to_be_bytes());
            context.update(&root.0);
        }
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

#[cfg(test)]
mod tests {
    use landfall_model::Der;

    use super::*;

    #[test]
    fn every_part_of_a_policy_is_in_its_digest() {
        let plain = TlsPolicy::default();
        let auth = |mode, ca: &[&[u8]]| {
            let ca = ca.iter().map(|der| Der(der.to_vec())).collect();
            TlsPolicy { client_auth: Some(ClientAuth { mode, ca }), ..TlsPolicy::default() }
        };
        let ciphers = |names: &[&str]| TlsPolicy {
            ciphers: names.iter().map(|name| name.parse().unwrap()).collect(),
            ..TlsPolicy::default()
        };
        let policies = [
            plain.clone(),
            TlsPolicy { min_version: TlsVersion::Tls13, ..plain.clone() },
            TlsPolicy { tls13: false, ..plain.clone() },
            TlsPolicy { http2: false, ..plain },
            ciphers(&["TLS_AES_128_GCM_SHA256"]),
            ciphers(&["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"]),
            auth(ClientAuthMode::Required, &[b"one"]),
            auth(ClientAuthMode::Optional, &[b"one"]),
            auth(ClientAuthMode::Optional, &[b"two"]),
            auth(ClientAuthMode::Optional, &[b"one", b"two"]),
            auth(ClientAuthMode::Optional, &[b"onetwo"]),
        ];
        for (index, one) in policies.iter().enumerate() {
            assert_eq!(digest(one), digest(&one.clone()));
            for other in policies.iter().skip(index + 1) {
                assert_ne!(digest(one), digest(other), "{one:?} {other:?}");
            }
        }
    }
}
