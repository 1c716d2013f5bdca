//! The challenges of CAs, which every edge answers for the names that are being validated.
//!
//! HTTP-01 needs no token in flight: the answer is the token that is asked for and the thumbprint of the
//! account that has ordered (RFC 8555 section 8.1). TLS-ALPN-01 is answered with a certificate that is
//! made when the validation begins (RFC 8737 section 3). Readers load, never lock.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use http::Method;
use landfall_feed::record::{AlpnDigest, ValidationRecord};
use landfall_model::{Hostname, LookupName, Thumbprint, issuance::is_base64url};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::ClientHello,
    sign::{CertifiedKey, SingleCertAndKey},
};

/// Where HTTP-01 is asked for (RFC 8555 section 8.3).
const HTTP_PATH: &str = "/.well-known/acme-challenge/";
/// The longest token, in bytes. Those of RFC 8555 have 22 at least.
const MAX_TOKEN: usize = 256;
/// What TLS-ALPN-01 is asked for by (RFC 8737 section 6.2).
const ALPN_PROTOCOL: &[u8] = b"acme-tls/1";
/// The most names that are validated at a time. What comes beyond waits until some have ended.
const MAX_VALIDATIONS: usize = 20_000;

/// The names that are being validated. One task writes, everybody reads.
#[derive(Default)]
pub struct Challenges {
    by_name: ArcSwap<HashMap<Box<str>, Arc<Challenge>>>,
}

struct Challenge {
    thumbprint: Thumbprint,
    alpn: Option<Arc<ServerConfig>>,
    /// In seconds since 1970.
    until: u64,
}

/// Why no certificate could be made for TLS-ALPN-01.
#[derive(Debug, thiserror::Error)]
enum AlpnError {
    #[error("the certificate can't be made")]
    Certificate(#[from] rcgen::Error),
    #[error("the certificate can't be used")]
    Tls(#[from] rustls::Error),
}

impl Challenges {
    /// What is to be answered to a request over plain HTTP at `now`, in seconds since 1970: `None` where
    /// it is no challenge of a name that is being validated.
    pub(crate) fn key_authorization(
        &self,
        name: &LookupName,
        (method, path): (&Method, &str),
        now: u64,
    ) -> Option<String> {
        let token = path.strip_prefix(HTTP_PATH)?;
        let is_token = (1..=MAX_TOKEN).contains(&token.len()) && is_base64url(token);
        if !is_token || !matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
        let challenge = self.find(name, now)?;
        Some(format!("{token}.{}", challenge.thumbprint.as_str()))
    }

    /// What a handshake is done with that asks for a challenge, and for nothing else.
    pub(crate) fn tls(&self, hello: &ClientHello<'_>, now: u64) -> Option<Arc<ServerConfig>> {
        let mut protocols = hello.alpn()?;
        let is_challenge = protocols.next() == Some(ALPN_PROTOCOL) && protocols.next().is_none();
        if !is_challenge {
            return None;
        }
        let name = LookupName::from_sni(hello.server_name()?)?;
        self.find(&name, now)?.alpn.clone()
    }

    fn find(&self, name: &LookupName, now: u64) -> Option<Arc<Challenge>> {
        let found = self.by_name.load().get(name.as_str()).cloned();
        found.filter(|challenge| challenge.until > now)
    }

    /// Begins a validation, or replaces the one that the name has.
    pub fn insert(&self, record: ValidationRecord) {
        let mut by_name = HashMap::clone(&self.by_name.load());
        add(&mut by_name, record);
        self.by_name.store(Arc::new(by_name));
    }

    /// Ends a name's validation.
    pub fn remove(&self, name: &str) {
        if self.by_name.load().contains_key(name) {
            let mut by_name = HashMap::clone(&self.by_name.load());
            by_name.remove(name);
            self.by_name.store(Arc::new(by_name));
        }
    }

    /// Puts these in the place of all there are.
    pub(crate) fn replace(&self, records: Vec<ValidationRecord>) {
        let mut by_name = HashMap::new();
        for record in records {
            add(&mut by_name, record);
        }
        self.by_name.store(Arc::new(by_name));
    }

    /// Drops the validations whose time is over at `now`, in seconds since 1970.
    pub(crate) fn forget_ended(&self, now: u64) {
        if self.by_name.load().values().any(|challenge| challenge.until <= now) {
            let mut by_name = HashMap::clone(&self.by_name.load());
            by_name.retain(|_, challenge| challenge.until > now);
            self.by_name.store(Arc::new(by_name));
        }
    }
}

fn add(by_name: &mut HashMap<Box<str>, Arc<Challenge>>, record: ValidationRecord) {
    let ValidationRecord { name, thumbprint, alpn, until } = record;
    if by_name.len() >= MAX_VALIDATIONS && !by_name.contains_key(name.as_str()) {
        tracing::warn!(hostname = %name, "too many validations at a time; this one is not answered");
        return;
    }
    let alpn = alpn.and_then(|digest| match alpn_config(&name, digest) {
        Ok(config) => Some(config),
        Err(error) => {
            tracing::error!(hostname = %name, %error, "cannot answer TLS-ALPN-01");
            None
        }
    });
    by_name.insert(name.as_str().into(), Arc::new(Challenge { thumbprint, alpn, until }));
}

/// Shows the certificate of RFC 8737 section 3: self-signed, with the digest in an extension.
fn alpn_config(
    name: &Hostname,
    AlpnDigest(digest): AlpnDigest,
) -> Result<Arc<ServerConfig>, AlpnError> {
    let mut params = CertificateParams::new(vec![name.to_string()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest)];
    let key = KeyPair::generate()?;
    let chain = vec![params.self_signed(&key)?.der().clone()];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = default_provider();
    let key = provider.key_provider.load_private_key(key)?;
    // Not by `with_single_cert`, which refuses the critical extension.
    let certified = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certified));
    config.alpn_protocols = vec![ALPN_PROTOCOL.to_vec()];
    // A CA connects once.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    const THUMBPRINT: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";

