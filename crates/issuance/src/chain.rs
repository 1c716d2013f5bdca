//! Whether a chain that a CA issued is what was ordered, before it is handed over.

use landfall_model::{Der, HostPattern, KeyType};
use time::{Duration, OffsetDateTime};
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    oid_registry::{OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION},
    pem::Pem,
    prelude::FromDer as _,
};

/// The most certificates of a chain.
const MAX_LENGTH: usize = 10;
/// The largest chain as DER, in bytes. A record of the feed must hold two.
const MAX_SIZE: usize = 24 * 1024;
/// By how much a CA's clock may be ahead of ours.
const TOLERANCE: Duration = Duration::minutes(15);

/// Why a chain can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// There is something other than certificates in PEM (RFC 8555 section 9.1).
    #[error("what the CA issued is not a chain of certificates in PEM")]
    NotPem,
    /// There is no certificate.
    #[error("what the CA issued has no certificate")]
    Empty,
    /// More than 10 certificates.
    #[error("the chain has {length} certificates; at most {MAX_LENGTH} are taken")]
    TooLong {
        /// How many there are.
        length: usize,
    },
    /// More than 24 KiB.
    #[error("the chain has {size} bytes; at most {MAX_SIZE} are taken")]
    TooLarge {
        /// How many there are.
        size: usize,
    },
    /// A certificate can't be read.
    #[error("certificate {position} of the chain can't be read")]
    Unreadable {
        /// Counted from 1, the leaf.
        position: usize,
    },
    /// A certificate is not followed by the one that issued it.
    #[error("certificate {position} of the chain was not issued by the one that follows")]
    OutOfOrder {
        /// Counted from 1, the leaf.
        position: usize,
    },
    /// A certificate's signature does not verify.
    #[error("certificate {position} of the chain was not signed by the one that follows")]
    Signature {
        /// Counted from 1, the leaf.
        position: usize,
    },
    /// A certificate that stands behind another may not issue (RFC 5280 section 4.2.1.9).
    #[error("certificate {position} of the chain is not a CA's")]
    NotAuthority {
        /// Counted from 1, the leaf.
        position: usize,
    },
    /// It has ended.
    #[error("certificate {position} of the chain ended at {not_after}")]
    Expired {
        /// Counted from 1, the leaf.
        position: usize,
        /// When.
        not_after: OffsetDateTime,
    },
    /// It begins later than any difference of clocks explains.
    #[error("certificate {position} of the chain is not valid before {not_before}")]
    NotYetValid {
        /// Counted from 1, the leaf.
        position: usize,
        /// When.
        not_before: OffsetDateTime,
    },
    /// The names are not those that were asked for.
    #[error("the certificate is for {found}, and {asked} was asked for")]
    OtherNames {
        /// What the certificate has.
        found: String,
        /// What was ordered.
        asked: String,
    },
    /// The public key is not the one of the signing request.
    #[error("the certificate has another public key than was asked for")]
    OtherKey,
    /// It vouches for itself: no CA issued it.
    #[error("the certificate is its own issuer")]
    SelfIssued,
    /// A server may not use it (RFC 5280 section 4.2.1.12).
    #[error("the certificate is not for servers")]
    NotForServers,
}

/// What was ordered.
#[derive(Clone, Copy, Debug)]
pub struct Ordered<'a> {
    /// The names, in any order.
    pub names: &'a [HostPattern],
    /// What kind of a key.
    pub key_type: KeyType,
    /// The public key (SubjectPublicKeyInfo, DER).
    pub public_key: &'a [u8],
}

/// What is to be known of a chain that is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From when the leaf is valid.
    pub not_before: OffsetDateTime,
    /// Until when.
    pub not_after: OffsetDateTime,
}

/// Checks that a chain, the leaf first, is what was ordered: each certificate is followed by its
/// issuer, which signed it; all are valid now; and the leaf has the names, no more and no fewer, and
/// the key that were asked for.
///
/// # Errors
/// [`ChainError`].
pub fn check(
    chain: &[Der],
    ordered: Ordered<'_>,
    now: OffsetDateTime,
) -> Result<Validity, ChainError> {
    check_size(chain)?;
    let parsed = parse(chain)?;
    let leaf = parsed.first().ok_or(ChainError::Empty)?;
    check_key(leaf, ordered)?;
    check_names(leaf, ordered.names)?;
    if leaf.issuer().as_raw() == leaf.subject().as_raw()
        || leaf.verify_signature(Some(leaf.public_key())).is_ok()
    {
        return Err(ChainError::SelfIssued);
    }
    match leaf.extended_key_usage() {
        Ok(None) => {}
        Ok(Some(usage)) if usage.value.server_auth || usage.value.any => {}
        _ => return Err(ChainError::NotForServers),
    }
    check_issuers(&parsed)?;
    for (certificate, position) in parsed.iter().zip(1..) {
        check_validity(certificate, position, now)?;
    }
    let validity = leaf.validity();
    Ok(Validity {
        not_before: validity.not_before.to_datetime(),
        not_after: validity.not_after.to_datetime(),
    })
}

