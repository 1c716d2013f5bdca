//! The certificate that a client showed, and its subject as a text that fits into a header.

use data_encoding::HEXUPPER;
use rustls::pki_types::CertificateDer;
use x509_parser::{
    asn1_rs::{Oid, ToDer, oid},
    certificate::X509Certificate,
    prelude::FromDer,
    x509::{AttributeTypeAndValue, RelativeDistinguishedName, X509Name},
};

/// The largest certificate of a client, in bytes. It travels to the origin with each request.
const MAX_LEN: usize = 8 * 1024;

/// The short names of RFC 4514 section 3, and two more that certificates have in practice.
const SHORT_NAMES: [(Oid<'static>, &str); 11] = [
    (oid!(2.5.4.3), "CN"),
    (oid!(2.5.4.7), "L"),
    (oid!(2.5.4.8), "ST"),
    (oid!(2.5.4.10), "O"),
    (oid!(2.5.4.11), "OU"),
    (oid!(2.5.4.6), "C"),
    (oid!(2.5.4.9), "STREET"),
    (oid!(0.9.2342.19200300.100.1.25), "DC"),
    (oid!(0.9.2342.19200300.100.1.1), "UID"),
    (oid!(2.5.4.5), "serialNumber"),
    (oid!(1.2.840.113549.1.9.1), "emailAddress"),
];

/// A client's certificate, verified with the roots of the connection's hostname.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    der: CertificateDer<'static>,
    subject: String,
}

/// Why a client's certificate is not taken, though its chain is in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientCertificateError {
    /// Too large to be passed on.
    #[error("the client's certificate has {0} bytes, {MAX_LEN} are allowed")]
    TooLarge(usize),
    /// Not X.509 that can be read.
    #[error("the client's certificate can't be parsed as X.509")]
    Unparsable,
    /// It expired, maybe since the session that is resumed began.
    #[error("the client's certificate expired {0} s ago")]
    Expired(i64),
}

impl ClientCertificate {
    /// Reads a verified certificate. `now` is in seconds since 1970: a session that is resumed
    /// was verified when it began.
    ///
    /// # Errors
    /// Every [`ClientCertificateError`].
    pub fn read(der: &CertificateDer<'_>, now: i64) -> Result<Self, ClientCertificateError> {
        if der.len() > MAX_LEN {
            return Err(ClientCertificateError::TooLarge(der.len()));
        }
        let parsed = X509Certificate::from_der(der);
        let (_, parsed) = parsed.map_err(|_| ClientCertificateError::Unparsable)?;
        let not_after = parsed.validity().not_after.timestamp();
        if not_after < now {
            return Err(ClientCertificateError::Expired(now - not_after));
        }
        let subject = rfc4514(parsed.subject()).ok_or(ClientCertificateError::Unparsable)?;
        Ok(Self { der: der.clone().into_owned(), subject })
    }

    /// The certificate itself, as DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The subject's distinguished name (RFC 4514), visible ASCII and spaces alone: everything
    /// else is escaped. Empty where the certificate has none.
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

/// RFC 4514 section 2: the last relative name first.
fn rfc4514(name: &X509Name<'_>) -> Option<String> {
    let names: Vec<&RelativeDistinguishedName<'_>> = name.iter_rdn().collect();
    let names = names.into_iter().rev().map(relative_name);
    Some(names.collect::<Option<Vec<_>>>()?.join(","))
}

fn relative_name(name: &RelativeDistinguishedName<'_>) -> Option<String> {
    Some(name.iter().map(attribute).collect::<Option<Vec<_>>>()?.join("+"))
}

/// A type without a short name, and a value that is no text, are told by their encoding.
fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let short = SHORT_NAMES.iter().find(|(oid, _)| oid == attribute.attr_type()).map(|own| own.1);
    if let (Some(name), Ok(text)) = (short, attribute.as_str()) {
        return Some(format!("{name}={}", escaped(text)));
    }
    let value = attribute.attr_value().to_der_vec().ok()?;
    let name = short.map_or_else(|| attribute.attr_type().to_id_string(), str::to_owned);
    Some(format!("{name}=#{}", HEXUPPER.encode(&value)))
}

/// RFC 4514 section 2.4; of the bytes that it leaves open, those that are not visible are
/// escaped too.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (index, byte) in value.bytes().enumerate() {
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' ' if index == 0 || index == last => text.push_str("\\ "),
            b'#' if index == 0 => text.push_str("\\#"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                text.push('\\');
                text.push_str(&HEXUPPER.encode(&[byte]));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(names: Vec<(DnType, DnValue)>) -> CertificateDer<'static> {
        let mut subject = DistinguishedName::new();
        for (kind, value) in names {
            subject.push(kind, value);
        }
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = subject;
        params.not_after = date_time_ymd(2030, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn utf8(text: &str) -> DnValue {
        DnValue::Utf8String(text.to_owned())
    }

    #[test]
    fn a_subject_is_written_as_the_rfc_says_and_fits_into_a_header() {
        use DnType::{CommonName, CountryName, CustomDnType, OrganizationName};
        let custom = || CustomDnType(vec![1, 3, 6, 1, 4, 1, 1466, 0]);
        let email = || CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
        let table = [
            (vec![], ""),
            (vec![(CommonName, utf8("device 7"))], "CN=device 7"),
            (
                vec![
                    (CountryName, utf8("DE")),
                    (OrganizationName, utf8("Sue, Grabbit and Runn")),
                    (CommonName, utf8("L. Eagle")),
                ],
                "CN=L. Eagle,O=Sue\\, Grabbit and Runn,C=DE",
            ),
            (vec![(CommonName, utf8("Before\rAfter"))], "CN=Before\\0DAfter"),
            (vec![(CommonName, utf8("Lučić"))], "CN=Lu\\C4\\8Di\\C4\\87"),
            (vec![(CommonName, utf8(" #a=b\" "))], "CN=\\ #a=b\\\"\\ "),
            (vec![(CommonName, utf8("#x;<y>+\\"))], "CN=\\#x\\;\\<y\\>\\+\\\\"),
            (vec![(CommonName, utf8("a\0b\r\nX-Admin: 1"))], "CN=a\\00b\\0D\\0AX-Admin: 1"),
            (vec![(email(), utf8("a@b.example"))], "emailAddress=a@b.example"),
            (vec![(custom(), utf8("Hi"))], "1.3.6.1.4.1.1466.0=#0C024869"),
        ];
        for (names, expected) in table {
            let read = ClientCertificate::read(&certificate(names), 0).unwrap();
            assert_eq!(read.subject(), expected);
            assert!(read.subject().bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        }
    }

    #[test]
    fn refuses_a_certificate_that_expired_since_it_was_verified() {
        let der = certificate(vec![]);
        let end_of_2029 = 1_893_456_000;
        assert!(ClientCertificate::read(&der, end_of_2029).is_ok());
        let refused = ClientCertificate::read(&der, end_of_2029 + 2).unwrap_err();
        assert_eq!(refused, ClientCertificateError::Expired(2));
        let garbage = CertificateDer::from(vec![0x30, 0x00]);
        let refused = ClientCertificate::read(&garbage, 0).unwrap_err();
        assert_eq!(refused, ClientCertificateError::Unparsable);
        let large = CertificateDer::from(vec![0; MAX_LEN + 1]);
        let refused = ClientCertificate::read(&large, 0).unwrap_err();
        assert_eq!(refused, ClientCertificateError::TooLarge(MAX_LEN + 1));
    }
}
