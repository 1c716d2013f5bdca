//! Whether a record can be used. One that can't is told why, and hurts no other.

use landfall_certstore::{
    CertificateError, GroupKeys, PolicyError, StoredCertificate, TicketSecret, TicketSecretError,
};
use landfall_feed::{
    lkg::{KeyDescription, NewCertificate, NewHostname},
    record::{CertificateRecord, HostnameRecord, RecordError, TicketRecord},
    seal::sha256,
};
use landfall_model::{Fingerprint, HostPattern, KeyType, Revision, SealContext};
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, prelude::FromDer, public_key::PublicKey,
};

/// The most certificates in a chain.
const MAX_CHAIN: usize = 10;
const SMALLEST_RSA_BITS: usize = 2_048;

/// Why a record is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum Rejection {
    #[error("the record can't be read")]
    Record(#[from] RecordError),
    #[error("the record's revision {revision} is not in its page, which covers {after} to {to}")]
    Revision { revision: Revision, after: Revision, to: Revision },
    #[error("the certificate can't be parsed as X.509")]
    Unparsable,
    #[error("the chain has {0} certificates; 1 to {MAX_CHAIN} are allowed")]
    ChainLength(usize),
    #[error("the certificate expired {0} s ago")]
    Expired(i64),
    #[error("the certificate does not cover the hostname")]
    Name,
    #[error("the certificate's key is of a kind that is not served")]
    KeyKind,
    #[error("there are two certificates with the same type of key")]
    SameKeyType,
    #[error("the key was sealed for another public key")]
    PublicKey,
    #[error("the private key can't be used")]
    Key(#[source] CertificateError),
    #[error("the TLS policy can't be served")]
    Policy(#[source] PolicyError),
    #[error("the ticket secret can't be opened")]
    SealedTicketSecret(#[source] CertificateError),
    #[error("the ticket secret can't be used")]
    TicketSecret(#[source] TicketSecretError),
}

impl Rejection {
    /// A short constant for metrics.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Record(error) => error.reason(),
            Self::Revision { .. } => "revision",
            Self::Unparsable => "certificate_unparsable",
            Self::ChainLength(_) => "chain_length",
            Self::Expired(_) => "certificate_expired",
            Self::Name => "certificate_name",
            Self::KeyKind => "key_kind",
            Self::SameKeyType => "same_key_type",
            Self::PublicKey => "public_key",
            Self::Key(error) => error.reason(),
            Self::Policy(_) => "policy",
            Self::SealedTicketSecret(error) => error.reason(),
            Self::TicketSecret(_) => "ticket_secret",
        }
    }
}

/// Whether private keys are opened to see that they match, which costs about 0.1 ms each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyCheck {
    /// Now.
    Open,
    /// At the first handshake.
    Defer,
}

/// A hostname's record that can be used.
#[derive(Debug)]
pub(super) struct Usable {
    pub(super) hostname: NewHostname,
    /// Why one of its certificates is set aside while the others are served.
    pub(super) set_aside: Option<Rejection>,
}

/// Checks a hostname's record at `now`, in seconds since 1970. A certificate that can't be used is set
/// aside where another can: it must not keep that one away. Its predecessor then takes its place again.
pub(super) fn hostname(
    record: HostnameRecord,
    revision: Revision,
    now: i64,
    (keys, check): (&GroupKeys, KeyCheck),
) -> Result<Usable, Rejection> {
    // Where there is something else to serve, it is not left to a handshake to find a key unusable.
    let check = if record.predecessors.is_empty() { check } else { KeyCheck::Open };
    let mut certificates: Vec<NewCertificate> = Vec::with_capacity(record.certificates.len());
    let (mut set_aside, mut expired) = (None, None);
    for own in &record.certificates {
        match certificate(&record.name, own, now, (keys, check)) {
            Ok(checked) if has_type_of(&certificates, &checked) => {
                set_aside = set_aside.or(Some(Rejection::SameKeyType));
            }
            Ok(checked) => certificates.push(checked),
            Err(rejection @ Rejection::Expired(_)) => expired = Some(rejection),
            Err(rejection) => set_aside = set_aside.or(Some(rejection)),
        }
    }
    if set_aside.is_some() || expired.is_some() {
        for own in &record.predecessors {
            match certificate(&record.name, own, now, (keys, check)) {
                Ok(checked) if !has_type_of(&certificates, &checked) => {
                    set_aside = set_aside.or(expired.take());
                    certificates.push(checked);
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
    match set_aside.take().or(expired.filter(|_| certificates.is_empty())) {
        Some(rejection) if certificates.is_empty() => Err(rejection),
        set_aside => {
            let hostname = NewHostname { revision, record, certificates };
            Ok(Usable { hostname, set_aside })
        }
    }
}

fn has_type_of(certificates: &[NewCertificate], one: &NewCertificate) -> bool {
    certificates.iter().any(|other| other.key.key_type == one.key.key_type)
}

/// Opens the secret of a record.
pub(super) fn ticket_secret(
    record: &TicketRecord,
    keys: &GroupKeys,
) -> Result<TicketSecret, Rejection> {
    let TicketRecord { starts, ends, secret } = record;
    let (starts, ends) = (*starts, *ends);
    let opened = keys.unseal(secret, SealContext::TicketSecret { starts, ends });
    let opened = opened.map_err(Rejection::SealedTicketSecret)?;
    TicketSecret::new(starts, ends, &opened).map_err(Rejection::TicketSecret)
}

fn certificate(
    hostname: &HostPattern,
    record: &CertificateRecord,
    now: i64,
    (keys, check): (&GroupKeys, KeyCheck),
) -> Result<NewCertificate, Rejection> {
    let chain: Vec<Vec<u8>> = record.chain.iter().map(|der| der.0.clone()).collect();
    let Some(leaf) = chain.first().filter(|_| chain.len() <= MAX_CHAIN) else {
        return Err(Rejection::ChainLength(chain.len()));
    };
    let (rest, parsed) = X509Certificate::from_der(leaf).map_err(|_| Rejection::Unparsable)?;
    if !rest.is_empty() {
        return Err(Rejection::Unparsable);
    }
    let not_after = parsed.validity().not_after.timestamp();
    if not_after <= now {
        return Err(Rejection::Expired(now - not_after));
    }
    if !covers(&parsed, hostname) {
        return Err(Rejection::Name);
    }
    let key = describe_key(&parsed)?;
    let spki_sha256 = sha256(parsed.public_key().raw);
    if record.spki_sha256 != spki_sha256 {
        return Err(Rejection::PublicKey);
    }
    if check == KeyCheck::Open {
        let (hostname, chain, key) = (hostname.clone(), chain.clone(), record.key.clone());
        let stored = StoredCertificate { hostname, chain, spki_sha256, key };
        keys.open(&stored).map_err(Rejection::Key)?;
    }
    Ok(NewCertificate {
        key,
        fingerprint: Fingerprint(sha256(leaf)),
        not_after,
        spki_sha256: spki_sha256.to_vec(),
        sealed: record.key.clone(),
        chain,
        standby: record.standby,
    })
}

/// Whether a subject alternative name covers `hostname` (RFC 6125 section 6.4). A wildcard
/// hostname needs the same wildcard in the certificate.
fn covers(certificate: &X509Certificate<'_>, hostname: &HostPattern) -> bool {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    names.value.general_names.iter().any(|name| {
        let GeneralName::DNSName(text) = name else { return false };
        match (text.parse::<HostPattern>(), hostname) {
            (Ok(own), HostPattern::Exact(name)) => own.covers(name),
            (Ok(own), HostPattern::Wildcard(_)) => own == *hostname,
            (Err(_), _) => false,
        }
    })
}

fn describe_key(certificate: &X509Certificate<'_>) -> Result<KeyDescription, Rejection> {
    match certificate.public_key().parsed() {
        Ok(PublicKey::EC(point)) => match point.key_size() {
            bits @ (256 | 384) => Ok(KeyDescription {
                key_type: KeyType::Ecdsa,
                bits: if bits == 256 { 256 } else { 384 },
            }),
            _ => Err(Rejection::KeyKind),
        },
        Ok(PublicKey::RSA(key)) if key.key_size() >= SMALLEST_RSA_BITS => {
            let bits = u32::try_from(key.key_size()).unwrap_or(u32::MAX);
            Ok(KeyDescription { key_type: KeyType::Rsa, bits })
        }
        _ => Err(Rejection::KeyKind),
    }
}

#[cfg(test)]
mod tests;
