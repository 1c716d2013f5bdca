//! The key of an account, and what is signed with it.

use std::fmt;

use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _, public_key::PublicKey};
use zeroize::Zeroizing;

/// Why a key can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A key can't be made, or nothing be signed with it.
    #[error("the machine's cryptography failed")]
    Cryptography,
    /// It is not PKCS#8 of a P-256 key.
    #[error("the account's key is no P-256 key in PKCS#8")]
    NotP256,
    /// It is not the key of the certificate, or of a kind that signs no requests.
    #[error("the certificate's key can't sign requests")]
    NotTheCertificates,
    /// It is empty.
    #[error("the key of the external account binding is empty")]
    EmptyBinding,
}

/// The P-256 key of an account at a CA. It never shows itself.
pub struct AccountKey {
    pkcs8: Zeroizing<Vec<u8>>,
    pair: EcdsaKeyPair,
}

impl AccountKey {
    /// Makes a new one.
    ///
    /// # Errors
    /// [`KeyError::Cryptography`].
    pub fn generate() -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        let pair = pair.map_err(|_| KeyError::Cryptography)?;
        let document = pair.to_pkcs8v1().map_err(|_| KeyError::Cryptography)?;
        Ok(Self { pkcs8: Zeroizing::new(document.as_ref().to_vec()), pair })
    }

    /// Reads one as [`Self::pkcs8`] gives it.
    ///
    /// # Errors
    /// [`KeyError::NotP256`].
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der);
        let pair = pair.map_err(|_| KeyError::NotP256)?;
        Ok(Self { pkcs8: Zeroizing::new(der.to_vec()), pair })
    }

    /// The private key as PKCS#8 DER: to be sealed, and nothing else.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The thumbprint of the public key (RFC 7638), in base64url: the second half of every key
    /// authorization (RFC 8555 section 8.1).
    pub fn thumbprint(&self) -> String {
        let (x, y) = self.coordinates();
        // The members that are required, in lexicographic order, without spaces (section 3).
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        BASE64URL_NOPAD.encode(digest(&SHA256, canonical.as_bytes()).as_ref())
    }

    /// The public key (RFC 7517).
    fn jwk(&self) -> Value {
        let (x, y) = self.coordinates();
        json!({"kty": "EC", "crv": "P-256", "x": x, "y": y})
    }

    /// In base64url (RFC 7518 section 6.2.1).
    fn coordinates(&self) -> (String, String) {
        // An uncompressed point: 0x04, then two numbers of 32 bytes each.
        let point = self.pair.public_key().as_ref();
        let both = point.get(1..).unwrap_or_default();
        let (x, y) = both.split_at(both.len() / 2);
        (BASE64URL_NOPAD.encode(x), BASE64URL_NOPAD.encode(y))
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        Ok(signature.map_err(|_| KeyError::Cryptography)?.as_ref().to_vec())
    }
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AccountKey").field(&self.thumbprint()).finish()
    }
}

/// The key of a certificate, which may ask for its revocation (RFC 8555 section 7.6). It never shows itself.
pub struct OwnKey {
    jwk: Value,
    pair: OwnPair,
}

enum OwnPair {
    P256(AccountKey),
    Rsa(RsaKeyPair),
}

