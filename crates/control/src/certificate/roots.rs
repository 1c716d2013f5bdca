//! CA certificates that others are verified with: an origin's, or clients'.

use landfall_model::Der;
use rustls::{RootCertStore, pki_types::CertificateDer};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{chain, pem};

/// Why a text holds no CA certificates that can be used. Repeats nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RootsError {
    #[error("it is not PEM: expected `-----BEGIN CERTIFICATE-----` and its end")]
    Pem,
    #[error("there is no certificate: expected at least one `-----BEGIN CERTIFICATE-----`")]
    Missing,
    #[error("it holds a private key, which nobody but its owner should have; nothing was kept")]
    PrivateKey,
    #[error("it holds {len} certificates, {most} are allowed")]
    TooMany { len: usize, most: usize },
    #[error("certificate {position} can't be decoded")]
    Unreadable { position: usize },
    #[error("certificate {position} is not a CA's: its basic constraints don't say so")]
    NotCa { position: usize },
    #[error("certificate {position} expired at {not_after}")]
    Expired { position: usize, not_after: OffsetDateTime },
}

/// Reads 1 to `most` CA certificates from PEM. One of those that are `kept` may have expired since.
pub(crate) fn read(
    text: &str,
    most: usize,
    kept: &[Der],
    now: OffsetDateTime,
) -> Result<Vec<Der>, RootsError> {
    let found = match pem::certificates_alone(text) {
        Ok(found) => found,
        Err(pem::StrayError::Unreadable) => return Err(RootsError::Pem),
        Err(pem::StrayError::PrivateKey) => return Err(RootsError::PrivateKey),
    };
    match found.len() {
        0 => return Err(RootsError::Missing),
        len if len > most => return Err(RootsError::TooMany { len, most }),
        _ => {}
    }
    let mut roots = Vec::with_capacity(found.len());
    for (index, der) in found.into_iter().map(Der).enumerate() {
        if !kept.contains(&der) {
            check(&der, index + 1, now)?;
        }
        roots.push(der);
    }
    Ok(roots)
}

fn check(Der(der): &Der, position: usize, now: OffsetDateTime) -> Result<(), RootsError> {
    let unreadable = RootsError::Unreadable { position };
    let Ok(([], certificate)) = X509Certificate::from_der(der) else {
        return Err(unreadable);
    };
    if !certificate.is_ca() {
        return Err(RootsError::NotCa { position });
    }
    let (_, not_after) = chain::validity(&certificate);
    if now > not_after {
        return Err(RootsError::Expired { position, not_after });
    }
    // Edges load it with this library.
    let loaded = RootCertStore::empty().add(CertificateDer::from(der.as_slice()));
    loaded.map_err(|_| unreadable)
}
