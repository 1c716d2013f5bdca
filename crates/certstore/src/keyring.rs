//! The fleet's group keys, and how a stored certificate becomes one that can sign.

use std::{collections::HashMap, fmt, sync::Arc};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use landfall_model::{
    SealContext, Sealed,
    seal::{INFO, PRIVATE_KEY_PREFIX},
};
use rustls::{
    crypto::{
        aws_lc_rs::{default_provider, hpke::DH_KEM_X25519_HKDF_SHA256_AES_256},
        hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey},
    },
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};

use zeroize::Zeroizing;

use crate::{SourceError, StoredCertificate};

const SUITE: &dyn Hpke = DH_KEM_X25519_HKDF_SHA256_AES_256;

/// The group's private keys, by id. Several live side by side while a rotation runs.
pub struct GroupKeys {
    keys: HashMap<String, HpkePrivateKey>,
}

/// A text that is not a group private key. Shows nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a group private key: expected a line `{PRIVATE_KEY_PREFIX} <id> <base64url>`")]
pub struct GroupKeyError;

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Sealed to a group key that this edge does not have.
    #[error("the private key is sealed to group key `{key_id}`, which this edge does not hold")]
    UnknownGroupKey {
        /// The missing key's id.
        key_id: String,
    },
    /// Sealed for something else, or damaged.
    #[error("the private key does not open for this hostname and public key")]
    Unseal,
    /// No key that rustls can use.
    #[error("the private key can't be used")]
    Key(#[source] rustls::Error),
    /// No certificate that rustls can use.
    #[error("the certificate can't be used")]
    Certificate(#[source] rustls::Error),
    /// The key is another certificate's.
    #[error("the private key does not match the certificate")]
    Mismatch,
    /// There is no certificate.
    #[error("the chain is empty")]
    EmptyChain,
    /// It has been replaced or removed.
    #[error("the certificate is no longer stored")]
    Gone,
    /// The source failed.
    #[error("the certificate can't be loaded")]
    Source(#[source] Arc<SourceError>),
    /// The loading was cut off.
    #[error("the certificate's loading was interrupted")]
    Interrupted,
}

impl CertificateError {
    /// The [reason](Self::reason) of [`Self::UnknownGroupKey`].
    pub const UNKNOWN_GROUP_KEY: &str = "unknown_group_key";

    /// A short constant for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownGroupKey { .. } => Self::UNKNOWN_GROUP_KEY,
            Self::Unseal => "unseal",
            Self::Key(_) => "private_key",
            Self::Certificate(_) => "certificate",
            Self::Mismatch => "key_mismatch",
            Self::EmptyChain => "empty_chain",
            Self::Gone => "gone",
            Self::Source(_) => "source",
            Self::Interrupted => "interrupted",
        }
    }
}

impl GroupKeys {
    /// Reads the texts of private key files.
    ///
    /// # Errors
    /// [`GroupKeyError`].
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, GroupKeyError> {
        let keys = texts.into_iter().map(parse_key).collect::<Result<_, _>>()?;
        Ok(Self { keys })
    }

    /// The ids, sorted.
    pub fn ids(&self) -> Vec<&str> {
        let mut ids: Vec<_> = self.keys.keys().map(String::as_str).collect();
        ids.sort_unstable();
        ids
    }

    /// Opens and parses `stored`, and checks that its key is the certificate's.
    ///
    /// # Errors
    /// Every [`CertificateError`] but those of a source.
    pub fn open(&self, stored: &StoredCertificate) -> Result<CertifiedKey, CertificateError> {
        let StoredCertificate { hostname, spki_sha256, key, .. } = stored;
        let der = self.unseal(key, SealContext::PrivateKey { hostname, spki_sha256 })?;
        let key: PrivateKeyDer<'static> = PrivatePkcs8KeyDer::from(der.to_vec()).into();
        let provider = default_provider().key_provider;
        let key = provider.load_private_key(key).map_err(CertificateError::Key)?;
        let chain: Vec<_> = stored.chain.iter().cloned().map(CertificateDer::from).collect();
        if chain.is_empty() {
            return Err(CertificateError::EmptyChain);
        }
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(_)) => return Err(CertificateError::Mismatch),
            Err(error) => return Err(CertificateError::Certificate(error)),
        }
        Ok(certified)
    }

    /// Opens a sealed secret for what it was sealed for.
    ///
    /// # Errors
    /// [`CertificateError::UnknownGroupKey`] and [`CertificateError::Unseal`].
    pub fn unseal(
        &self,
        sealed: &Sealed,
        context: SealContext<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
        let Sealed { key_id, enc, ciphertext } = sealed;
        let unknown = || CertificateError::UnknownGroupKey { key_id: key_id.clone() };
        let secret = self.keys.get(key_id).ok_or_else(unknown)?;
        let enc = EncapsulatedSecret(enc.clone());
        SUITE
            .open(&enc, INFO, &context.associated_data(key_id), ciphertext, secret)
            .map(Zeroizing::new)
            .map_err(|_| CertificateError::Unseal)
    }
}

impl fmt::Debug for GroupKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupKeys({})", self.ids().join(", "))
    }
}

fn parse_key(text: &str) -> Result<(String, HpkePrivateKey), GroupKeyError> {
    let mut words = text.split_whitespace();
    let (Some(PRIVATE_KEY_PREFIX), Some(id), Some(secret), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(GroupKeyError);
    };
    let secret = BASE64URL_NOPAD.decode(secret.as_bytes()).map_err(|_| GroupKeyError)?;
    let well_formed = secret.len() == 32 && HEXLOWER.decode(id.as_bytes()).is_ok();
    well_formed.then(|| (id.to_owned(), HpkePrivateKey::from(secret))).ok_or(GroupKeyError)
}
