//! The checks that an uploaded certificate and key pass before anything of them is kept.

use landfall_feed::seal::{GroupPublicKey, SealError, sha256};
use landfall_model::{Der, Fingerprint, HostPattern, KeyType, SealContext};
use time::OffsetDateTime;
use x509_parser::prelude::X509Certificate;

use super::{
    CertificateIssuer, SealedCertificate, SealedKey,
    chain::{self, MAX_CHAIN_LEN, MAX_RSA_BITS, MIN_RSA_BITS},
    key::ServerKey,
    pem::{self, KeyPemError},
};

/// Why an upload was refused. Says nothing of the key itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UploadError {
    /// Not PEM.
    #[error("the certificate is not PEM: expected `-----BEGIN CERTIFICATE-----` and its end")]
    CertificatePem,
    /// PEM without a certificate.
    #[error("there is no certificate: expected at least one `-----BEGIN CERTIFICATE-----`")]
    NoCertificate,
    /// PEM around something else.
    #[error("certificate {position} of the chain can't be decoded")]
    CertificateUnreadable {
        /// Counted from 1, the leaf.
        position: usize,
    },
    /// More certificates than a chain has.
    #[error("the chain has {len} certificates, {MAX_CHAIN_LEN} are allowed")]
    ChainTooLong {
        /// How many there are.
        len: usize,
    },
    /// Another certificate should follow.
    #[error(
        "certificate {position} of the chain was not issued by the one after it: expected the leaf \
         first, each followed by its issuer"
    )]
    ChainOutOfOrder {
        /// Counted from 1, the leaf.
        position: usize,
    },
    /// The right name, another key.
    #[error("certificate {position} of the chain is not signed with the key of the one after it")]
    ChainSignature {
        /// Counted from 1, the leaf.
        position: usize,
    },
    /// Too late.
    #[error("certificate {position} of the chain expired at {not_after}")]
    Expired {
        /// Counted from 1, the leaf.
        position: usize,
        /// Its end.
        not_after: OffsetDateTime,
    },
    /// Too early.
    #[error("certificate {position} of the chain is not valid before {not_before}")]
    NotYetValid {
        /// Counted from 1, the leaf.
        position: usize,
        /// Its start.
        not_before: OffsetDateTime,
    },
    /// SHA-1.
    #[error("certificate {position} of the chain is signed over SHA-1, which clients refuse")]
    WeakSignature {
        /// Counted from 1, the leaf.
        position: usize,
    },
    /// An RSA key that clients refuse.
    #[error("the RSA key has {bits} bits: expected {MIN_RSA_BITS} to {MAX_RSA_BITS}")]
    KeySize {
        /// Its length.
        bits: usize,
    },
    /// Neither RSA nor one of the two curves.
    #[error("the certificate's key is of a kind that is not served: expected RSA, P-256 or P-384")]
    KeyUnsupported,
    /// For clients, mail or code.
    #[error("the certificate is not for servers: its extended key usage lacks serverAuth")]
    NotForServers,
    /// A part that nobody has to know, marked as one that everybody must.
    #[error(
        "the certificate can't be loaded by TLS libraries: it has a critical extension that they \
         don't know, as a precertificate has, or is not of X.509 version 3"
    )]
    CertificateUnloadable,
    /// Another name.
    #[error("the certificate is not for `{wanted}`; it is for {}", listed(names))]
    NameNotCovered {
        /// The hostname.
        wanted: HostPattern,
        /// The certificate's names.
        names: Vec<HostPattern>,
    },
    /// Not PEM.
    #[error("the private key is not PEM: expected `-----BEGIN PRIVATE KEY-----` and its end")]
    KeyPem,
    /// PEM without a key.
    #[error("there is no private key: expected one `-----BEGIN PRIVATE KEY-----`")]
    NoKey,
    /// Which one?
    #[error("there are several private keys: expected the one of the first certificate")]
    SeveralKeys,
    /// Nobody could use it.
    #[error("the private key is encrypted: remove its passphrase, for example by `openssl pkey`")]
    EncryptedKey,
    /// PEM around something else.
    #[error(
        "the private key can't be decoded: expected RSA, P-256 or P-384 as PKCS#8, PKCS#1 or SEC1"
    )]
    KeyUnreadable,
    /// The key of another certificate.
    #[error("the private key is not that of the first certificate")]
    KeyMismatch,
    /// A hostname has at most one certificate for each type of key.
    #[error("there are {len} certificates with keys: expected one, or one ECDSA and one RSA")]
    PairCount {
        /// How many there are.
        len: usize,
    },
    /// The second would take the first one's place.
    #[error("both certificates have keys of one type: expected one ECDSA and one RSA")]
    SameKeyType,
}