impl OwnKey {
    /// The key of a certificate (DER) as PKCS#8: P-256 or RSA.
    ///
    /// # Errors
    /// [`KeyError::NotTheCertificates`].
    pub fn new(certificate: &[u8], pkcs8: &[u8]) -> Result<Self, KeyError> {
        let (_, parsed) =
            X509Certificate::from_der(certificate).map_err(|_| KeyError::NotTheCertificates)?;
        let public = parsed.public_key();
        if let Ok(key) = AccountKey::from_pkcs8(pkcs8) {
            return match *public.subject_public_key.data == *key.pair.public_key().as_ref() {
                true => Ok(Self { jwk: key.jwk(), pair: OwnPair::P256(key) }),
                false => Err(KeyError::NotTheCertificates),
            };
        }
        let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| KeyError::NotTheCertificates)?;
        match public.parsed() {
            Ok(PublicKey::RSA(rsa))
                if *public.subject_public_key.data == *pair.public_key().as_ref() =>
            {
                let encode = |number: &[u8]| {
                    let first = number.iter().position(|byte| *byte != 0).unwrap_or(0);
                    BASE64URL_NOPAD.encode(number.get(first..).unwrap_or_default())
                };
                let jwk =
                    json!({"kty": "RSA", "n": encode(rsa.modulus), "e": encode(rsa.exponent)});
                Ok(Self { jwk, pair: OwnPair::Rsa(pair) })
            }
            Ok(_) | Err(_) => Err(KeyError::NotTheCertificates),
        }
    }

    /// The SHA-256 of the public key (SubjectPublicKeyInfo) of a certificate (DER): what its key is sealed for.
    pub fn spki_sha256(certificate: &[u8]) -> Option<[u8; 32]> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        digest(&SHA256, parsed.public_key().raw).as_ref().try_into().ok()
    }

    /// As JSON Web Algorithms have it (RFC 7518 section 3.1).
    fn algorithm(&self) -> &'static str {
        match self.pair {
            OwnPair::P256(_) => "ES256",
            OwnPair::Rsa(_) => "RS256",
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.pair {
            OwnPair::P256(key) => key.sign(message),
            OwnPair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
                    .map_err(|_| KeyError::Cryptography)?;
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for OwnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnKey").field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

/// What ties an account to a customer of the CA (RFC 8555 section 7.3.4).
pub struct Binding {
    key_id: String,
    key: hmac::Key,
}

impl Binding {
    /// With the key's id at the CA, and its bytes.
    ///
    /// # Errors
    /// [`KeyError::EmptyBinding`].
    pub fn new(key_id: &str, key: &[u8]) -> Result<Self, KeyError> {
        if key.is_empty() {
            return Err(KeyError::EmptyBinding);
        }
        Ok(Self { key_id: key_id.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, key) })
    }

    /// Says that `account` may be an account of this customer.
    pub(crate) fn bind(&self, account: &AccountKey, url: &str) -> Value {
        let header = json!({"alg": "HS256", "kid": self.key_id, "url": url});
        let parts = Parts::new(&header, &account.jwk().to_string());
        let tag = hmac::sign(&self.key, parts.signed().as_bytes());
        parts.with_signature(tag.as_ref())
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// Who signs.
#[derive(Clone, Copy)]
pub(crate) enum Signer<'a> {
    /// Somebody whose account's URL is not known: the public key is sent along.
    Key(&'a AccountKey),
    /// An account, by its URL.
    Account(&'a AccountKey, &'a str),
    /// Whoever has a certificate's key.
    Certificate(&'a OwnKey),
}

impl Signer<'_> {
    /// A request's body (RFC 8555 section 6.2): `payload` as it is, empty to read something (section
    /// 6.3). What is signed within another request has no nonce (section 7.3.5).
    pub(crate) fn sign(
        self,
        url: &str,
        nonce: Option<&str>,
        payload: &str,
    ) -> Result<Value, KeyError> {
        let mut header = match self {
            Self::Key(key) => json!({"alg": "ES256", "jwk": key.jwk(), "url": url}),
            Self::Account(_, id) => json!({"alg": "ES256", "kid": id, "url": url}),
            Self::Certificate(key) => json!({"alg": key.algorithm(), "jwk": key.jwk, "url": url}),
        };
        if let (Some(nonce), Some(header)) = (nonce, header.as_object_mut()) {
            header.insert("nonce".to_owned(), nonce.into());
        }
        let parts = Parts::new(&header, payload);
        let message = parts.signed();
        let signature = match self {
            Self::Key(key) | Self::Account(key, _) => key.sign(message.as_bytes())?,
            Self::Certificate(key) => key.sign(message.as_bytes())?,
        };
        Ok(parts.with_signature(&signature))
    }
}

/// What the key of an account says when it is replaced by `new` (RFC 8555 section 7.3.5).
pub(crate) fn replacement(
    account: &str,
    old: &AccountKey,
    new: &AccountKey,
    url: &str,
) -> Result<Value, KeyError> {
    let payload = json!({"account": account, "oldKey": old.jwk()});
    Signer::Key(new).sign(url, None, &payload.to_string())
}

/// A JSON Web Signature before it is signed (RFC 7515 section 7.2.2).
struct Parts {
    protected: String,
    payload: String,
}

impl Parts {
    fn new(header: &Value, payload: &str) -> Self {
        let encode = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        Self { protected: encode(&header.to_string()), payload: encode(payload) }
    }

    fn signed(&self) -> String {
        format!("{}.{}", self.protected, self.payload)
    }

    fn with_signature(self, signature: &[u8]) -> Value {
        let signature = BASE64URL_NOPAD.encode(signature);
        json!({"protected": self.protected, "payload": self.payload, "signature": signature})
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    fn decoded(value: &Value) -> Value {
        let bytes = BASE64URL_NOPAD.decode(value.as_str().unwrap().as_bytes()).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn a_key_is_the_same_after_it_was_kept() {
        let key = AccountKey::generate().unwrap();
        let again = AccountKey::from_pkcs8(key.pkcs8()).unwrap();
        assert_eq!(key.thumbprint(), again.thumbprint());
        assert_eq!(key.thumbprint().len(), 43);
        assert_ne!(key.thumbprint(), AccountKey::generate().unwrap().thumbprint());
    }

    #[test]
    fn refuses_what_is_no_key() {
        let rsa = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        for bytes in [&b""[..], b"key", rsa.serialized_der()] {
            assert_eq!(AccountKey::from_pkcs8(bytes).err(), Some(KeyError::NotP256));
        }
        assert_eq!(Binding::new("id", b"").err(), Some(KeyError::EmptyBinding));
    }

    #[test]
    fn signs_so_that_the_public_key_verifies_it() {
        let key = AccountKey::generate().unwrap();
        let jws = Signer::Account(&key, "https://ca.test/acct/1")
            .sign("https://ca.test/new-order", Some("n1"), "{}")
            .unwrap();
        let header = decoded(&jws["protected"]);
        assert_eq!(header["alg"], "ES256");
        assert_eq!(header["kid"], "https://ca.test/acct/1");
        assert_eq!(header["nonce"], "n1");
        assert_eq!(header["url"], "https://ca.test/new-order");
        assert!(header.get("jwk").is_none());
        let signed =
            format!("{}.{}", jws["protected"].as_str().unwrap(), jws["payload"].as_str().unwrap());
        let signature = BASE64URL_NOPAD.decode(jws["signature"].as_str().unwrap().as_bytes());
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.pair.public_key().as_ref())
            .verify(signed.as_bytes(), &signature.unwrap())
            .unwrap();
    }

    #[test]
    fn a_replacement_is_signed_by_the_new_key_and_names_the_old_one() {
        let (old, new) = (AccountKey::generate().unwrap(), AccountKey::generate().unwrap());
        let jws = replacement("https://ca.test/acct/1", &old, &new, "https://ca.test/change");
        let jws = jws.unwrap();
        let header = decoded(&jws["protected"]);
        assert_eq!(header["jwk"], new.jwk());
        assert!(header.get("nonce").is_none());
        assert_eq!(decoded(&jws["payload"])["oldKey"], old.jwk());
    }

    #[test]
    fn neither_key_shows_itself() {
        let key = AccountKey::generate().unwrap();
        assert_eq!(format!("{key:?}"), format!("AccountKey({:?})", key.thumbprint()));
        let binding = Binding::new("customer-1", b"do not show this").unwrap();
        assert_eq!(format!("{binding:?}"), r#"Binding { key_id: "customer-1", .. }"#);
    }
}
