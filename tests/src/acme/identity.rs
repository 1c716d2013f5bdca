use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};

use crate::tools::write_private;

/// A CA that vouches for servers on this machine.
pub struct LocalRoot {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl LocalRoot {
    /// Makes one.
    ///
    /// # Panics
    /// Never, but for a machine without randomness.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Root of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Its certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Writes `server.pem` and `server.key` for `localhost` and 127.0.0.1 into a folder.
    ///
    /// # Panics
    /// Where they can't be written.
    pub fn write_identity(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let paths = (folder.join("server.pem"), folder.join("server.key"));
        std::fs::write(&paths.0, certificate.pem()).unwrap();
        write_private(&paths.1, &key.serialize_pem());
        paths
    }

    /// Writes its own certificate and key, for a CA that issues below it.
    ///
    /// # Panics
    /// Where they can't be written.
    pub(super) fn write_authority(&self, certificate: &Path, key: &Path) {
        std::fs::write(certificate, &self.pem).unwrap();
        write_private(key, &self.issuer.key().serialize_pem());
    }
}

impl Default for LocalRoot {
    fn default() -> Self {
        Self::new()
    }
}
