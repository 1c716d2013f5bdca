//! What is said of a hostname's certificate and TLS, read and applied.

use std::str::FromStr;

use landfall_model::{AuthorityName, CipherSuite, TlsVersion};

use super::{
    body::{PairBody, SettingsBody, SslBody},
    failure::Failure,
};
use crate::{
    api::body::SecretText,
    hostname::{
        HostnameSpec,
        wish::{BundleMethod, Coverage, ValidationMethod},
    },
    service::Upload,
    settings::SettingsError,
};

/// What is to become of a hostname's certificate and TLS. What it doesn't name stays.
#[derive(Default)]
pub(super) struct SslEdit {
    pub(super) method: Option<ValidationMethod>,
    authority: Option<AuthorityName>,
    coverage: Option<Coverage>,
    bundle: Option<BundleMethod>,
    /// Which request an upload was made from, if its owner says so.
    csr_id: Option<Option<String>>,
    min_version: Option<TlsVersion>,
    tls13: Option<bool>,
    http2: Option<bool>,
    ciphers: Option<Vec<CipherSuite>>,
    /// Certificates that come with their keys.
    pub(super) uploads: Vec<Upload>,
}

impl SslBody {
    /// Checks that a new hostname's validation is named whole or not at all. One that brings its
    /// certificate needs none.
    pub(super) fn check_validation(&self) -> Result<(), Failure> {
        let brings = self.custom_certificate.is_some() || self.custom_cert_bundle.is_some();
        match self.method.is_some() == self.validation.is_some() || brings {
            true => Ok(()),
            false => {
                let message = "Both validation type and validation method are required: expected \
                               `ssl.type` and `ssl.method`. Check your input and try again.";
                Err(Failure::field(1440, "ssl", message))
            }
        }
    }
}

impl SslEdit {
    /// Reads what is said, and refuses what can't be honoured.
    pub(super) fn read(body: SslBody) -> Result<Self, Failure> {
        if body.cloudflare_branding == Some(true) {
            let message = "Certificates are issued for the hostname's own names alone: \
                           `cloudflare_branding` can be false.";
            return Err(Failure::field(1434, "ssl.cloudflare_branding", message));
        }
        if body.validation.as_deref().is_some_and(|validation| validation != "dv") {
            let message = "The validation type is not supported. Only 'dv' is accepted.";
            return Err(Failure::field(1433, "ssl.type", message));
        }
        let mut edit = Self {
            method: body.method.as_deref().map(method).transpose()?,
            authority: body.certificate_authority.as_deref().map(authority).transpose()?,
            coverage: body.wildcard.map(coverage),
            bundle: body.bundle_method.as_deref().map(bundle).transpose()?,
            ..Self::default()
        };
        edit.read_settings(body.settings.unwrap_or_default())?;
        edit.uploads = uploads(body.custom_certificate, body.custom_key, body.custom_cert_bundle)?;
        let csr_id = csr_id(body.custom_csr_id, &edit.uploads)?;
        edit.csr_id = (!edit.uploads.is_empty()).then_some(csr_id);
        Ok(edit)
    }

    fn read_settings(&mut self, settings: SettingsBody) -> Result<(), Failure> {
        self.http2 = switch(1422, "ssl.settings.http2", settings.http2)?;
        self.tls13 = switch(1424, "ssl.settings.tls_1_3", settings.tls_1_3)?;
        if switch(1434, "ssl.settings.early_hints", settings.early_hints)? == Some(true) {
            let message = "Early Hints (RFC 8297) are not sent: `early_hints` can be 'off'.";
            return Err(Failure::field(1434, "ssl.settings.early_hints", message));
        }
        self.min_version = settings.min_tls_version.as_deref().map(min_version).transpose()?;
        let read = |names: Vec<String>| names.iter().map(|name| cipher(name)).collect();
        self.ciphers = settings.ciphers.map(read).transpose()?;
        let older = |suite: &CipherSuite| suite.version() == TlsVersion::Tls12;
        let names_older = self.ciphers.iter().flatten().any(older);
        match names_older && self.min_version == Some(TlsVersion::Tls13) {
            false => Ok(()),
            true => {
                let message = "Cipher suite selection of TLS 1.2 is not supported for a minimum \
                               TLS version of 1.3.";
                Err(Failure::field(1443, "ssl.settings.ciphers", message))
            }
        }
    }

