//! Certificate chains: the leaf first, each followed by its issuer.

use landfall_model::{HostPattern, KeyType};
use rustls::{pki_types::CertificateDer, server::ParsedCertificate};
use time::OffsetDateTime;
use x509_parser::{
    asn1_rs::{Oid, oid},
    extensions::GeneralName,
    oid_registry::{
        OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION,
        OID_PKCS1_RSASSAPSS, OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA,
    },
    prelude::{FromDer, X509Certificate},
    public_key::PublicKey,
    signature_algorithm::RsaSsaPssParams,
};

use super::upload::UploadError;

/// The most certificates in a chain.
pub(crate) const MAX_CHAIN_LEN: usize = 10;
/// The smallest RSA key, in bits.
pub(crate) const MIN_RSA_BITS: usize = 2_048;
/// The largest RSA key that TLS libraries agree on, in bits.
pub(crate) const MAX_RSA_BITS: usize = 8_192;

/// Splits certificates that stand one after the other. `None` where something else does.
pub(crate) fn split_der(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (rest, _) = X509Certificate::from_der(bytes).ok()?;
        let (one, _) = bytes.split_at_checked(bytes.len() - rest.len())?;
        found.push(one);
        bytes = rest;
    }
    Some(found)
}

/// Parses a chain whose every element is one certificate and nothing more.
pub(crate) fn parse(chain: &[Vec<u8>]) -> Result<Vec<X509Certificate<'_>>, UploadError> {
    if chain.len() > MAX_CHAIN_LEN {
        return Err(UploadError::ChainTooLong { len: chain.len() });
    }
    let read = |(index, der)| match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(UploadError::CertificateUnreadable { position: index + 1 }),
    };
    chain.iter().map(Vec::as_slice).enumerate().map(read).collect()
}