impl UploadError {
    /// Which member of the object that holds certificate and key is meant, or of the whole upload.
    pub(crate) fn member(&self) -> &'static str {
        match self {
            Self::CertificatePem
            | Self::NoCertificate
            | Self::CertificateUnreadable { .. }
            | Self::ChainTooLong { .. }
            | Self::ChainOutOfOrder { .. }
            | Self::ChainSignature { .. }
            | Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::WeakSignature { .. }
            | Self::KeySize { .. }
            | Self::KeyUnsupported
            | Self::NotForServers
            | Self::CertificateUnloadable
            | Self::NameNotCovered { .. } => "certificate",
            Self::KeyPem
            | Self::NoKey
            | Self::SeveralKeys
            | Self::EncryptedKey
            | Self::KeyUnreadable
            | Self::KeyMismatch => "privateKey",
            Self::PairCount { .. } | Self::SameKeyType => "certificates",
        }
    }

    /// A constant for programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::CertificatePem => "certificate_pem_invalid",
            Self::NoCertificate => "certificate_missing",
            Self::CertificateUnreadable { .. } => "certificate_unreadable",
            Self::ChainTooLong { .. } => "chain_too_long",
            Self::ChainOutOfOrder { .. } => "chain_out_of_order",
            Self::ChainSignature { .. } => "chain_signature_invalid",
            Self::Expired { .. } => "certificate_expired",
            Self::NotYetValid { .. } => "certificate_not_yet_valid",
            Self::WeakSignature { .. } => "signature_too_weak",
            Self::KeySize { .. } => "key_size_unsupported",
            Self::KeyUnsupported => "key_type_unsupported",
            Self::NotForServers => "certificate_not_for_servers",
            Self::CertificateUnloadable => "certificate_unloadable",
            Self::NameNotCovered { .. } => "name_not_covered",
            Self::KeyPem => "private_key_pem_invalid",
            Self::NoKey => "private_key_missing",
            Self::SeveralKeys => "private_key_ambiguous",
            Self::EncryptedKey => "private_key_encrypted",
            Self::KeyUnreadable => "private_key_unreadable",
            Self::KeyMismatch => "private_key_mismatch",
            Self::PairCount { .. } => "certificate_count",
            Self::SameKeyType => "certificates_of_one_key_type",
        }
    }
}

fn listed(names: &[HostPattern]) -> String {
    const SHOWN: usize = 10;
    if names.is_empty() {
        return "no DNS name".to_owned();
    }
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = match names.len() > SHOWN {
        true => " and others",
        false => "",
    };
    format!("{}{more}", shown.join(", "))
}

/// A certificate and key that fit each other, the hostname and the time.
pub(crate) struct CheckedUpload {
    names: Vec<HostPattern>,
    chain: Vec<Vec<u8>>,
    key: ServerKey,
    key_type: KeyType,
    spki_sha256: [u8; 32],
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

impl CheckedUpload {
    /// Checks a chain and its key, both PEM, for a hostname's `names` at `now`. It must be for the
    /// first, and is served for those that it is for.
    pub(crate) fn check(
        certificate_pem: &str,
        key_pem: &str,
        names: &[HostPattern],
        now: OffsetDateTime,
    ) -> Result<Self, UploadError> {
        let ders = pem::certificates(certificate_pem).map_err(|_| UploadError::CertificatePem)?;
        let certificates = chain::parse(&ders)?;
        let leaf = certificates.first().ok_or(UploadError::NoCertificate)?;
        let key_type = chain::key_type(leaf)?;
        chain::check_signatures(&certificates)?;
        chain::check_order(&certificates)?;
        chain::check_validity(&certificates, now)?;
        chain::check_purpose(leaf)?;
        if let Some(own) = names.first() {
            chain::check_name(leaf, own)?;
        }
        chain::check_loadable(leaf.as_raw())?;
        let key = read_key(key_pem, leaf)?;
        let spki_sha256 = sha256(leaf.public_key().raw);
        let (not_before, not_after) = chain::validity(leaf);
        let is_covered = |name: &&HostPattern| chain::check_name(leaf, name).is_ok();
        let names = names.iter().filter(is_covered).cloned().collect();
        Ok(Self { names, key, key_type, spki_sha256, not_before, not_after, chain: ders })
    }

    /// Seals the key for each name. What is left holds no secret.
    pub(crate) fn seal(self, group: &GroupPublicKey) -> Result<SealedCertificate, SealError> {
        let seal = |name: &HostPattern| {
            let spki_sha256 = &self.spki_sha256;
            let context = SealContext::PrivateKey { hostname: name, spki_sha256 };
            let sealed = group.seal(context, self.key.pkcs8())?;
            Ok(SealedKey { name: name.clone(), sealed })
        };
        let keys = self.names.iter().map(seal).collect::<Result<_, _>>()?;
        let fingerprint = self.chain.first().map(|leaf| sha256(leaf)).unwrap_or_default();
        Ok(SealedCertificate {
            key_type: self.key_type,
            issuer: CertificateIssuer::Uploaded,
            fingerprint: Fingerprint(fingerprint),
            not_before: self.not_before,
            not_after: self.not_after,
            renew_at: None,
            chain: self.chain.into_iter().map(Der).collect(),
            spki_sha256: self.spki_sha256,
            keys,
            source: None,
        })
    }
}

fn read_key(key_pem: &str, leaf: &X509Certificate<'_>) -> Result<ServerKey, UploadError> {
    let der = pem::private_key(key_pem).map_err(|error| match error {
        KeyPemError::Unreadable => UploadError::KeyPem,
        KeyPemError::Missing => UploadError::NoKey,
        KeyPemError::Several => UploadError::SeveralKeys,
        KeyPemError::Encrypted => UploadError::EncryptedKey,
    })?;
    let key = ServerKey::read(&der).ok_or(UploadError::KeyUnreadable)?;
    match key.public() == leaf.public_key().subject_public_key.data.as_ref() {
        true => Ok(key),
        false => Err(UploadError::KeyMismatch),
    }
}
