//! Reads PEM: the one file that uses rustls-pemfile.
//!
//! That crate is a thin layer over the PEM reader of rustls-pki-types and no longer developed; its
//! form of a file as a list of typed sections is what an upload needs. It is kept to this file so
//! that leaving it changes nothing else.

use data_encoding::BASE64;
use landfall_model::Der;
use rustls_pemfile::Item;
use zeroize::{Zeroize, Zeroizing};

use super::private_key;

/// A private key's DER in the form that the PEM label said.
pub(crate) enum PrivateKeyDer {
    /// RFC 8017
    Pkcs1(Zeroizing<Vec<u8>>),
    /// RFC 5915
    Sec1(Zeroizing<Vec<u8>>),
    /// RFC 5958
    Pkcs8(Zeroizing<Vec<u8>>),
}

/// Why a text holds no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyPemError {
    Unreadable,
    Missing,
    Several,
    Encrypted,
}

/// The text is not PEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// The certificates in `text`, in their order. Sections of other kinds are skipped.
pub(crate) fn certificates(text: &str) -> Result<Vec<Vec<u8>>, Unreadable> {
    let mut found = Vec::new();
    for item in rustls_pemfile::read_all(&mut text.as_bytes()) {
        let item = item.map_err(|_| Unreadable)?;
        if let Item::X509Certificate(der) = item {
            found.push(der.to_vec());
        } else {
            // A key that strayed here is wiped.
            drop(key_of(item));
        }
    }
    Ok(found)
}

/// Why a text holds something else than certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StrayError {
    Unreadable,
    PrivateKey,
}

/// As [`certificates`], of a text that must not hold a private key of any form.
pub(crate) fn certificates_alone(text: &str) -> Result<Vec<Vec<u8>>, StrayError> {
    // Encrypted keys are skipped by the reader as any unknown label.
    if private_key::is_in(text) {
        return Err(StrayError::PrivateKey);
    }
    certificates(text).map_err(|Unreadable| StrayError::Unreadable)
}

/// Certificates as PEM (RFC 7468 section 5.1).
pub(crate) fn text(certificates: &[Der]) -> String {
    let mut text = String::new();
    for Der(der) in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        // 48 bytes are a line of 64 characters.
        for line in der.chunks(48) {
            BASE64.encode_append(line, &mut text);
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

/// The one private key in `text`. Sections of other kinds are skipped.
pub(crate) fn private_key(text: &str) -> Result<PrivateKeyDer, KeyPemError> {
    // The reader skips encrypted keys as it does any unknown label (RFC 7468 section 11), and
    // would read the older form (RFC 1421 header) as a plain key.
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(KeyPemError::Encrypted);
    }
    let mut keys = Vec::new();
    for item in rustls_pemfile::read_all(&mut text.as_bytes()) {
        keys.extend(key_of(item.map_err(|_| KeyPemError::Unreadable)?));
    }
    match (keys.pop(), keys.is_empty()) {
        (None, _) => Err(KeyPemError::Missing),
        (Some(key), true) => Ok(key),
        (Some(_), false) => Err(KeyPemError::Several),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum may grow; only keys are wanted")]
fn key_of(item: Item) -> Option<PrivateKeyDer> {
    match item {
        Item::Pkcs1Key(mut key) => {
            let der = Zeroizing::new(key.secret_pkcs1_der().to_vec());
            key.zeroize();
            Some(PrivateKeyDer::Pkcs1(der))
        }
        Item::Sec1Key(mut key) => {
            let der = Zeroizing::new(key.secret_sec1_der().to_vec());
            key.zeroize();
            Some(PrivateKeyDer::Sec1(der))
        }
        Item::Pkcs8Key(mut key) => {
            let der = Zeroizing::new(key.secret_pkcs8_der().to_vec());
            key.zeroize();
            Some(PrivateKeyDer::Pkcs8(der))
        }
        _ => None,
    }
}