/// Reads the chain that a CA sends (RFC 8555 section 9.1).
pub(crate) fn read_pem(text: &[u8]) -> Result<Vec<Der>, ChainError> {
    let mut chain = Vec::new();
    for block in Pem::iter_from_buffer(text) {
        let block = block.map_err(|_| ChainError::NotPem)?;
        if block.label != "CERTIFICATE" {
            return Err(ChainError::NotPem);
        }
        chain.push(Der(block.contents));
        if chain.len() > MAX_LENGTH {
            return Err(ChainError::TooLong { length: chain.len() });
        }
    }
    check_size(&chain)?;
    Ok(chain)
}

/// Whether the topmost certificate was issued by a CA of this common name.
pub(crate) fn is_issued_by(chain: &[Der], name: &str) -> bool {
    let Some(Ok((_, top))) = chain.last().map(|der| X509Certificate::from_der(&der.0)) else {
        return false;
    };
    top.issuer().iter_common_name().any(|own| own.as_str() == Ok(name))
}

fn check_size(chain: &[Der]) -> Result<(), ChainError> {
    let (length, size) = (chain.len(), chain.iter().map(|der| der.0.len()).sum());
    match (length, size) {
        (0, _) => Err(ChainError::Empty),
        _ if length > MAX_LENGTH => Err(ChainError::TooLong { length }),
        _ if size > MAX_SIZE => Err(ChainError::TooLarge { size }),
        _ => Ok(()),
    }
}

fn parse(chain: &[Der]) -> Result<Vec<X509Certificate<'_>>, ChainError> {
    let read = |(position, der)| match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(ChainError::Unreadable { position }),
    };
    (1..).zip(chain.iter().map(|der| der.0.as_slice())).map(read).collect()
}

fn check_issuers(chain: &[X509Certificate<'_>]) -> Result<(), ChainError> {
    for ((certificate, issuer), position) in chain.iter().zip(chain.iter().skip(1)).zip(1..) {
        if certificate.issuer().as_raw() != issuer.subject().as_raw() {
            return Err(ChainError::OutOfOrder { position });
        }
        if !issuer.is_ca() {
            return Err(ChainError::NotAuthority { position: position + 1 });
        }
        if certificate.verify_signature(Some(issuer.public_key())).is_err() {
            return Err(ChainError::Signature { position });
        }
    }
    Ok(())
}

fn check_validity(
    certificate: &X509Certificate<'_>,
    position: usize,
    now: OffsetDateTime,
) -> Result<(), ChainError> {
    let validity = certificate.validity();
    let (not_before, not_after) =
        (validity.not_before.to_datetime(), validity.not_after.to_datetime());
    if not_after <= now {
        return Err(ChainError::Expired { position, not_after });
    }
    if not_before > now.saturating_add(TOLERANCE) {
        return Err(ChainError::NotYetValid { position, not_before });
    }
    Ok(())
}

fn check_key(leaf: &X509Certificate<'_>, ordered: Ordered<'_>) -> Result<(), ChainError> {
    let key = leaf.public_key();
    let algorithm = match ordered.key_type {
        KeyType::Ecdsa => OID_KEY_TYPE_EC_PUBLIC_KEY,
        KeyType::Rsa => OID_PKCS1_RSAENCRYPTION,
    };
    match key.raw == ordered.public_key && *key.algorithm.oid() == algorithm {
        true => Ok(()),
        false => Err(ChainError::OtherKey),
    }
}

/// Names of subjectAltName alone count (RFC 9525 section 6.3).
fn check_names(leaf: &X509Certificate<'_>, asked: &[HostPattern]) -> Result<(), ChainError> {
    let extension = leaf.subject_alternative_name().ok().flatten();
    let names = extension.iter().flat_map(|extension| &extension.value.general_names);
    // Anything but a DNS name is written as it is, and equals no name that was asked for.
    let text = |name: &GeneralName<'_>| {
        let GeneralName::DNSName(name) = name else { return format!("{name:?}") };
        name.parse().map_or_else(|_| (*name).to_owned(), |name: HostPattern| name.to_string())
    };
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names.dedup();
        names.join(" ")
    };
    let found = sorted(names.map(text).collect());
    let asked = sorted(asked.iter().map(HostPattern::to_string).collect());
    if found == asked { Ok(()) } else { Err(ChainError::OtherNames { found, asked }) }
}

#[cfg(test)]
mod tests;
