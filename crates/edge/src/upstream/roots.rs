//! The roots that origins are verified with, put where pingora reads them.
//!
//! pingora's connector panics over a certificate that it can't read, and most stores of a system
//! have one: so they are read here, and what is usable is written to a file for it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use data_encoding::BASE64;
use landfall_feed::bounded_file::{self, MAX_ROOTS};
use rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer,
        pem::{self, PemObject},
    },
};

/// Characters on a line of PEM (RFC 7468 section 2).
const LINE: usize = 64;

/// Why there is no file of roots.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootsError {
    /// The operator's file.
    #[error("cannot read certificates from {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The operator's file has no root.
    #[error("{} has no certificate that can be a root", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file for pingora.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// Writes the usable roots of `ca_file`, or the system's, into `directory`, and says where. A
/// system without roots is no error: then https origins are verified with their property's own
/// roots, or not reached.
///
/// # Errors
/// [`RootsError`]
pub(crate) fn write(ca_file: Option<&Path>, directory: &Path) -> Result<PathBuf, RootsError> {
    let usable = match ca_file {
        Some(path) => read_usable(path)?,
        None => usable(rustls_native_certs::load_native_certs().certs),
    };
    if usable.is_empty() {
        tracing::warn!(
            "this system has no root certificates: https origins are not reached, but for those \
             of properties with their own roots; install ca-certificates or set upstream.ca_file"
        );
    }
    let path = directory.join("origin-roots.pem");
    let text: String = usable.iter().map(|certificate| pem(certificate)).collect();
    fs::write(&path, text).map_err(|source| RootsError::Write { path: path.clone(), source })?;
    Ok(path)
}

/// The certificates of the operator's file that can be roots: at least one.
///
/// # Errors
/// [`RootsError::Read`] and [`RootsError::Empty`].
pub(crate) fn read_usable(path: &Path) -> Result<Vec<CertificateDer<'static>>, RootsError> {
    let usable = usable(read(path)?);
    let empty = || RootsError::Empty { path: path.to_owned() };
    if usable.is_empty() { Err(empty()) } else { Ok(usable) }
}

fn usable(found: Vec<CertificateDer<'static>>) -> Vec<CertificateDer<'static>> {
    let mut found = found;
    found.retain(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok());
    found
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, RootsError> {
    let failed = |source| RootsError::Read { path: path.to_owned(), source };
    let text =
        bounded_file::read(path, MAX_ROOTS).map_err(|error| failed(pem::Error::Io(error)))?;
    CertificateDer::pem_slice_iter(&text).map(|own| own.map_err(failed)).collect()
}

fn pem(certificate: &[u8]) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in BASE64.encode(certificate).as_bytes().chunks(LINE) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usable_roots_are_written_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["ca.example".to_owned()]).unwrap();
        let root = params.self_signed(&key).unwrap();
        let file = folder.path().join("ca.pem");
        let junk = pem(b"this is no certificate");
        fs::write(&file, format!("{junk}{}", root.pem())).unwrap();
        let written = write(Some(&file), folder.path()).unwrap();
        assert_eq!(read(&written).unwrap(), [root.der().clone()]);

        fs::write(&file, junk).unwrap();
        assert!(matches!(write(Some(&file), folder.path()), Err(RootsError::Empty { .. })));
        let missing = folder.path().join("missing.pem");
        assert!(matches!(write(Some(&missing), folder.path()), Err(RootsError::Read { .. })));
    }
}
