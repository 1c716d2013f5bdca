//! How values look in the API's document (OpenAPI 3.1).
//!
//! Types that are read and shown derive `utoipa::ToSchema` beside `Serialize` and `Deserialize`, so
//! that document and parser are one. Types of other crates stand here: a field names its form with
//! `#[schema(value_type = Option<schema::OriginUrl>)]`. The words of an enum are asked of the code
//! that reads it. A pattern may admit what the parser refuses, never the other way round.

mod variants;

use std::borrow::Cow;

use landfall_dns::{AddressKind, Finding, RequiredKind};
use landfall_issuance::acme::RevocationReason;
use landfall_model::{
    Balance, CipherSuite, KeyType, OriginProtocol, TlsVersion, tls::ClientAuthMode,
};
use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, RefOr,
        schema::{AdditionalProperties, Schema, Type},
    },
};

use crate::{
    api_key::Scope,
    hostname::metadata::{MAX_KEY_LEN, MAX_KEYS, MAX_LEN},
};
pub(crate) use variants::variants;

macro_rules! schemas {
    ($($(#[doc = $doc:literal])+ $name:ident = $schema:expr;)+) => {
        $(
            $(#[doc = $doc])+
            pub(crate) enum $name {}

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    let description = concat!($($doc),+).trim();
                    $schema.description(Some(description)).build().into()
                }
            }

            impl ToSchema for $name {
                fn name() -> Cow<'static, str> {
                    stringify!($name).into()
                }
            }
        )+
    };
}

