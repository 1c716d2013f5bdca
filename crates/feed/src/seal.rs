//! Sealing of secrets to the fleet's group key. Opening is the certificate store's.

use std::fmt;

use aws_lc_rs::{
    agreement::{PrivateKey, X25519},
    digest,
};
use data_encoding::BASE64URL_NOPAD;
use landfall_model::{
    SealContext, Sealed,
    seal::{INFO, PRIVATE_KEY_PREFIX, PUBLIC_KEY_PREFIX},
};
use rustls::crypto::{
    aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256,
    hpke::{Hpke, HpkePublicKey},
};
use zeroize::Zeroizing;

use crate::sign::key_id;

const SUITE: &dyn Hpke = DH_KEM_X25519_HKDF_SHA256_AES_256;

/// The public half of the fleet's group key: all that the control plane has of it.
#[derive(Clone)]
pub struct GroupPublicKey {
    id: String,
    key: HpkePublicKey,
}

/// A new group key, as the texts of its two files.
pub struct GroupKeyFiles {
    /// The id that both carry.
    pub id: String,
    /// For the PoPs alone: a 0600 file or a systemd credential.
    pub private: Zeroizing<String>,
    /// For the control plane.
    pub public: String,
}

/// Why sealing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// Not the text form of a group public key.
    #[error("not a group public key: expected a line `{PUBLIC_KEY_PREFIX} <id> <base64url>`")]
    PublicKey,
    /// Not the text form of a group private key. Shows nothing of it.
    #[error("not a group private key: expected a line `{PRIVATE_KEY_PREFIX} <id> <base64url>`")]
    PrivateKey,
    /// The system's cryptography failed.
    #[error("the cryptographic library refused to make or use a group key")]
    Crypto,
}

impl GroupPublicKey {
    /// Reads the text of a public key file.
    ///
    /// # Errors
    /// [`SealError::PublicKey`].
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let mut words = text.split_whitespace();
        let (Some(PUBLIC_KEY_PREFIX), Some(id), Some(key), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(SealError::PublicKey);
        };
        let key = BASE64URL_NOPAD.decode(key.as_bytes()).map_err(|_| SealError::PublicKey)?;
        if key.len() != 32 || id != key_id(&key) {
            return Err(SealError::PublicKey);
        }
        Ok(Self { id: id.to_owned(), key: HpkePublicKey(key) })
    }

    /// The public half of the text of a private key file.
    ///
    /// # Errors
    /// [`SealError::PrivateKey`].
    pub fn of_private(text: &str) -> Result<Self, SealError> {
        let mut words = text.split_whitespace();
        let (Some(PRIVATE_KEY_PREFIX), Some(id), Some(secret), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(SealError::PrivateKey);
        };
        let secret = BASE64URL_NOPAD.decode(secret.as_bytes()).map(Zeroizing::new);
        let secret = secret.map_err(|_| SealError::PrivateKey)?;
        let secret = PrivateKey::from_private_key(&X25519, &secret);
        let secret = secret.map_err(|_| SealError::PrivateKey)?;
        let public = secret.compute_public_key().map_err(|_| SealError::PrivateKey)?;
        let key = public.as_ref().to_vec();
        let is_own = id == key_id(&key);
        is_own
            .then(|| Self { id: id.to_owned(), key: HpkePublicKey(key) })
            .ok_or(SealError::PrivateKey)
    }

    /// The key's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Seals `secret` (of a private key: PKCS#8 DER) so that it opens for this purpose alone.
    ///
    /// # Errors
    /// [`SealError::Crypto`].
    pub fn seal(&self, context: SealContext<'_>, secret: &[u8]) -> Result<Sealed, SealError> {
        let (enc, ciphertext) = SUITE
            .seal(INFO, &context.associated_data(&self.id), secret, &self.key)
            .map_err(|_| SealError::Crypto)?;
        Ok(Sealed { key_id: self.id.clone(), enc: enc.0, ciphertext })
    }
}

impl fmt::Debug for GroupPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupPublicKey({})", self.id)
    }
}

impl GroupKeyFiles {
    /// Makes a new group key.
    ///
    /// # Errors
    /// [`SealError::Crypto`].
    pub fn generate() -> Result<Self, SealError> {
        let (public, private) = SUITE.generate_key_pair().map_err(|_| SealError::Crypto)?;
        let id = key_id(&public.0);
        let secret = Zeroizing::new(BASE64URL_NOPAD.encode(private.secret_bytes()));
        Ok(Self {
            private: Zeroizing::new(format!("{PRIVATE_KEY_PREFIX} {id} {}\n", secret.as_str())),
            public: format!("{PUBLIC_KEY_PREFIX} {id} {}\n", BASE64URL_NOPAD.encode(&public.0)),
            id,
        })
    }
}

/// The SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sealed_key_does_not_hold_the_key() {
        let files = GroupKeyFiles::generate().unwrap();
        let public = GroupPublicKey::parse(&files.public).unwrap();
        let secret = [0x5a; 64];
        let hostname = "a.example".parse().unwrap();
        let context = SealContext::PrivateKey { hostname: &hostname, spki_sha256: &[1; 32] };
        let sealed = public.seal(context, &secret).unwrap();
        assert_eq!(sealed.key_id, files.id);
        assert!(!sealed.ciphertext.windows(8).any(|w| w == &secret[..8]));
    }

    #[test]
    fn derives_the_public_half_of_a_private_key() {
        let files = GroupKeyFiles::generate().unwrap();
        let derived = GroupPublicKey::of_private(&files.private).unwrap();
        let public = GroupPublicKey::parse(&files.public).unwrap();
        assert_eq!((derived.id, derived.key.0), (public.id, public.key.0));
        let other = GroupKeyFiles::generate().unwrap();
        let mixed = files.private.replace(&files.id, &other.id);
        for bad in [mixed.as_str(), &files.public, ""] {
            assert_eq!(GroupPublicKey::of_private(bad).unwrap_err(), SealError::PrivateKey);
        }
    }

    #[test]
    fn refuses_what_is_not_a_public_key() {
        let files = GroupKeyFiles::generate().unwrap();
        assert_eq!(GroupPublicKey::parse(&files.private).unwrap_err(), SealError::PublicKey);
        let other = GroupKeyFiles::generate().unwrap();
        let mixed = files.public.replace(&files.id, &other.id);
        assert_eq!(GroupPublicKey::parse(&mixed).unwrap_err(), SealError::PublicKey);
    }
}
