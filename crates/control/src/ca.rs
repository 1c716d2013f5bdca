//! The internal CA: certificates for names under the system domain, for tests and private networks.

use std::time::Duration;

use data_encoding::HEXLOWER;
use landfall_feed::seal::{GroupPublicKey, SealError, sha256};
use landfall_model::{Der, Fingerprint, HostPattern, KeyType, SealContext};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use crate::certificate::{CertificateIssuer, SealedCertificate, SealedKey, chain, pem};

/// Clocks of clients may be behind ours by this much.
const BACKDATE: Duration = Duration::from_secs(3_600);
const ROOT_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

/// Why the internal CA can't issue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaError {
    /// The files are not a CA's key and certificate.
    #[error("the internal CA's key or certificate can't be read")]
    Unreadable(#[source] rcgen::Error),
    /// They belong to two different CAs.
    #[error("the internal CA's certificate is not that of its key")]
    Mismatch,
    /// The root has come to its end.
    #[error("the internal CA expired at {0}")]
    Expired(OffsetDateTime),
    /// A certificate could not be made.
    #[error("the internal CA could not make a certificate")]
    Issue(#[source] rcgen::Error),
    /// Its key could not be sealed.
    #[error("the new certificate's key could not be sealed")]
    Seal(#[source] SealError),
}

/// The internal CA, able to sign.
pub(crate) struct InternalCa {
    issuer: Issuer<'static, KeyPair>,
    not_after: OffsetDateTime,
}

impl InternalCa {
    /// Makes a root's key: the text for a 0600 file.
    pub(crate) fn generate_key() -> Result<Zeroizing<String>, CaError> {
        let key = Zeroizing::new(KeyPair::generate().map_err(CaError::Issue)?);
        Ok(Zeroizing::new(key.serialize_pem()))
    }

    /// Makes the root certificate (PEM) of the key that [`Self::generate_key`] made.
    pub(crate) fn generate_root(key_pem: &str, now: OffsetDateTime) -> Result<String, CaError> {
        let key = Zeroizing::new(KeyPair::from_pem(key_pem).map_err(CaError::Unreadable)?);
        let hash = sha256(&key.subject_public_key_info());
        let short_id = HEXLOWER.encode(hash.get(..4).unwrap_or_default());
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Landfall internal CA {short_id}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = now - BACKDATE;
        params.not_after = now + ROOT_LIFETIME;
        params.self_signed(&*key).map(|root| root.pem()).map_err(CaError::Issue)
    }

    /// Reads what the other two made.
    pub(crate) fn parse(key_pem: &str, root_pem: &str) -> Result<Self, CaError> {
        let key = KeyPair::from_pem(key_pem).map_err(CaError::Unreadable)?;
        let root = pem::certificates(root_pem).ok().and_then(|mut found| found.pop());
        let root = root.ok_or(CaError::Unreadable(rcgen::Error::CouldNotParseCertificate))?;
        let (_, parsed) = X509Certificate::from_der(&root)
            .map_err(|_| CaError::Unreadable(rcgen::Error::CouldNotParseCertificate))?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(CaError::Mismatch);
        }
        let (_, not_after) = chain::validity(&parsed);
        let issuer = Issuer::from_ca_cert_pem(root_pem, key).map_err(CaError::Unreadable)?;
        Ok(Self { issuer, not_after })
    }

    /// Issues a certificate for `names` and seals its key for each, which exists nowhere else.
    pub(crate) fn issue(
        &self,
        names: &[HostPattern],
        lifetime: Duration,
        group: &GroupPublicKey,
        now: OffsetDateTime,
    ) -> Result<SealedCertificate, CaError> {
        if now >= self.not_after {
            return Err(CaError::Expired(self.not_after));
        }
        let key = Zeroizing::new(KeyPair::generate().map_err(CaError::Issue)?);
        let params = leaf_params(names, now, (now + lifetime).min(self.not_after))?;
        let leaf = params.signed_by(&*key, &self.issuer).map_err(CaError::Issue)?;
        let spki_sha256 = sha256(&key.subject_public_key_info());
        let seal = |name: &HostPattern| {
            let context = SealContext::PrivateKey { hostname: name, spki_sha256: &spki_sha256 };
            let sealed = group.seal(context, key.serialized_der()).map_err(CaError::Seal)?;
            Ok(SealedKey { name: name.clone(), sealed })
        };
        let keys = names.iter().map(seal).collect::<Result<_, _>>()?;
        let valid_for = params.not_after - params.not_before;
        Ok(SealedCertificate {
            key_type: KeyType::Ecdsa,
            issuer: CertificateIssuer::Internal,
            fingerprint: Fingerprint(sha256(leaf.der())),
            not_before: params.not_before,
            not_after: params.not_after,
            renew_at: Some(params.not_after - valid_for / 3),
            chain: vec![Der(leaf.der().to_vec())],
            spki_sha256,
            keys,
            source: None,
        })
    }
}

fn leaf_params(
    names: &[HostPattern],
    now: OffsetDateTime,
    not_after: OffsetDateTime,
) -> Result<CertificateParams, CaError> {
    let names: Vec<String> = names.iter().map(HostPattern::to_string).collect();
    let mut params = CertificateParams::new(names).map_err(CaError::Issue)?;
    // A common name ends at 64 bytes (RFC 5280 appendix A.1) and hostnames don't: none at all.
    params.distinguished_name = DistinguishedName::new();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = now - BACKDATE;
    params.not_after = not_after;
    Ok(params)
}

#[cfg(test)]
mod tests {
    use landfall_feed::seal::GroupKeyFiles;

    use super::*;

    #[test]
    fn issues_for_the_pattern_alone_backdated_and_due_with_a_third_left() {
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let key = InternalCa::generate_key().unwrap();
        let root_pem = InternalCa::generate_root(&key, now).unwrap();
        let ca = InternalCa::parse(&key, &root_pem).unwrap();
        let group = GroupPublicKey::parse(&GroupKeyFiles::generate().unwrap().public).unwrap();
        let name: HostPattern = "*.apps.demo.localhost".parse().unwrap();
        let day = Duration::from_secs(24 * 3_600);

        let issued = ca.issue(std::slice::from_ref(&name), 90 * day, &group, now).unwrap();

        let (_, leaf) = X509Certificate::from_der(&issued.chain[0].0).unwrap();
        let root = pem::certificates(&root_pem).unwrap();
        let (_, root) = X509Certificate::from_der(&root[0]).unwrap();
        leaf.verify_signature(Some(root.public_key())).unwrap();
        chain::check_name(&leaf, &name).unwrap();
        chain::check_purpose(&leaf).unwrap();
        assert!(chain::check_name(&leaf, &"apps.demo.localhost".parse().unwrap()).is_err());
        assert!(root.is_ca() && !leaf.is_ca());
        assert_eq!(issued.not_before, now - BACKDATE);
        let left = issued.not_after - issued.renew_at.unwrap();
        assert_eq!(left, (issued.not_after - issued.not_before) / 3);
    }

    #[test]
    fn refuses_the_certificate_of_another_ca() {
        let now = OffsetDateTime::now_utc();
        let (one, other) =
            (InternalCa::generate_key().unwrap(), InternalCa::generate_key().unwrap());
        let root = InternalCa::generate_root(&other, now).unwrap();
        assert!(matches!(InternalCa::parse(&one, &root), Err(CaError::Mismatch)));
    }
}
