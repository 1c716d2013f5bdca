//! The CAs that issue for hostnames outside the system domain, as agents are told of them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use landfall_dns::CaIdentity;
use landfall_feed::{bounded_file, seal::GroupPublicKey};
use landfall_issuance::ledger::Limits;
use landfall_model::{
    AuthorityName, SealContext, Sealed,
    issuance::{Account, Authority, ExternalAccount},
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    config::{AuthorityConfig, ExternalAccountConfig, IssuanceConfig},
    error::ControlError,
    store::lease::KeptOrder,
};

/// The largest file that is read for a CA, in bytes.
const MAX_FILE: u64 = 256 * 1024;

/// Why a file of a CA can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityFileError {
    /// It is not there, or can't be read.
    #[error("the file of {key} can't be read")]
    Read {
        /// The key of the configuration that names it.
        key: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It has no certificates.
    #[error("the file of {key} is no PEM of certificates")]
    NoRoots {
        /// The key of the configuration that names it.
        key: String,
    },
    /// It is no sealed key.
    #[error(
        "the file of {key} is not what `landfall keys seal-external-account` writes: expected JSON"
    )]
    Unreadable {
        /// The key of the configuration that names it.
        key: String,
    },
    /// It was sealed for something else.
    #[error("the file of {key} was sealed for another {what}: seal the key anew")]
    OtherPurpose {
        /// The key of the configuration that names it.
        key: String,
        /// What differs.
        what: &'static str,
    },
}

/// A sealed HMAC key as its file has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedFile {
    authority: AuthorityName,
    key_id: String,
    sealed: Sealed,
}

/// Seals the HMAC key of an external account: the text for the file that the configuration names.
///
/// # Errors
/// Where the cryptography fails.
pub(crate) fn seal_external_account(
    (authority, key_id): (&AuthorityName, &str),
    secret: &Zeroizing<Vec<u8>>,
    group: &GroupPublicKey,
) -> Result<String, landfall_feed::seal::SealError> {
    let sealed = group.seal(SealContext::ExternalAccountKey { authority, key_id }, secret)?;
    let (authority, key_id) = (authority.clone(), key_id.to_owned());
    let file = SealedFile { authority, key_id, sealed };
    Ok(serde_json::to_string(&file).unwrap_or_default())
}

/// The CAs that issue.
#[derive(Clone, Debug)]
pub(crate) struct Authorities {
    /// Those that may issue, the preferred one first.
    pub(crate) order: Vec<AuthorityName>,
    /// These and their staging environments.
    pub(crate) all: BTreeMap<AuthorityName, LoadedAuthority>,
}

/// A CA and what its files have.
#[derive(Clone, Debug)]
pub(crate) struct LoadedAuthority {
    pub(crate) config: AuthorityConfig,
    roots: Option<String>,
    external_account: Option<ExternalAccount>,
    /// The id of the fleet's group key.
    group_key: String,
}

impl Authorities {
    /// Reads the files that the configuration names.
    pub(crate) fn load(
        config: &IssuanceConfig,
        group: &GroupPublicKey,
    ) -> Result<Self, ControlError> {
        let mut all = BTreeMap::new();
        for (name, own) in &config.authorities {
            let loaded = LoadedAuthority::load(name, own, group);
            all.insert(name.clone(), loaded.map_err(ControlError::AuthorityFile)?);
        }
        Ok(Self { order: config.order.clone(), all })
    }

    /// One of them.
    pub(crate) fn find(&self, name: &AuthorityName) -> Option<&LoadedAuthority> {
        self.all.get(name)
    }

    /// Whether an order was made where its CA is now: the name may have been given to another one.
    pub(crate) fn knows(&self, order: &KeptOrder) -> bool {
        self.find(&order.authority).is_some_and(|own| own.config.directory == order.directory)
    }

    /// Those that may issue where this one is chosen, or none; the preferred one first.
    pub(crate) fn permitted(&self, choice: Option<&AuthorityName>) -> Vec<AuthorityName> {
        let is_permitted = |own: &&AuthorityName| choice.is_none_or(|choice| choice == *own);
        self.order.iter().filter(is_permitted).cloned().collect()
    }

    /// The limits of all.
    pub(crate) fn limits(&self) -> BTreeMap<AuthorityName, Limits> {
        self.all.iter().map(|(name, own)| (name.clone(), own.config.limits)).collect()
    }

