//! Which TLS a hostname's clients are offered.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::Der;

/// The most roots that client certificates of one hostname are verified with.
pub const MAX_CLIENT_ROOTS: usize = 16;

/// A protocol version. Older ones do not exist here.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum TlsVersion {
    /// RFC 5246
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// RFC 8446
    #[serde(rename = "1.3")]
    Tls13,
}

/// A hostname's TLS policy. Equal policies share one ready-made server configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsPolicy {
    /// The lowest version that is accepted. Default: 1.2.
    pub min_version: TlsVersion,
    /// Whether TLS 1.3 is offered. Default: yes.
    pub tls13: bool,
    /// Whether HTTP/2 is offered by ALPN. Default: yes.
    pub http2: bool,
    /// The cipher suites that are accepted. A version of which it names none keeps all of its
    /// suites, so a list of TLS 1.2 suites leaves TLS 1.3 as it is. Default: empty, every suite.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ciphers: Vec<CipherSuite>,
    /// Whether clients show a certificate. Default: they are not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<ClientAuth>,
}

/// Which client certificates are taken (RFC 8446 section 4.3.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientAuth {
    /// Whether a client must have one.
    pub mode: ClientAuthMode,
    /// DER: the roots that they are verified with, 1 to [`MAX_CLIENT_ROOTS`].
    pub ca: Vec<Der>,
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClientAuthMode {
    /// Without one there is no connection.
    Required,
    /// One that is shown must be valid.
    Optional,
}

impl Default for TlsPolicy {
    fn default() -> Self {
        Self {
            min_version: TlsVersion::Tls12,
            tls13: true,
            http2: true,
            ciphers: Vec::new(),
            client_auth: None,
        }
    }
}

/// Why a policy can't be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsPolicyError {
    /// The minimum is 1.3, and 1.3 is off.
    #[error("minVersion is 1.3 and tls13 is false: no version is left")]
    NoVersion,
    /// No root for client certificates, or too many.
    #[error("clientAuth.ca has 1 to {MAX_CLIENT_ROOTS} certificates, got {0}")]
    ClientRoots(usize),
}

impl TlsPolicy {
    /// Puts the lists in one order, so that equal policies compare equal.
    ///
    /// # Errors
    /// [`TlsPolicyError`] where no client could ever connect.
    pub fn checked(mut self) -> Result<Self, TlsPolicyError> {
        if self.versions().next().is_none() {
            return Err(TlsPolicyError::NoVersion);
        }
        self.ciphers.sort_unstable();
        self.ciphers.dedup();
        if let Some(auth) = &mut self.client_auth {
            if !(1..=MAX_CLIENT_ROOTS).contains(&auth.ca.len()) {
                return Err(TlsPolicyError::ClientRoots(auth.ca.len()));
            }
            auth.ca.sort_unstable();
            auth.ca.dedup();
        }
        Ok(self)
    }

    /// The versions that are offered.
    pub fn versions(&self) -> impl Iterator<Item = TlsVersion> + use<> {
        let tls12 = (self.min_version == TlsVersion::Tls12).then_some(TlsVersion::Tls12);
        let tls13 = self.tls13.then_some(TlsVersion::Tls13);
        tls12.into_iter().chain(tls13)
    }

    /// Whether the policy accepts `suite`.
    pub fn accepts(&self, suite: CipherSuite) -> bool {
        let named = |version| self.ciphers.iter().any(|own| own.version() == version);
        !named(suite.version()) || self.ciphers.contains(&suite)
    }
}

macro_rules! suites {
    ($($variant:ident, $code:literal, $version:ident, $iana:literal, $openssl:literal;)+) => {
        /// A cipher suite. Only those with forward secrecy and an AEAD exist here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "each variant's names stand in its row below")]
        pub enum CipherSuite { $($variant),+ }

        impl CipherSuite {
            /// Every suite.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The code point of IANA's TLS Cipher Suites registry.
            pub const fn code(self) -> u16 {
                match self { $(Self::$variant => $code),+ }
            }

            /// The version it belongs to.
            pub const fn version(self) -> TlsVersion {
                match self { $(Self::$variant => TlsVersion::$version),+ }
            }

            /// IANA's name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $iana),+ }
            }

            /// OpenSSL's name, and BoringSSL's.
            pub const fn openssl_name(self) -> &'static str {
                match self { $(Self::$variant => $openssl),+ }
            }
        }

        impl FromStr for CipherSuite {
            type Err = CipherSuiteError;

            /// Takes IANA's name or OpenSSL's.
            fn from_str(text: &str) -> Result<Self, CipherSuiteError> {
                match text {
                    $($iana | $openssl => Ok(Self::$variant),)+
                    _ => Err(CipherSuiteError(text.to_owned())),
                }
            }
        }
    };
}

suites! {
    Aes256GcmSha384, 0x1302, Tls13, "TLS_AES_256_GCM_SHA384", "AEAD-AES256-GCM-SHA384";
    Aes128GcmSha256, 0x1301, Tls13, "TLS_AES_128_GCM_SHA256", "AEAD-AES128-GCM-SHA256";
    Chacha20Poly1305, 0x1303, Tls13, "TLS_CHACHA20_POLY1305_SHA256", "AEAD-CHACHA20-POLY1305-SHA256";
    EcdheEcdsaAes256, 0xc02c, Tls12, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384";
    EcdheEcdsaAes128, 0xc02b, Tls12, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256";
    EcdheEcdsaChacha20, 0xcca9, Tls12, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305";
    EcdheRsaAes256, 0xc030, Tls12, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384";
    EcdheRsaAes128, 0xc02f, Tls12, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256";
    EcdheRsaChacha20, 0xcca8, Tls12, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305";
}

/// A text that names no suite we have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a cipher suite that is offered; expected one of the ECDHE suites with AES-GCM or \
     ChaCha20-Poly1305, or a TLS 1.3 suite, by IANA's or OpenSSL's name"
)]
pub struct CipherSuiteError(String);

impl fmt::Display for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for CipherSuite {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for CipherSuite {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_tls12_suites_leaves_tls13_as_it_is() {
        let policy = TlsPolicy {
            ciphers: vec!["ECDHE-ECDSA-AES128-GCM-SHA256".parse().unwrap()],
            ..TlsPolicy::default()
        };
        assert!(policy.accepts(CipherSuite::EcdheEcdsaAes128));
        assert!(!policy.accepts(CipherSuite::EcdheEcdsaAes256));
        assert!(policy.accepts(CipherSuite::Aes256GcmSha384));
    }

    #[test]
    fn refuses_a_policy_that_no_client_could_use() {
        let policy =
            TlsPolicy { min_version: TlsVersion::Tls13, tls13: false, ..TlsPolicy::default() };
        assert_eq!(policy.checked(), Err(TlsPolicyError::NoVersion));
    }

    #[test]
    fn every_suite_is_read_back_by_its_name() {
        for suite in CipherSuite::ALL {
            assert_eq!(suite.name().parse(), Ok(*suite));
        }
        assert!("AES128-SHA".parse::<CipherSuite>().is_err());
    }

    #[test]
    fn missing_and_unknown_fields_are_the_default() {
        let policy: TlsPolicy = serde_json::from_str(r#"{"http2":false,"later":1}"#).unwrap();
        let expected = TlsPolicy { http2: false, ..TlsPolicy::default() };
        assert_eq!(policy, expected);
    }
}