    fn record(name: &str, until: u64) -> ValidationRecord {
        let thumbprint = THUMBPRINT.parse().unwrap();
        ValidationRecord { name: name.parse().unwrap(), thumbprint, alpn: None, until }
    }

    fn asked(challenges: &Challenges, name: &str, path: &str, now: u64) -> Option<String> {
        let name = LookupName::from_sni(name).unwrap();
        challenges.key_authorization(&name, (&Method::GET, path), now)
    }

    #[test]
    fn any_token_is_answered_while_its_name_is_validated_and_nothing_else() {
        let challenges = Challenges::default();
        challenges.insert(record("a.example", 100));
        let path = "/.well-known/acme-challenge/LoqXcYV8-q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0";
        let answer = format!("LoqXcYV8-q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0.{THUMBPRINT}");
        assert_eq!(asked(&challenges, "a.example", path, 99), Some(answer));
        assert_eq!(asked(&challenges, "a.example", path, 100), None, "its time is over");
        assert_eq!(asked(&challenges, "b.example", path, 99), None, "another name");
        assert_eq!(asked(&challenges, "x.a.example", path, 99), None, "a name below it");
        for bad in ["", "a/b", "a%2fb", "a.b", "ä", "a?b", "../a", &"a".repeat(257)] {
            let path = format!("/.well-known/acme-challenge/{bad}");
            assert_eq!(asked(&challenges, "a.example", &path, 99), None, "{bad}");
        }
        let name = LookupName::from_sni("a.example").unwrap();
        assert_eq!(challenges.key_authorization(&name, (&Method::POST, path), 99), None);
        challenges.remove("a.example");
        assert_eq!(asked(&challenges, "a.example", path, 99), None, "it ended");
    }

    #[test]
    fn what_has_ended_is_forgotten_and_what_is_too_much_is_left_out() {
        let challenges = Challenges::default();
        let many = (0..=MAX_VALIDATIONS).map(|index| record(&format!("h{index}.example"), 10));
        challenges.replace(many.collect());
        assert_eq!(challenges.by_name.load().len(), MAX_VALIDATIONS);
        challenges.insert(record("h0.example", 20));
        challenges.forget_ended(10);
        assert_eq!(challenges.by_name.load().len(), 1);
        challenges.insert(record("late.example", 20));
        assert!(asked(&challenges, "late.example", "/.well-known/acme-challenge/x", 19).is_some());
    }
}