    /// Sets what is named.
    pub(super) fn apply(&self, spec: &mut HostnameSpec) -> Result<(), SettingsError> {
        set(&mut spec.wish.method, self.method);
        if self.authority.is_some() {
            spec.wish.authority.clone_from(&self.authority);
        }
        set(&mut spec.wish.coverage, self.coverage);
        set(&mut spec.wish.labels.bundle, self.bundle);
        if let Some(csr_id) = &self.csr_id {
            spec.wish.labels.csr_id.clone_from(csr_id);
        }
        set(&mut spec.tls.min_version, self.min_version);
        set(&mut spec.tls.tls13, self.tls13);
        set(&mut spec.tls.http2, self.http2);
        set(&mut spec.tls.ciphers, self.ciphers.clone());
        spec.tls = spec.tls.clone().checked()?;
        Ok(())
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn method(text: &str) -> Result<ValidationMethod, Failure> {
    let refused = |message: &str| Err(Failure::field(1432, "ssl.method", message));
    match text {
        "http" => Ok(ValidationMethod::Http),
        "txt" => Ok(ValidationMethod::Txt),
        "email" => refused(
            "The validation method is not supported: no certificate authority here validates by \
             `email`. Only `http` or `txt` are accepted.",
        ),
        _ => refused("The validation method is not supported. Only `http` or `txt` are accepted."),
    }
}

/// The CAs that Cloudflare's API names. Its clients know no others.
const OFFICIAL: [&str; 4] = ["digicert", "google", "lets_encrypt", "ssl_com"];

/// Reads a CA's name. Whether the operator has configured it is checked with everything else.
pub(super) fn authority(text: &str) -> Result<AuthorityName, Failure> {
    let named = OFFICIAL.contains(&text).then(|| text.parse().ok()).flatten();
    named.ok_or_else(|| {
        let message = format!(
            "The certificate authority must be one of: {}. Another one that the operator has \
             configured is chosen by the native API, as a hostname's `managedCertificate.authority` or \
             a property's `certificateAuthority`.",
            OFFICIAL.join(", ")
        );
        Failure::field(1434, "ssl.certificate_authority", message)
    })
}

/// A CA as Cloudflare's API names it, if it does.
pub(super) fn official(authority: &AuthorityName) -> Option<&'static str> {
    OFFICIAL.into_iter().find(|own| *own == authority.as_str())
}

/// Reads which names a certificate is for.
fn coverage(wildcard: bool) -> Coverage {
    match wildcard {
        true => Coverage::NameAndWildcard,
        false => Coverage::Name,
    }
}

fn bundle(text: &str) -> Result<BundleMethod, Failure> {
    match text {
        "ubiquitous" => Ok(BundleMethod::Ubiquitous),
        "optimal" => Ok(BundleMethod::Optimal),
        "force" => Ok(BundleMethod::Force),
        _ => {
            let message =
                "The request input `bundle_method` must be one of: ubiquitous, optimal, force.";
            Err(Failure::field(1449, "ssl.bundle_method", message))
        }
    }
}

fn switch(code: u16, field: &str, text: Option<String>) -> Result<Option<bool>, Failure> {
    match text.as_deref() {
        None => Ok(None),
        Some("on") => Ok(Some(true)),
        Some("off") => Ok(Some(false)),
        Some(_) => {
            let message = format!("Invalid `{field}`. Only 'on' or 'off' is accepted.");
            Err(Failure::field(code, field, message))
        }
    }
}

fn min_version(text: &str) -> Result<TlsVersion, Failure> {
    let refused = |message| Err(Failure::field(1425, "ssl.settings.min_tls_version", message));
    match text {
        "1.2" => Ok(TlsVersion::Tls12),
        "1.3" => Ok(TlsVersion::Tls13),
        "1.0" | "1.1" => refused(
            "TLS 1.0 and 1.1 are not offered (RFC 8996): `min_tls_version` can be '1.2' or '1.3'.",
        ),
        _ => refused("Invalid `min_tls_version` setting. Only '1.2' or '1.3' is accepted."),
    }
}

fn cipher(name: &str) -> Result<CipherSuite, Failure> {
    CipherSuite::from_str(name).map_err(|error| {
        let message = format!("Invalid `ciphers` setting: {error}.");
        Failure::field(1442, "ssl.settings.ciphers", message)
    })
}

/// The certificates that a request brings, each with its key.
fn uploads(
    certificate: Option<String>,
    key: Option<SecretText>,
    bundle: Option<Vec<PairBody>>,
) -> Result<Vec<Upload>, Failure> {
    let alone = certificate.is_some() || key.is_some();
    let pairs = match bundle {
        None if alone => {
            vec![PairBody { custom_certificate: certificate, custom_key: key }]
        }
        None => return Ok(Vec::new()),
        Some(pairs) if !alone && (1..=2).contains(&pairs.len()) => pairs,
        Some(_) => {
            let message = "`custom_cert_bundle` has 1 or 2 pairs, and takes the place of \
                           `custom_certificate` and `custom_key`.";
            return Err(Failure::field(1434, "ssl.custom_cert_bundle", message));
        }
    };
    pairs.into_iter().map(upload).collect()
}

fn upload(pair: PairBody) -> Result<Upload, Failure> {
    let certificate = pair.custom_certificate.filter(|text| !text.is_empty()).ok_or_else(|| {
        let message = "The certificate that you uploaded is empty: a `custom_key` belongs to a \
                       `custom_certificate`.";
        Failure::field(1427, "ssl.custom_certificate", message)
    })?;
    let SecretText(private_key) = pair.custom_key.ok_or_else(|| {
        let message = "A `custom_certificate` needs its `custom_key`: no private key is kept here \
                       for a CSR.";
        Failure::field(1428, "ssl.custom_key", message)
    })?;
    Ok(Upload { certificate, private_key, within: "" })
}

/// The CSR's id: a note on an upload, which must bring its key, for none was made here.
fn csr_id(id: Option<String>, uploads: &[Upload]) -> Result<Option<String>, Failure> {
    let Some(id) = id.filter(|id| !id.is_empty()) else {
        return Ok(None);
    };
    if uuid::Uuid::try_parse(&id).is_err() {
        let message = "The custom CSR ID is invalid: expected a UUID.";
        return Err(Failure::field(1430, "ssl.custom_csr_id", message));
    }
    match uploads.is_empty() {
        false => Ok(Some(id)),
        true => {
            let message = "The custom CSR was not found: none are made here. `custom_csr_id` is \
                           kept with a `custom_certificate` that comes with its `custom_key`.";
            Err(Failure::field(1430, "ssl.custom_csr_id", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_is_read_and_shown_by_the_names_that_cloudflares_clients_know() {
        for name in OFFICIAL {
            let read = authority(name).unwrap();
            assert_eq!(official(&read), Some(name));
        }
        let own: AuthorityName = "own".parse().unwrap();
        assert_eq!(official(&own), None);
        let refused = authority("own").unwrap_err().shown();
        assert_eq!(refused["source"]["pointer"], "/ssl/certificate_authority");
        assert!(refused["message"].as_str().unwrap().contains("managedCertificate.authority"));
    }
}
