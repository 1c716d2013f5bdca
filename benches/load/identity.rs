//! The certificate that all present, and the parameters of TLS that all have in common.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::{
    CipherSuite,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::CertificateDer,
};

use super::LoadError;

/// The hostname that is asked for.
pub(super) const NAME: &str = "www.bench.test";

/// A P-256 certificate with its intermediate, as public CAs issue them, and where its files are.
#[derive(Clone)]
pub(super) struct Identity {
    /// The root, which clients have and nobody presents.
    pub(super) root: CertificateDer<'static>,
    pub(super) chain_pem: String,
    pub(super) key_pem: String,
    pub(super) chain: PathBuf,
    pub(super) key: PathBuf,
    /// Chain and key, as HAProxy has them.
    pub(super) both: PathBuf,
}

impl Identity {
    /// Makes one and writes it to `folder`.
    pub(super) fn write(folder: &Path) -> Result<Self, LoadError> {
        let root = CertifiedIssuer::self_signed(authority("root"), KeyPair::generate()?)?;
        let intermediate = authority("intermediate");
        let intermediate = CertifiedIssuer::signed_by(intermediate, KeyPair::generate()?, &root)?;
        let key = KeyPair::generate()?;
        let mut leaf = CertificateParams::new(vec![NAME.to_owned()])?;
        leaf.not_before = time::OffsetDateTime::now_utc() - time::Duration::days(1);
        leaf.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(60);
        let leaf = leaf.signed_by(&key, &intermediate)?;
        let identity = Self {
            root: root.der().clone(),
            chain_pem: format!("{}{}", leaf.pem(), intermediate.pem()),
            key_pem: key.serialize_pem(),
            chain: folder.join("chain.pem"),
            key: folder.join("key.pem"),
            both: folder.join("both.pem"),
        };
        write(&identity.chain, &identity.chain_pem)?;
        write(&identity.key, &identity.key_pem)?;
        write(&identity.both, &format!("{}{}", identity.chain_pem, identity.key_pem))?;
        Ok(identity)
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2060, 1, 1);
    params
}

fn write(path: &Path, text: &str) -> Result<(), LoadError> {
    fs::write(path, text).map_err(LoadError::file(path))
}

/// aws-lc-rs with the one cipher suite of each version and the one key exchange that all servers
/// are set to, so that none is ahead by its choice of them.
pub(super) fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    provider.cipher_suites.retain(|suite| {
        let suite = suite.suite();
        suite == CipherSuite::TLS13_AES_128_GCM_SHA256
            || suite == CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
    });
    Arc::new(provider)
}