/// Checks that each certificate is followed by the one that signed it.
pub(crate) fn check_order(chain: &[X509Certificate<'_>]) -> Result<(), UploadError> {
    for (index, (certificate, issuer)) in chain.iter().zip(chain.iter().skip(1)).enumerate() {
        let position = index + 1;
        if certificate.issuer().as_raw() != issuer.subject().as_raw() {
            return Err(UploadError::ChainOutOfOrder { position });
        }
        if certificate.verify_signature(Some(issuer.public_key())).is_err() {
            return Err(UploadError::ChainSignature { position });
        }
    }
    Ok(())
}

/// Checks that every certificate is valid at `now`.
pub(crate) fn check_validity(
    chain: &[X509Certificate<'_>],
    now: OffsetDateTime,
) -> Result<(), UploadError> {
    for (index, certificate) in chain.iter().enumerate() {
        let position = index + 1;
        let (not_before, not_after) = validity(certificate);
        if now > not_after {
            return Err(UploadError::Expired { position, not_after });
        }
        if now < not_before {
            return Err(UploadError::NotYetValid { position, not_before });
        }
    }
    Ok(())
}

/// From when to when a certificate is valid.
pub(crate) fn validity(certificate: &X509Certificate<'_>) -> (OffsetDateTime, OffsetDateTime) {
    let validity = certificate.validity();
    (validity.not_before.to_datetime(), validity.not_after.to_datetime())
}

/// Checks that no certificate is signed over SHA-1. A root's signature on itself proves nothing
/// to anybody, so it may be.
pub(crate) fn check_signatures(chain: &[X509Certificate<'_>]) -> Result<(), UploadError> {
    let weak = |certificate: &X509Certificate<'_>| {
        let root = certificate.issuer().as_raw() == certificate.subject().as_raw();
        is_sha1(certificate) && !(root && certificate.is_ca())
    };
    match chain.iter().position(weak) {
        Some(index) => Err(UploadError::WeakSignature { position: index + 1 }),
        None => Ok(()),
    }
}

fn is_sha1(certificate: &X509Certificate<'_>) -> bool {
    let algorithm = &certificate.signature_algorithm;
    let oid = algorithm.oid();
    if *oid == OID_PKCS1_RSASSAPSS {
        // The hash's default is SHA-1 (RFC 4055 section 3.1).
        let parameters = algorithm.parameters.as_ref();
        let parsed = parameters.and_then(|any| RsaSsaPssParams::try_from(any).ok());
        return parsed.is_none_or(|params| is_sha1_hash(params.hash_algorithm_oid()));
    }
    // ecdsa-with-SHA1 (RFC 3279 section 2.2.3).
    [OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA, oid!(1.2.840.10045.4.1)].contains(oid)
}

fn is_sha1_hash(oid: &Oid<'_>) -> bool {
    *oid == x509_parser::oid_registry::OID_HASH_SHA1
}

/// The kind of the certificate's public key, where it is one that is served.
pub(crate) fn key_type(certificate: &X509Certificate<'_>) -> Result<KeyType, UploadError> {
    let spki = certificate.public_key();
    let oid = spki.algorithm.oid();
    if *oid == OID_PKCS1_RSAENCRYPTION {
        let bits = rsa_bits(&spki.parsed());
        return match bits {
            MIN_RSA_BITS..=MAX_RSA_BITS => Ok(KeyType::Rsa),
            _ => Err(UploadError::KeySize { bits }),
        };
    }
    let curve = spki.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
    let curve_is = |expected: &Oid<'_>| curve.as_ref().is_some_and(|own| own == expected);
    let served = curve_is(&OID_EC_P256) || curve_is(&OID_NIST_EC_P384);
    match *oid == OID_KEY_TYPE_EC_PUBLIC_KEY && served {
        true => Ok(KeyType::Ecdsa),
        false => Err(UploadError::KeyUnsupported),
    }
}

/// The length of the certificate's key, in bits; 0 where it is of a kind that is not served.
pub(crate) fn key_bits(certificate: &X509Certificate<'_>) -> usize {
    let spki = certificate.public_key();
    if *spki.algorithm.oid() == OID_PKCS1_RSAENCRYPTION {
        return rsa_bits(&spki.parsed());
    }
    let curve = spki.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
    match curve {
        Some(curve) if curve == OID_EC_P256 => 256,
        Some(curve) if curve == OID_NIST_EC_P384 => 384,
        _ => 0,
    }
}

fn rsa_bits<E>(key: &Result<PublicKey<'_>, E>) -> usize {
    let Ok(PublicKey::RSA(key)) = key else {
        return 0;
    };
    let mut modulus = key.modulus.iter().skip_while(|byte| **byte == 0);
    let first = modulus.next().map_or(0, |byte| 8 - byte.leading_zeros() as usize);
    first + 8 * modulus.count()
}

/// Checks that a server may use the certificate, where it says what it is for (RFC 5280 section
/// 4.2.1.12).
pub(crate) fn check_purpose(leaf: &X509Certificate<'_>) -> Result<(), UploadError> {
    match leaf.extended_key_usage() {
        Ok(None) => Ok(()),
        Ok(Some(usage)) if usage.value.server_auth || usage.value.any => Ok(()),
        _ => Err(UploadError::NotForServers),
    }
}

/// Checks that TLS libraries load the certificate. One with a critical extension that they don't
/// know is refused by them (RFC 5280 section 4.2); a precertificate has one (RFC 6962 section 3.1).
pub(crate) fn check_loadable(leaf: &[u8]) -> Result<(), UploadError> {
    let leaf = CertificateDer::from(leaf);
    ParsedCertificate::try_from(&leaf).map(drop).map_err(|_| UploadError::CertificateUnloadable)
}

/// Checks that the certificate is for `name` (RFC 9525 section 6.3: subjectAltName alone counts).
pub(crate) fn check_name(
    leaf: &X509Certificate<'_>,
    name: &HostPattern,
) -> Result<(), UploadError> {
    let names = dns_names(leaf);
    let covers = |own: &HostPattern| match name {
        HostPattern::Exact(name) => own.covers(name),
        HostPattern::Wildcard(_) => own == name,
    };
    match names.iter().any(covers) {
        true => Ok(()),
        false => Err(UploadError::NameNotCovered { wanted: name.clone(), names }),
    }
}

/// The certificate's DNS names, of those that a hostname can have.
pub(crate) fn dns_names(leaf: &X509Certificate<'_>) -> Vec<HostPattern> {
    let Ok(Some(extension)) = leaf.subject_alternative_name() else {
        return Vec::new();
    };
    let parse = |name: &GeneralName<'_>| {
        let GeneralName::DNSName(text) = name else { return None };
        text.parse().ok()
    };
    extension.value.general_names.iter().filter_map(parse).collect()
}
