//! Private keys: read in whatever form they come, kept as PKCS#8.

use super::pem::PrivateKeyDer;
use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    pkcs8::Document,
    rsa,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair,
    },
};
use x509_parser::asn1_rs::{Any, FromDer};

/// A private key that can sign. Its buffers are wiped when they are dropped.
pub(crate) struct ServerKey {
    pkcs8: Pkcs8,
    public: Vec<u8>,
}

enum Pkcs8 {
    Rsa(Pkcs8V1Der<'static>),
    Ecdsa(Document),
}

impl ServerKey {
    /// Reads an RSA, P-256 or P-384 key. `None` for anything else, and for anything more: what
    /// follows a key is damage, or meant for somebody else.
    pub(crate) fn read(der: &PrivateKeyDer) -> Option<Self> {
        let (PrivateKeyDer::Pkcs1(bytes)
        | PrivateKeyDer::Sec1(bytes)
        | PrivateKeyDer::Pkcs8(bytes)) = der;
        let Ok(([], _)) = Any::from_der(bytes) else {
            return None;
        };
        match der {
            PrivateKeyDer::Pkcs1(der) => Self::rsa(rsa::KeyPair::from_der(der).ok()?),
            PrivateKeyDer::Sec1(der) => Self::ecdsa(der, EcdsaKeyPair::from_private_key_der),
            PrivateKeyDer::Pkcs8(der) => match rsa::KeyPair::from_pkcs8(der) {
                Ok(pair) => Self::rsa(pair),
                Err(_) => Self::ecdsa(der, EcdsaKeyPair::from_pkcs8),
            },
        }
    }

    /// The key as PKCS#8 DER.
    pub(crate) fn pkcs8(&self) -> &[u8] {
        match &self.pkcs8 {
            Pkcs8::Rsa(der) => der.as_ref(),
            Pkcs8::Ecdsa(document) => document.as_ref(),
        }
    }

    /// The content of `subjectPublicKey` (RFC 5280 section 4.1.2.7).
    pub(crate) fn public(&self) -> &[u8] {
        &self.public
    }

    fn rsa(pair: rsa::KeyPair) -> Option<Self> {
        let public = pair.public_key().as_ref().to_vec();
        let pkcs8 = Pkcs8::Rsa(pair.as_der().ok()?);
        Some(Self { pkcs8, public })
    }

    fn ecdsa<E>(
        der: &[u8],
        read: impl Fn(
            &'static aws_lc_rs::signature::EcdsaSigningAlgorithm,
            &[u8],
        ) -> Result<EcdsaKeyPair, E>,
    ) -> Option<Self> {
        let curves = [&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1_SIGNING];
        let pair = curves.into_iter().find_map(|curve| read(curve, der).ok())?;
        let public = pair.public_key().as_ref().to_vec();
        let pkcs8 = Pkcs8::Ecdsa(pair.to_pkcs8v1().ok()?);
        Some(Self { pkcs8, public })
    }
}