schemas! {
    /// A hostname, or `*.` and one. U-labels and A-labels are taken, upper case and a dot at the end
    /// too; what is shown is in lower case, of A-labels, without the dot.
    HostnameName = text(1, 1_024).examples(["www.customer.example", "*.customer.example"]);
    /// A name of a property: one DNS label, the first of its system hostname.
    PropertyLabel = text(1, 63).pattern(Some("^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$"))
        .examples(["my-site"]);
    /// An origin: scheme, host (a DNS name or an IP address) and port, by default the scheme's.
    OriginUrl = text(8, 2_048).pattern(Some("^https?://[^/?#@]+/?$"))
        .examples(["https://origin.example:8443", "http://192.0.2.7"]);
    /// An origin as a URL, or as a bare name or address, which means https.
    OriginServer = text(1, 2_048).pattern(Some("^(https?://)?[^/?#@]+/?$"))
        .examples(["origin.example", "http://192.0.2.7:8080"]);
    /// `:request_host_header:` for the name that the client asked for, `:origin:` for the host of the
    /// origin's URL, or a hostname.
    OriginName = text(1, 1_024)
        .examples([":request_host_header:", ":origin:", "www.customer.example"]);
    /// How requests are spread: one origin after the other, or to the one with the fewest requests
    /// in flight; both by weight.
    OriginBalance = words(variants::<Balance>().iter().copied());
    /// Which HTTP origins are spoken to; `auto` is what ALPN chooses, HTTP/1.1 without TLS.
    OriginHttp = words(variants::<OriginProtocol>().iter().copied());
    /// A path, with a query if it needs one: visible ASCII.
    HealthPath = text(1, 1_024).pattern(Some(r#"^/[!-"$-~]*$"#)).examples(["/healthz"]);
    /// The start of a path, of whole segments: `/api` covers `/api` and `/api/v1`, not `/apis`.
    PathPrefix = text(1, 1_024).pattern(Some(r#"^/[!-"$->@-~]*$"#)).examples(["/api"]);
    /// A header field's name. Those of the message's framing and those that the edge sets are
    /// refused.
    FieldName = text(1, 128).pattern(Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"))
        .examples(["x-frame-options"]);
    /// A header field's value: visible ASCII, spaces and tabs between.
    FieldValue = text(0, 4_096).pattern(Some(r"^([!-~]([ \t!-~]*[!-~])?)?$")).examples(["DENY"]);
    /// The owner's own keys and values.
    OwnMetadata = ObjectBuilder::new()
        .property_names(Some(text(1, MAX_KEY_LEN).build()))
        .additional_properties(Some(AdditionalProperties::from(text(0, MAX_LEN))))
        .max_properties(Some(MAX_KEYS))
        .examples([serde_json::json!({"plan": "gold"})]);
    /// A version of TLS.
    TlsVersionNumber = words(variants::<TlsVersion>().iter().copied());
    /// A cipher suite by IANA's name or OpenSSL's. IANA's is shown.
    CipherSuiteName = words(CipherSuite::ALL.iter().flat_map(|suite| {
        [suite.name(), suite.openssl_name()]
    }));
    /// Whether a client must show a certificate, or may.
    ClientCertificate = words(variants::<ClientAuthMode>().iter().copied());
    /// The kind of a certificate's key.
    CertificateKeyType = words(variants::<KeyType>().iter().copied());
    /// Why a certificate is revoked (RFC 5280 section 5.3.1). Where its key is known to others
    /// (`keyCompromise`) it is revoked within the hour; else once another has taken its place.
    RevocationReasonName = words(RevocationReason::ALL.map(RevocationReason::name));
    /// A CA, as the operator's configuration calls it.
    AuthorityName = text(1, 63).pattern(Some("^[a-z0-9_-]+$"))
        .examples(["lets_encrypt"]);
    /// Where a certificate is from.
    CertificateSource = words(["internal", "authority", "uploaded", "inherited"]);
    /// What state a hostname's certificate is in.
    CertificateStateName = words([
        "initializing", "pending_validation", "validation_timed_out", "pending_issuance",
        "issuance_timed_out", "pending_deployment", "deployment_timed_out", "holding_deployment",
        "active", "pending_expiration", "expired", "inactive",
    ]);
    /// Where a hostname stands: 0, 1, 2 as a number.
    StatusName = words(["PendingValidation", "Active", "Error"]);
    /// Whether a property has a name, or claims one that another has.
    TitleName = words(["held", "claimed"]);
    /// The name of an API key.
    KeyName = text(1, 63).pattern(Some("^[A-Za-z0-9._-]+$")).examples(["deploy"]);
    /// What an API key may do: look; change properties, hostnames and certificates; manage keys and
    /// read the audit log. Each may do what those before it may.
    ScopeName = words(variants::<Scope>().iter().copied());
    /// Why a hostname's status is `Error`.
    StatusReason = words(["dns_not_verified", "taken_over"]);
    /// The type of a record that leads to a name.
    RecordType = words(variants::<RequiredKind>().iter().copied());
    /// The type of a record that holds an address.
    AddressRecordType = words(variants::<AddressKind>().iter().copied());
    /// An IP address.
    Address = text(2, 45).examples(["192.0.2.1", "2001:db8::1"]);
    /// What a look at a hostname's DNS came down to.
    FindingName = words(variants::<Finding>().iter().copied());
    /// The SHA-256 of a certificate's DER, in lower-case hexadecimal.
    FingerprintHex = text(64, 64).pattern(Some("^[0-9a-f]{64}$"));
    /// Certificates in PEM (RFC 7468).
    CertificatePem = text(1, 262_144)
        .examples(["-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n"]);
    /// A private key in PEM (RFC 7468): PKCS #8, PKCS #1 or SEC 1. It is sealed, and never shown.
    PrivateKeyPem = text(1, 65_536).write_only(true);
    /// An id, from 1.
    Id = ObjectBuilder::new().schema_type(Type::Integer).format(Some(
        utoipa::openapi::SchemaFormat::KnownFormat(utoipa::openapi::KnownFormat::Int64),
    )).minimum(Some(1)).examples([1]);
}

/// A text of `min` to `max` characters.
pub(crate) fn text(min: usize, max: usize) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length((min > 0).then_some(min))
        .max_length(Some(max))
}

/// One of these words.
pub(crate) fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> ObjectBuilder {
    let words: Vec<Value> = words.into_iter().map(Value::from).collect();
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_words_of_an_enum_are_those_that_its_parser_takes() {
        assert_eq!(variants::<Balance>(), ["roundRobin", "leastConnections"]);
        assert_eq!(variants::<TlsVersion>(), ["1.2", "1.3"]);
        let schema = serde_json::to_value(OriginHttp::schema()).unwrap();
        assert_eq!(schema["enum"], json!(["http1", "http2", "auto"]));
    }
}
