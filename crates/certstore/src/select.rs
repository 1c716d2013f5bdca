//! Which of a hostname's certificates suits a client.

use landfall_model::{CipherSuite, TlsVersion};
use rustls::{SignatureScheme, server::ClientHello};

use crate::{CertificateRef, Entry, KeyKind};

/// What a ClientHello says about the certificates that its client can use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    p256: bool,
    p384: bool,
    rsa: bool,
    tls13: bool,
    tls12_ecdsa: bool,
    tls12_rsa: bool,
}

impl Offer {
    /// Reads the signature schemes (RFC 8446 section 4.2.3) and the cipher suites.
    pub fn of(hello: &ClientHello<'_>) -> Self {
        let mut offer = Self::default();
        for scheme in hello.signature_schemes() {
            offer.add_scheme(*scheme);
        }
        for suite in hello.cipher_suites() {
            let code = u16::from(*suite);
            if let Some(suite) = CipherSuite::ALL.iter().find(|own| own.code() == code) {
                offer.add_suite(*suite);
            }
        }
        offer
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "the schemes are an open registry")]
    fn add_scheme(&mut self, scheme: SignatureScheme) {
        match scheme {
            SignatureScheme::ECDSA_NISTP256_SHA256 => self.p256 = true,
            SignatureScheme::ECDSA_NISTP384_SHA384 => self.p384 = true,
            SignatureScheme::RSA_PSS_SHA256
            | SignatureScheme::RSA_PSS_SHA384
            | SignatureScheme::RSA_PSS_SHA512
            | SignatureScheme::RSA_PKCS1_SHA256
            | SignatureScheme::RSA_PKCS1_SHA384
            | SignatureScheme::RSA_PKCS1_SHA512 => self.rsa = true,
            _ => {}
        }
    }

    fn add_suite(&mut self, suite: CipherSuite) {
        match suite {
            CipherSuite::Aes256GcmSha384
            | CipherSuite::Aes128GcmSha256
            | CipherSuite::Chacha20Poly1305 => self.tls13 = true,
            CipherSuite::EcdheEcdsaAes256
            | CipherSuite::EcdheEcdsaAes128
            | CipherSuite::EcdheEcdsaChacha20 => self.tls12_ecdsa = true,
            CipherSuite::EcdheRsaAes256
            | CipherSuite::EcdheRsaAes128
            | CipherSuite::EcdheRsaChacha20 => self.tls12_rsa = true,
        }
    }

    fn suits(self, kind: KeyKind, versions: Versions) -> bool {
        let (scheme, tls12_suite) = match kind {
            KeyKind::P256 => (self.p256, self.tls12_ecdsa),
            KeyKind::P384 => (self.p384, self.tls12_ecdsa),
            KeyKind::Rsa => (self.rsa, self.tls12_rsa),
        };
        let tls13 = versions.tls13 && self.tls13;
        scheme && (tls13 || (versions.tls12 && tls12_suite))
    }
}

#[derive(Clone, Copy)]
struct Versions {
    tls12: bool,
    tls13: bool,
}

impl<R> Entry<R> {
    /// The certificate that suits the client best: ECDSA, then RSA. Where none suits, the first
    /// there is, so that the handshake fails with the alert that says why. `None` without any.
    pub fn choose(&self, offer: Offer) -> Option<CertificateRef> {
        self.choose_among(self.certificates(), offer)
    }

    /// The same among `certificates`, which may be another entry's too.
    pub(crate) fn choose_among(
        &self,
        certificates: impl Iterator<Item = CertificateRef> + Clone,
        offer: Offer,
    ) -> Option<CertificateRef> {
        let offered = |version| self.policy().policy().versions().any(|own| own == version);
        let versions =
            Versions { tls12: offered(TlsVersion::Tls12), tls13: offered(TlsVersion::Tls13) };
        let mut suiting = certificates.clone().filter(|own| offer.suits(own.key_kind, versions));
        suiting.next().or_else(|| certificates.clone().next())
    }
}

#[cfg(test)]
mod tests {
    use landfall_model::{HostPattern, HostnameState, PropertyId, Route, TlsPolicy};

    use std::sync::Arc;

    use super::*;
    use crate::{CertificateId, EntrySpec, TicketSecrets, intern::Interner};

    fn chosen(kinds: &[KeyKind], policy: TlsPolicy, offer: Offer) -> Option<KeyKind> {
        let certificate = |key_kind: &KeyKind| CertificateRef {
            id: CertificateId(1),
            key_kind: *key_kind,
            not_after: u32::MAX,
            standby: false,
        };
        let name: HostPattern = "a.example".parse().unwrap();
        let route = Route::to(PropertyId(1));
        let certificates = kinds.iter().map(certificate).collect();
        let interner = Interner::new(Arc::new(TicketSecrets::new(0)), Route::clone);
        let state = HostnameState::Active;
        let entry = interner.entry(&EntrySpec { name, state, route, policy, certificates });
        entry.unwrap().choose(offer).map(|found| found.key_kind)
    }

    #[test]
    fn chooses_by_signature_schemes_and_for_tls12_by_cipher_suites() {
        use KeyKind::{P256, P384, Rsa};
        let modern = Offer {
            p256: true,
            p384: true,
            rsa: true,
            tls13: true,
            tls12_ecdsa: true,
            tls12_rsa: true,
        };
        let rsa_schemes = Offer { p256: false, p384: false, ..modern };
        let tls12_rsa_suites = Offer { tls13: false, tls12_ecdsa: false, ..modern };
        let no_p384 = Offer { p384: false, ..modern };
        let policy = TlsPolicy::default;
        let table = [
            (vec![P256, Rsa], modern, Some(P256)),
            (vec![P256, Rsa], rsa_schemes, Some(Rsa)),
            (vec![P256, Rsa], tls12_rsa_suites, Some(Rsa)),
            (vec![P384, Rsa], no_p384, Some(Rsa)),
            (vec![Rsa], modern, Some(Rsa)),
            (vec![P256], rsa_schemes, Some(P256)),
            (vec![], modern, None),
        ];
        for (kinds, offer, expected) in table {
            assert_eq!(chosen(&kinds, policy(), offer), expected, "{kinds:?} {offer:?}");
        }
        // A client of TLS 1.3 whose 1.2 suites are RSA's alone, at a hostname where 1.3 is off.
        let offer = Offer { tls12_ecdsa: false, ..modern };
        let tls12_only = TlsPolicy { tls13: false, ..policy() };
        assert_eq!(chosen(&[P256, Rsa], tls12_only, offer), Some(Rsa));
        assert_eq!(chosen(&[P256, Rsa], policy(), offer), Some(P256));
    }
}
