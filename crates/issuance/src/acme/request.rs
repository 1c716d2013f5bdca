//! What is ordered, the key of a certificate, its signing request, and why a certificate is revoked.

use std::fmt;

use landfall_model::{HostPattern, KeyType};
use rcgen::{
    CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256,
    RsaKeySize,
};
use serde::{Deserialize, Serialize};

use super::renewal::CertificateId;

/// What is ordered.
#[derive(Clone, Copy, Debug)]
pub struct NewOrder<'a> {
    /// The certificate's names.
    pub names: &'a [HostPattern],
    /// The profile, of those that the CA offers.
    pub profile: Option<&'a str>,
    /// The certificate that this one replaces (RFC 9773 section 5).
    pub replaces: Option<&'a CertificateId>,
}

/// Why there is no key or no request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The key can't be made.
    #[error("a {0} key can't be made")]
    Key(KeyType, #[source] rcgen::Error),
    /// What makes the key has died.
    #[error("the thread that makes keys has died")]
    Thread(#[from] tokio::task::JoinError),
    /// The request can't be made of the names.
    #[error("the signing request can't be made")]
    Request(#[source] rcgen::Error),
}

/// The private key of a certificate, made for one order. It never shows itself.
pub struct CertificateKey {
    kind: KeyType,
    pair: KeyPair,
}

impl CertificateKey {
    /// Makes one: P-256, or RSA of 2,048 bits, which takes about a quarter of a second of a processor.
    ///
    /// # Errors
    /// [`RequestError::Key`].
    pub async fn generate(kind: KeyType) -> Result<Self, RequestError> {
        let make = move || match kind {
            KeyType::Ecdsa => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            KeyType::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        };
        let pair = tokio::task::spawn_blocking(make).await?;
        Ok(Self { kind, pair: pair.map_err(|error| RequestError::Key(kind, error))? })
    }

    /// What kind of a key it is.
    pub fn kind(&self) -> KeyType {
        self.kind
    }

    /// The private key as PKCS#8 DER: to be sealed, and nothing else.
    pub fn pkcs8(&self) -> &[u8] {
        self.pair.serialized_der()
    }

    /// The public key, as a certificate has it (SubjectPublicKeyInfo, DER).
    pub fn public_key(&self) -> Vec<u8> {
        use rcgen::PublicKeyData as _;
        self.pair.subject_public_key_info()
    }

    /// The signing request for these names, as DER (RFC 2986). It names no subject.
    ///
    /// # Errors
    /// [`RequestError::Request`].
    pub fn signing_request(&self, names: &[HostPattern]) -> Result<Vec<u8>, RequestError> {
        let names: Vec<_> = names.iter().map(HostPattern::to_string).collect();
        let mut params = CertificateParams::new(names).map_err(RequestError::Request)?;
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&self.pair).map_err(RequestError::Request)?;
        Ok(request.der().to_vec())
    }
}

impl fmt::Debug for CertificateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateKey").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Why a certificate is revoked (RFC 5280 section 5.3.1), of the reasons that a subscriber may give
/// (Baseline Requirements section 7.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RevocationReason {
    /// None is given.
    Unspecified,
    /// Somebody else has the private key.
    KeyCompromise,
    /// The names changed hands within the organization.
    AffiliationChanged,
    /// Another certificate has taken its place.
    Superseded,
    /// The names are served no longer.
    CessationOfOperation,
}

impl RevocationReason {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
    ];

    /// As RFC 5280 section 5.3.1 calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
        }
    }

    /// Its number there.
    pub const fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
        }
    }

    /// Reads what [`Self::name`] writes.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// By its number in RFC 5280 section 5.3.1; none for one that a subscriber does not give.
    pub const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::KeyCompromise,
            3 => Self::AffiliationChanged,
            4 => Self::Superseded,
            5 => Self::CessationOfOperation,
            _ => Self::Unspecified,
        }
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer as _};

    use super::*;

    #[tokio::test]
    async fn a_request_has_the_names_the_key_and_no_subject() {
        let names: Vec<HostPattern> =
            ["a.test", "*.a.test"].iter().map(|name| name.parse().unwrap()).collect();
        for kind in [KeyType::Ecdsa, KeyType::Rsa] {
            let key = CertificateKey::generate(kind).await.unwrap();
            let der = key.signing_request(&names).unwrap();
            let (rest, request) = X509CertificationRequest::from_der(&der).unwrap();
            assert!(rest.is_empty());
            request.verify_signature().unwrap();
            let info = &request.certification_request_info;
            assert_eq!(info.subject_pki.raw, key.public_key(), "{kind}");
            assert_eq!(info.subject.iter().count(), 0);
            let text = format!("{key:?}");
            assert_eq!(text, format!("CertificateKey {{ kind: {kind:?}, .. }}"));
        }
    }
}