    /// Those that may issue, as CAA records name them. One whose own directory alone says what it is
    /// called there is left out.
    pub(crate) fn identities(config: &IssuanceConfig) -> Vec<CaIdentity> {
        let known = config.order.iter().filter_map(|name| {
            let domains = config.authorities.get(name)?.caa_identities.clone();
            let identity = CaIdentity { name: name.to_string(), domains };
            (!identity.domains.is_empty()).then_some(identity)
        });
        known.collect()
    }
}

impl LoadedAuthority {
    /// Reads the files that the configuration of one names.
    pub(crate) fn load(
        name: &AuthorityName,
        config: &AuthorityConfig,
        group: &GroupPublicKey,
    ) -> Result<Self, AuthorityFileError> {
        let key = |field: &str| format!("issuance.authority.{name}.{field}");
        let roots = config.roots_file.as_ref();
        let roots = roots.map(|path| read_roots(path, key("roots_file"))).transpose()?;
        let external_account = config.external_account.as_ref();
        let external_account = external_account
            .map(|own| read_external(name, own, group, key("external_account.hmac_key_file")))
            .transpose()?;
        let group_key = group.id().to_owned();
        Ok(Self { config: config.clone(), roots, external_account, group_key })
    }

    /// As an agent needs it.
    pub(crate) fn described(&self, name: &AuthorityName, account: Option<Account>) -> Authority {
        let own = &self.config;
        Authority {
            name: name.clone(),
            directory: own.directory.clone(),
            caa_identities: own.caa_identities.clone(),
            roots: self.roots.clone(),
            contact: own.contact.clone(),
            profile: own.profile.clone(),
            preferred_chain: own.preferred_chain.clone(),
            external_account: self.external_account.clone(),
            account,
            group_key: self.group_key.clone(),
        }
    }
}

fn read_external(
    name: &AuthorityName,
    config: &ExternalAccountConfig,
    group: &GroupPublicKey,
    key: String,
) -> Result<ExternalAccount, AuthorityFileError> {
    let text = read(&config.hmac_key_file, key.clone())?;
    let Ok(file) = serde_json::from_str::<SealedFile>(&text) else {
        return Err(AuthorityFileError::Unreadable { key });
    };
    let purposes = [
        ("CA", file.authority == *name),
        ("key_id", file.key_id == config.key_id),
        ("group key", file.sealed.key_id == group.id()),
    ];
    if let Some((what, _)) = purposes.into_iter().find(|(_, fits)| !fits) {
        return Err(AuthorityFileError::OtherPurpose { key, what });
    }
    Ok(ExternalAccount { key_id: file.key_id, hmac_key: file.sealed })
}

fn read_roots(path: &Path, key: String) -> Result<String, AuthorityFileError> {
    let text = read(path, key.clone())?;
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match roots {
        Ok(roots) if !roots.is_empty() => Ok(text),
        Ok(_) | Err(_) => Err(AuthorityFileError::NoRoots { key }),
    }
}

fn read(path: &Path, key: String) -> Result<String, AuthorityFileError> {
    let text = bounded_file::read(path, MAX_FILE).and_then(|bytes| {
        String::from_utf8(bytes).map_err(|_| std::io::ErrorKind::InvalidData.into())
    });
    text.map_err(|source| AuthorityFileError::Read {
        key: format!("{key} ({})", PathBuf::from(path).display()),
        source,
    })
}

#[cfg(test)]
mod tests {
    use landfall_feed::seal::GroupKeyFiles;

    use super::*;

    #[test]
    fn a_sealed_key_is_taken_for_its_ca_id_and_group_alone() {
        let group = GroupPublicKey::parse(&GroupKeyFiles::generate().unwrap().public).unwrap();
        let other = GroupPublicKey::parse(&GroupKeyFiles::generate().unwrap().public).unwrap();
        let name: AuthorityName = "zerossl".parse().unwrap();
        let secret = Zeroizing::new(b"secret".to_vec());
        let text = seal_external_account((&name, "k1"), &secret, &group).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hmac.json");
        std::fs::write(&path, text).unwrap();
        let read = |name: &str, key_id: &str, group| {
            let config =
                ExternalAccountConfig { key_id: key_id.to_owned(), hmac_key_file: path.clone() };
            read_external(&name.parse().unwrap(), &config, group, "key".to_owned())
        };
        assert_eq!(read("zerossl", "k1", &group).unwrap().key_id, "k1");
        for (name, key_id, group, expected) in [
            ("google", "k1", &group, "CA"),
            ("zerossl", "k2", &group, "key_id"),
            ("zerossl", "k1", &other, "group key"),
        ] {
            let error = read(name, key_id, group).unwrap_err();
            assert!(
                matches!(error, AuthorityFileError::OtherPurpose { what, .. } if what == expected),
                "{error}"
            );
        }
    }
}
