//! What a sealed secret looks like, and what it is bound to.
//!
//! Secrets are sealed with HPKE (RFC 9180, base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
//! AES-256-GCM) to the fleet's group key. The control plane seals, edges open; the two agree on
//! what stands here.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{AuthorityName, HostPattern};

/// The HPKE `info` of every sealed secret.
pub const INFO: &[u8] = b"landfall sealed secret v1";
/// What the line of a group private key file starts with; the id and the key (base64url) follow.
pub const PRIVATE_KEY_PREFIX: &str = "landfall-group-key-v1";
/// What the line of a group public key file starts with; the id and the key (base64url) follow.
pub const PUBLIC_KEY_PREFIX: &str = "landfall-group-public-key-v1";

/// A secret that only the holders of the group's private key can open.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The id of the group key it was sealed to.
    pub key_id: String,
    /// HPKE's encapsulated key.
    #[serde(with = "crate::seal::bytes")]
    pub enc: Vec<u8>,
    /// HPKE's ciphertext.
    #[serde(with = "crate::seal::bytes")]
    pub ciphertext: Vec<u8>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed")
            .field("key_id", &self.key_id)
            .field("len", &self.ciphertext.len())
            .finish_non_exhaustive()
    }
}

/// What a sealed secret is for. It opens for nothing else.
#[derive(Clone, Copy, Debug)]
pub enum SealContext<'a> {
    /// The private key of a certificate.
    PrivateKey {
        /// The hostname it serves.
        hostname: &'a HostPattern,
        /// The SHA-256 of the certificate's SubjectPublicKeyInfo.
        spki_sha256: &'a [u8; 32],
    },
    /// The secret that session tickets are encrypted under.
    TicketSecret {
        /// When its period starts, in seconds since 1970.
        starts: u64,
        /// When it ends.
        ends: u64,
    },
    /// The private key of an account at a CA.
    AccountKey {
        /// The CA.
        authority: &'a AuthorityName,
        /// The thumbprint of the public key (RFC 7638), in base64url.
        thumbprint: &'a str,
    },
    /// The HMAC key of an external account binding.
    ExternalAccountKey {
        /// The CA.
        authority: &'a AuthorityName,
        /// The key's id at the CA.
        key_id: &'a str,
    },
}

impl SealContext<'_> {
    /// The HPKE associated data under the group key `key_id`: each part with its length in front,
    /// so that no two contexts agree.
    pub fn associated_data(&self, key_id: &str) -> Vec<u8> {
        match self {
            Self::PrivateKey { hostname, spki_sha256 } => {
                let hostname = hostname.to_string();
                let parts: [&[u8]; 4] =
                    [b"private-key", hostname.as_bytes(), *spki_sha256, key_id.as_bytes()];
                with_lengths(&parts)
            }
            Self::TicketSecret { starts, ends } => with_lengths(&[
                b"ticket-secret",
                &starts.to_be_bytes(),
                &ends.to_be_bytes(),
                key_id.as_bytes(),
            ]),
            Self::AccountKey { authority, thumbprint } => with_lengths(&[
                b"account-key",
                authority.as_str().as_bytes(),
                thumbprint.as_bytes(),
                key_id.as_bytes(),
            ]),
            Self::ExternalAccountKey { authority, key_id: external } => with_lengths(&[
                b"external-account-key",
                authority.as_str().as_bytes(),
                external.as_bytes(),
                key_id.as_bytes(),
            ]),
        }
    }
}

fn with_lengths(parts: &[&[u8]]) -> Vec<u8> {
    let mut data = Vec::with_capacity(128);
    for part in parts {
        data.extend_from_slice(&(part.len() as u64).to_be_bytes());
        data.extend_from_slice(part);
    }
    data
}

/// Bytes on the wire: a byte string in binary formats, base64 for a person to read.
pub mod bytes {
    use data_encoding::BASE64;
    use serde::{Deserialize, Deserializer, Serializer, de};

    /// For `#[serde(serialize_with)]`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.serialize_str(&BASE64.encode(value)),
            false => serializer.serialize_bytes(value),
        }
    }

    /// For `#[serde(deserialize_with)]`.
    ///
    /// # Errors
    /// Those of the deserializer, and text that is not base64.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        if !deserializer.is_human_readable() {
            return serde_bytes::ByteBuf::deserialize(deserializer)
                .map(serde_bytes::ByteBuf::into_vec);
        }
        let text = String::deserialize(deserializer)?;
        BASE64.decode(text.as_bytes()).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_that_differ_anywhere_have_different_associated_data() {
        let a: HostPattern = "a.example.com".parse().unwrap();
        let wild: HostPattern = "*.example.com".parse().unwrap();
        let data = |hostname, spki_sha256, key_id| {
            SealContext::PrivateKey { hostname, spki_sha256 }.associated_data(key_id)
        };
        let base = data(&a, &[1; 32], "k1");
        assert_ne!(base, data(&wild, &[1; 32], "k1"));
        assert_ne!(base, data(&a, &[2; 32], "k1"));
        assert_ne!(base, data(&a, &[1; 32], "k2"));
        let ticket =
            |starts, ends| SealContext::TicketSecret { starts, ends }.associated_data("k1");
        assert_ne!(ticket(1, 2), ticket(1, 3));
        assert_ne!(ticket(1, 2), base);
    }
}
