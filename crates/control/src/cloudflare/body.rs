//! Bodies of requests as they are sent: nothing is checked but types, and unknown fields are ignored.

use std::collections::BTreeMap;

use axum::extract::Request;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use super::failure::Failure;
use crate::api::{
    body::{SecretText, read_json_bytes, refuse_private_keys},
    json::pointer_of,
};

/// The fields that a private key may be in. Of a certificate's PEM nothing but certificates is kept.
const FOR_KEYS: &[&str] = &["custom_key", "custom_certificate"];

/// What creates a custom hostname, or changes one.
#[derive(Deserialize)]
pub(super) struct HostnameBody {
    /// At its creation alone.
    pub(super) hostname: Option<String>,
    #[serde(default)]
    pub(super) custom_metadata: Given<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) custom_origin_server: Given<String>,
    #[serde(default)]
    pub(super) custom_origin_sni: Given<String>,
    pub(super) ssl: Option<SslBody>,
}

/// What is said of a hostname's certificate and TLS.
#[derive(Default, Deserialize)]
pub(super) struct SslBody {
    pub(super) bundle_method: Option<String>,
    pub(super) certificate_authority: Option<String>,
    pub(super) cloudflare_branding: Option<bool>,
    pub(super) custom_cert_bundle: Option<Vec<PairBody>>,
    pub(super) custom_certificate: Option<String>,
    pub(super) custom_csr_id: Option<String>,
    pub(super) custom_key: Option<SecretText>,
    pub(super) method: Option<String>,
    pub(super) settings: Option<SettingsBody>,
    #[serde(rename = "type")]
    pub(super) validation: Option<String>,
    pub(super) wildcard: Option<bool>,
}

/// A certificate and its private key, both PEM.
#[derive(Deserialize)]
pub(super) struct PairBody {
    pub(super) custom_certificate: Option<String>,
    pub(super) custom_key: Option<SecretText>,
}

/// Which TLS is offered.
#[derive(Default, Deserialize)]
pub(super) struct SettingsBody {
    pub(super) ciphers: Option<Vec<String>>,
    pub(super) early_hints: Option<String>,
    pub(super) http2: Option<String>,
    pub(super) min_tls_version: Option<String>,
    pub(super) tls_1_3: Option<String>,
}

/// What replaces a property's origins.
#[derive(Deserialize)]
pub(super) struct FallbackOriginBody {
    pub(super) origin: Option<String>,
}

/// A field that may be left as it is, reset, or set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Given<T> {
    /// Nothing is said of it.
    #[default]
    Absent,
    /// `null`
    Null,
    /// This.
    Value(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}

/// Reads a JSON body of at most `limit` bytes. It may hold a private key, so an error says where it
/// is wrong and quotes nothing.
pub(super) async fn read<T: DeserializeOwned>(
    request: Request,
    limit: usize,
) -> Result<T, Failure> {
    parse(&read_json_bytes(request, limit).await?)
}

/// The same of a body that was read already.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    refuse_private_keys(bytes, FOR_KEYS)?;
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let body = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let pointer = pointer_of(error.path());
        match error.inner().classify() {
            serde_json::error::Category::Data => mistyped(&pointer),
            serde_json::error::Category::Io
            | serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof => undecodable(),
        }
    })?;
    json.end().map_err(|_| undecodable())?;
    Ok(body)
}

fn undecodable() -> Failure {
    let message = "Unable to decode the JSON request body. Check your input and try again.";
    Failure::invalid(1400, message)
}

fn mistyped(pointer: &str) -> Failure {
    if pointer.starts_with("/custom_metadata") {
        let message = "Unable to encode the Custom Metadata as JSON: expected texts as values.";
        return Failure::at(1401, pointer, message);
    }
    let field = pointer.trim_start_matches('/').replace('/', ".");
    let field = if field.is_empty() { "the whole" } else { &field };
    let message = format!("Unable to decode the JSON request body: {field} is of another type.");
    Failure::at(1400, pointer, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_of_another_type_is_pointed_at() {
        let table = [
            (r#"[]"#, ""),
            (r#"{"custom_metadata": {"a/b": {"~": 1}}}"#, "/custom_metadata/a~1b"),
            (r#"{"custom_metadata": {"": 1}}"#, "/custom_metadata/"),
            (r#"{"ssl": {"settings": {"ciphers": ["x", 1]}}}"#, "/ssl/settings/ciphers/1"),
            (
                r#"{"ssl": {"custom_cert_bundle": [{"custom_key": 1}]}}"#,
                "/ssl/custom_cert_bundle/0/custom_key",
            ),
        ];
        for (body, pointer) in table {
            let failure = parse::<HostnameBody>(body.as_bytes()).map(drop).unwrap_err();
            let shown = failure.shown();
            assert_eq!(shown["source"], json!({"pointer": pointer}), "{body}");
        }
    }
}
