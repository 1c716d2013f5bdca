//! Ed25519 (RFC 8032) keys that sign the feed's pages.

use std::{fmt, str::FromStr};

use aws_lc_rs::{
    digest,
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde::{Deserialize, Deserializer, de};
use zeroize::Zeroizing;

const SECRET_PREFIX: &str = "landfall-signing-key-v1";
const PUBLIC_PREFIX: &str = "ed25519:";

/// The control plane's signing key. `Debug` shows the public half alone.
pub struct SigningKey(Ed25519KeyPair);

/// Why a key could not be read. Says nothing of the key itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not the text form of a signing key.
    #[error("not a signing key: expected `{SECRET_PREFIX}` and 32 bytes of base64url")]
    Secret,
    /// Not the text form of a public key.
    #[error("not a feed signing key: expected `{PUBLIC_PREFIX}` and 32 bytes of base64url")]
    Public,
    /// The system has no randomness.
    #[error("the system's random number generator failed")]
    Random,
}

impl SigningKey {
    /// Makes a new key: the text for a 0600 file.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn generate() -> Result<Zeroizing<String>, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(seed.as_mut()).map_err(|_| KeyError::Random)?;
        let encoded = Zeroizing::new(BASE64URL_NOPAD.encode(seed.as_ref()));
        Ok(Zeroizing::new(format!("{SECRET_PREFIX} {}\n", encoded.as_str())))
    }

    /// Reads the text that [`Self::generate`] made.
    ///
    /// # Errors
    /// [`KeyError::Secret`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let encoded = text.trim().strip_prefix(SECRET_PREFIX).ok_or(KeyError::Secret)?;
        let seed = BASE64URL_NOPAD.decode(encoded.trim().as_bytes()).map(Zeroizing::new);
        let seed = seed.map_err(|_| KeyError::Secret)?;
        Ed25519KeyPair::from_seed_unchecked(&seed).map(Self).map_err(|_| KeyError::Secret)
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        VerifyingKey(bytes)
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.verifying_key())
    }
}

/// The public half of a [`SigningKey`]: `ed25519:` and base64url in text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey([u8; 32]);

impl VerifyingKey {
    /// A short name: the first eight bytes of the key's SHA-256 in hexadecimal.
    pub fn id(&self) -> String {
        key_id(&self.0)
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

/// The first eight bytes of a public key's SHA-256 in hexadecimal.
pub(crate) fn key_id(public_key: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, public_key);
    HEXLOWER.encode(hash.as_ref().get(..8).unwrap_or_default())
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC_PREFIX}{}", BASE64URL_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for VerifyingKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let encoded = text.trim().strip_prefix(PUBLIC_PREFIX).ok_or(KeyError::Public)?;
        let bytes = BASE64URL_NOPAD.decode(encoded.as_bytes()).map_err(|_| KeyError::Public)?;
        bytes.try_into().map(Self).map_err(|_| KeyError::Public)
    }
}

impl<'de> Deserialize<'de> for VerifyingKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifies_its_own_signature_and_no_other() {
        let key = SigningKey::parse(&SigningKey::generate().unwrap()).unwrap();
        let other = SigningKey::parse(&SigningKey::generate().unwrap()).unwrap();
        let signature = key.sign(b"message");
        let public: VerifyingKey = key.verifying_key().to_string().parse().unwrap();
        assert!(public.verifies(b"message", &signature));
        assert!(!public.verifies(b"messagf", &signature));
        assert!(!other.verifying_key().verifies(b"message", &signature));
    }

    #[test]
    fn debug_shows_no_secret() {
        let text = SigningKey::generate().unwrap();
        let secret = text.split_whitespace().nth(1).unwrap().to_owned();
        assert!(!format!("{:?}", SigningKey::parse(&text).unwrap()).contains(&secret));
        assert!(SigningKey::parse("landfall-signing-key-v1 AAAA").is_err());
    }
}
