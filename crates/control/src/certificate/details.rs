//! What a certificate says of itself, for its owner.

use landfall_model::HostPattern;
use x509_parser::{
    asn1_rs::{Oid, oid},
    prelude::{FromDer, X509Certificate},
};

use super::chain;

/// The longest form of a distinguished name, in bytes. Whoever made the certificate wrote it.
const MAX_NAME: usize = 512;
/// The most names that are shown.
const MAX_NAMES: usize = 100;

/// What a certificate says of itself, read from its DER.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CertificateDetails {
    /// Who signed it, as in `C=US, O=Let's Encrypt, CN=R3`.
    pub(crate) issuer: String,
    /// The issuer's organisation, or else its common name.
    pub(crate) issuer_name: Option<String>,
    /// Whom it is for, in the same form; empty where its names alone say it.
    pub(crate) subject: String,
    /// The serial number in decimal.
    pub(crate) serial_decimal: String,
    /// The serial number in upper-case hexadecimal, as `openssl x509 -serial` has it.
    pub(crate) serial_hex: String,
    /// The first hundred of its DNS names (RFC 5280 section 4.2.1.6).
    pub(crate) names: Vec<HostPattern>,
    /// The length of its key, in bits.
    pub(crate) key_bits: usize,
    /// How it is signed, as in `SHA256WithRSA`.
    pub(crate) signature: String,
}

impl CertificateDetails {
    /// Reads the first certificate of a chain whose certificates' DER stand one after the other.
    /// `None` where there is none.
    pub(crate) fn read(chain: &[u8]) -> Option<Self> {
        let (_, leaf) = X509Certificate::from_der(chain).ok()?;
        let issuer = leaf.issuer();
        let organization = issuer.iter_organization().next();
        let name = organization.or_else(|| issuer.iter_common_name().next());
        Some(Self {
            issuer: bounded(issuer.to_string()),
            issuer_name: name.and_then(|name| name.as_str().ok()).map(|text| bounded(text.into())),
            subject: bounded(leaf.subject().to_string()),
            serial_decimal: leaf.serial.to_string(),
            serial_hex: data_encoding::HEXUPPER.encode(&leaf.serial.to_bytes_be()),
            names: chain::dns_names(&leaf).into_iter().take(MAX_NAMES).collect(),
            key_bits: chain::key_bits(&leaf),
            signature: signature(leaf.signature_algorithm.oid()),
        })
    }
}

fn bounded(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_NAME));
    text
}

/// The usual algorithms by name, others by their number (RFC 8017 appendix C, RFC 5758 section 3.2).
fn signature(oid: &Oid<'_>) -> String {
    let known: [(Oid<'_>, &str); 7] = [
        (oid!(1.2.840.113549.1.1.11), "SHA256WithRSA"),
        (oid!(1.2.840.113549.1.1.12), "SHA384WithRSA"),
        (oid!(1.2.840.113549.1.1.13), "SHA512WithRSA"),
        (oid!(1.2.840.113549.1.1.10), "RSASSA-PSS"),
        (oid!(1.2.840.10045.4.3.2), "ECDSAWithSHA256"),
        (oid!(1.2.840.10045.4.3.3), "ECDSAWithSHA384"),
        (oid!(1.2.840.10045.4.3.4), "ECDSAWithSHA512"),
    ];
    let name = known.iter().find(|(own, _)| own == oid).map(|(_, name)| (*name).to_owned());
    name.unwrap_or_else(|| oid.to_id_string())
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

    use super::*;

    #[test]
    fn says_who_signed_it_for_whom_and_how() {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::OrganizationName, "Example Trust");
        params.distinguished_name.push(DnType::CommonName, "E7");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let names = ["www.customer.test".to_owned(), "*.customer.test".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.serial_number = Some(vec![0x0a, 0xff].into());
        let leaf = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();

        let details = CertificateDetails::read(leaf.der()).unwrap();

        assert!(details.issuer.contains("O=Example Trust") && details.issuer.contains("CN=E7"));
        assert_eq!(details.issuer_name.as_deref(), Some("Example Trust"));
        assert_eq!(details.subject, "");
        let names: Vec<String> = details.names.iter().map(HostPattern::to_string).collect();
        assert_eq!(names, ["www.customer.test", "*.customer.test"]);
        assert_eq!(
            (details.serial_decimal.as_str(), details.serial_hex.as_str()),
            ("2815", "0AFF")
        );
        assert_eq!((details.key_bits, details.signature.as_str()), (256, "ECDSAWithSHA256"));
        assert_eq!(CertificateDetails::read(b"none"), None);
    }
}
