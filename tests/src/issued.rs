use landfall_feed::seal::sha256;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_RSA_SHA256,
    RsaKeySize,
};
use x509_parser::der_parser::parse_der;

/// A certificate and its private key, as an upload or a record would carry them.
pub struct Issued {
    /// DER
    pub leaf: Vec<u8>,
    key: KeyPair,
}

impl Issued {
    /// A self-signed P-256 certificate for `name`.
    ///
    /// # Panics
    /// Where `name` is no name.
    pub fn new(name: &str) -> Self {
        Self::with(name, KeyPair::generate().unwrap(), |_| {})
    }

    /// A self-signed certificate for `name` with an RSA key of 2,048 bits.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn rsa(name: &str) -> Self {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048);
        Self::with(name, key.unwrap(), |_| {})
    }

    /// A self-signed certificate for `name` with this private key (PEM).
    ///
    /// # Panics
    /// As [`Self::new`], and where it is no private key.
    pub fn with_key_pem(name: &str, key: &str) -> Self {
        Self::with(name, KeyPair::from_pem(key).unwrap(), |_| {})
    }

    /// A P-256 certificate for `name` by a CA that nobody hears of again.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn by_a_ca(name: &str) -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "scripted CA");
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        Self { leaf: params.signed_by(&key, &authority).unwrap().der().to_vec(), key }
    }

    /// A certificate for `name` that ended in the year 2000.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn expired(name: &str) -> Self {
        Self::with(name, KeyPair::generate().unwrap(), |params| {
            params.not_before = rcgen::date_time_ymd(1999, 1, 1);
            params.not_after = rcgen::date_time_ymd(2000, 1, 1);
        })
    }

    fn with(name: &str, key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        Self { leaf: params.self_signed(&key).unwrap().der().to_vec(), key }
    }

    /// The certificate of this one with the private key of `other`.
    #[must_use]
    pub fn with_key_of(self, other: Self) -> Self {
        Self { leaf: self.leaf, key: other.key }
    }

    /// The certificate as PEM.
    pub fn certificate_pem(&self) -> String {
        let text = data_encoding::BASE64.encode(&self.leaf);
        let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }

    /// The private key as PEM (PKCS#8).
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The private key as DER (PKCS#8).
    pub fn key_der(&self) -> &[u8] {
        self.key.serialized_der()
    }

    /// The numbers of the private key that nobody else may know: of an ECDSA key its scalar (RFC
    /// 5915), of an RSA key `d`, `p`, `q` and what follows from them (RFC 8017 appendix A.1.2).
    ///
    /// # Panics
    /// Never: the key was made here.
    pub fn secret_numbers(&self) -> Vec<Vec<u8>> {
        let (_, pkcs8) = parse_der(self.key_der()).unwrap();
        let inner = pkcs8.as_sequence().unwrap()[2].as_slice().unwrap();
        let (_, key) = parse_der(inner).unwrap();
        let fields = key.as_sequence().unwrap();
        let secret = if self.key.algorithm() == &PKCS_RSA_SHA256 { 3..9 } else { 1..2 };
        fields[secret].iter().map(|field| field.as_slice().unwrap().to_vec()).collect()
    }

    /// What `openssl x509 -fingerprint -sha256` prints.
    pub fn fingerprint(&self) -> String {
        let pairs: Vec<_> = sha256(&self.leaf).iter().map(|byte| format!("{byte:02X}")).collect();
        pairs.join(":")
    }
}
