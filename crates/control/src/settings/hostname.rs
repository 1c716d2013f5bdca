//! What a hostname's owner sets: where its requests go, how they are treated, and which TLS.

use std::collections::BTreeSet;

use landfall_model::{
    AuthorityName, CipherSuite, ClientAuth, CustomOrigin, Der, FieldName, FieldValue, HeaderEdit,
    Hsts, HttpPolicy, KeyType, Origin, OriginName, PathPrefix, PathRoute, PropertyId, Route,
    TlsPolicy, TlsVersion, WeightedOrigin,
    tls::{ClientAuthMode, MAX_CLIENT_ROOTS},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{Fields, OriginSettings, SettingsError, changed, read};
use crate::{
    certificate::{pem, roots},
    hostname::{
        HostnameSpec, Metadata,
        wish::{CertificateLabels, CertificateWish, Coverage, ValidationMethod},
    },
    schema,
};

/// What a hostname's owner sets.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HostnameSettings {
    /// The name. Given at the creation, fixed from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::HostnameName>)]
    name: Option<String>,
    /// Takes the place of the property's origins.
    #[schema(value_type = Option<schema::OriginServer>)]
    custom_origin_server: Option<OriginServer>,
    /// The name in the TLS handshake with that origin. Default: the property's setting.
    #[schema(value_type = Option<schema::OriginName>)]
    custom_origin_sni: Option<OriginName>,
    /// Paths that have origins of their own. The longest prefix wins.
    #[schema(max_items = 32)]
    paths: Option<Vec<PathSettings>>,
    /// How requests and responses are treated.
    http: Option<HttpSettings>,
    /// Which TLS clients are offered.
    tls: Option<TlsSettings>,
    /// The owner's own keys and values: kept and shown. At most 8,192 bytes in all.
    #[schema(value_type = Option<schema::OwnMetadata>)]
    metadata: Option<Metadata>,
    /// What is asked of the managed certificate.
    managed_certificate: Option<WishSettings>,
}

/// What is asked of the managed certificate.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[schema(as = ManagedCertificate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WishSettings {
    /// How the CA is shown that the name is its owner's. Default: `http`.
    method: Option<ValidationMethod>,
    /// Which CA issues: one that the operator has configured, by the name that the configuration calls it.
    /// Default: the property's `certificateAuthority`, else the operator's choice.
    #[schema(value_type = Option<schema::AuthorityName>)]
    authority: Option<AuthorityName>,
    /// Whether it is also for everything one label below the hostname. Default: false.
    wildcard: Option<bool>,
    /// The types of key: one certificate is issued for each, and each client is served the one that it can
    /// use. Default: `["ecdsa"]`.
    #[schema(value_type = Option<Vec<schema::CertificateKeyType>>, min_items = 1, max_items = 2)]
    key_types: Option<BTreeSet<KeyType>>,
}

/// An origin as a URL, or as a bare name, which means https.
struct OriginServer(Origin);

/// Requests for a path and everything below it go to these origins.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = PathRoute)]
#[serde(deny_unknown_fields)]
struct PathSettings {
    /// Which paths.
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = schema::PathPrefix)]
    prefix: PathPrefix,
    /// Where they go.
    #[schema(min_items = 1, max_items = 32)]
    origins: Vec<OriginSettings>,
}

/// How requests and responses are treated.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[schema(as = Http)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HttpSettings {
    /// Whether plain HTTP is answered with a redirect (308) to TLS. Default: true.
    https_redirect: Option<bool>,
    /// `Strict-Transport-Security` for responses over TLS. Default: as the origin says.
    hsts: Option<HstsSettings>,
    /// What is changed in requests before an origin gets them.
    #[schema(max_items = 64)]
    request_headers: Option<Vec<HeaderSettings>>,
    /// What is changed in responses before the client gets them.
    #[schema(max_items = 64)]
    response_headers: Option<Vec<HeaderSettings>>,
    /// The largest request body in bytes; a larger one is answered 413. Default: the edge's.
    #[schema(minimum = 0)]
    max_body: Option<u64>,
    /// Whether responses that aren't compressed are: gzip, brotli or zstd. Default: false.
    compression: Option<bool>,
}

/// `Strict-Transport-Security` (RFC 6797 section 6.1).
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = Hsts)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HstsSettings {
    /// In seconds. 0 takes an earlier promise back.
    #[schema(minimum = 0)]
    max_age: u32,
    /// Whether it holds for names below this one too. Default: false.
    include_subdomains: Option<bool>,
    /// Whether browsers may build it in; needs `includeSubdomains` and a year. Default: false.
    preload: Option<bool>,
}

/// A change of a header: the field is set to the value, or removed where there is none.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = HeaderEdit)]
#[serde(deny_unknown_fields)]
struct HeaderSettings {
    /// Which field.
    #[schema(value_type = schema::FieldName)]
    name: FieldName,
    /// What it is set to. Without one the field is removed.
    #[schema(value_type = Option<schema::FieldValue>)]
    value: Option<FieldValue>,
}

/// Which TLS clients are offered.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[schema(as = Tls)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TlsSettings {
    /// The lowest version that is accepted. Default: 1.2.
    #[schema(value_type = Option<schema::TlsVersionNumber>)]
    min_version: Option<TlsVersion>,
    /// Whether TLS 1.3 is offered. Default: true.
    tls13: Option<bool>,
    /// Whether HTTP/2 is offered. Default: true.
    http2: Option<bool>,
    /// The cipher suites that are accepted. A version of which it names none keeps all of its own.
    /// Default: every suite.
    #[schema(value_type = Option<Vec<schema::CipherSuiteName>>)]
    ciphers: Option<Vec<CipherSuite>>,
    /// Whether clients show a certificate. Default: they are not asked.
    client_auth: Option<ClientAuthSettings>,
}

/// Which client certificates are taken.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = ClientAuth)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ClientAuthSettings {
    /// Whether a client must have one.
    #[schema(value_type = schema::ClientCertificate)]
    mode: ClientAuthMode,
    /// The roots that they are verified with, 1 to 16.
    #[schema(value_type = schema::CertificatePem)]
    ca: String,
}

impl HostnameSettings {
    /// Reads a new hostname's name and what its owner sets.
    pub(crate) fn create(
        fields: Fields,
        property: PropertyId,
        now: OffsetDateTime,
    ) -> Result<(String, HostnameSpec), SettingsError> {
        let mut settings: Self = read(fields)?;
        let name = settings.name.take().ok_or(SettingsError::Missing("name"))?;
        Ok((name, settings.checked(property, &[], now)?))
    }

    /// Reads what `patch` makes of `current`.
    pub(crate) fn change(
        current: &HostnameSpec,
        mut patch: Fields,
        now: OffsetDateTime,
    ) -> Result<HostnameSpec, SettingsError> {
        const SERVER: &str = "customOriginServer";
        const SNI: &str = "customOriginSni";
        if patch.get(SERVER).is_some_and(Value::is_null) && !patch.contains_key(SNI) {
            // The name for a server goes with it.
            patch.insert(SNI.to_owned(), Value::Null);
        }
        let settings = changed(&Self::of(current), patch)?;
        if settings.name.is_some() {
            return Err(SettingsError::Fixed("name"));
        }
        let kept = current.tls.client_auth.as_ref().map_or(&[][..], |auth| &auth.ca);
        let mut spec = settings.checked(current.route.property, kept, now)?;
        spec.wish.labels = current.wish.labels.clone();
        Ok(spec)
    }

    /// The settings that make these.
    pub(crate) fn of(spec: &HostnameSpec) -> Self {
        let HostnameSpec { route, tls, metadata, wish } = spec;
        let server = route.custom_origin.as_ref();
        Self {
            name: None,
            custom_origin_server: server.map(|own| OriginServer(own.server.clone())),
            custom_origin_sni: server.and_then(|own| own.sni.clone()),
            paths: Some(route.paths.iter().map(PathSettings::from).collect()),
            http: Some((&route.http).into()),
            tls: Some(tls.into()),
            metadata: Some(metadata.clone()),
            managed_certificate: Some(WishSettings {
                method: Some(wish.method),
                authority: wish.authority.clone(),
                wildcard: Some(wish.coverage == Coverage::NameAndWildcard),
                key_types: Some(wish.key_types.clone()),
            }),
        }
    }

    fn checked(
        self,
        property: PropertyId,
        kept: &[Der],
        now: OffsetDateTime,
    ) -> Result<HostnameSpec, SettingsError> {
        let custom_origin = match (self.custom_origin_server, self.custom_origin_sni) {
            (Some(OriginServer(server)), sni) => Some(CustomOrigin { server, sni }),
            (None, Some(_)) => return Err(SettingsError::SniAlone),
            (None, None) => None,
        };
        let paths = self.paths.unwrap_or_default().into_iter().map(PathRoute::from).collect();
        let http = HttpPolicy::from(self.http.unwrap_or_default());
        let route = Route { property, custom_origin, paths, http }.checked()?;
        let tls = self.tls.unwrap_or_default().policy(kept, now)?;
        let metadata = self.metadata.unwrap_or_default().checked()?;
        let wish = self.managed_certificate.unwrap_or_default().wish()?;
        Ok(HostnameSpec { route, tls, metadata, wish })
    }
}

impl WishSettings {
    fn wish(self) -> Result<CertificateWish, SettingsError> {
        let default = CertificateWish::default();
        let key_types = self.key_types.unwrap_or(default.key_types);
        if key_types.is_empty() {
            return Err(SettingsError::NoKeyType);
        }
        Ok(CertificateWish {
            method: self.method.unwrap_or_default(),
            authority: self.authority,
            coverage: match self.wildcard {
                Some(true) => Coverage::NameAndWildcard,
                Some(false) | None => Coverage::Name,
            },
            key_types,
            labels: CertificateLabels::default(),
        })
    }
}

impl TlsSettings {
    fn policy(self, kept: &[Der], now: OffsetDateTime) -> Result<TlsPolicy, SettingsError> {
        let default = TlsPolicy::default();
        let read_auth = |auth: ClientAuthSettings| {
            let ca = roots::read(&auth.ca, MAX_CLIENT_ROOTS, kept, now);
            Ok(ClientAuth { mode: auth.mode, ca: ca? })
        };
        let client_auth = self.client_auth.map(read_auth).transpose();
        let policy = TlsPolicy {
            min_version: self.min_version.unwrap_or(default.min_version),
            tls13: self.tls13.unwrap_or(default.tls13),
            http2: self.http2.unwrap_or(default.http2),
            ciphers: self.ciphers.unwrap_or_default(),
            client_auth: client_auth
                .map_err(|source| SettingsError::Roots { field: "tls.clientAuth.ca", source })?,
        };
        Ok(policy.checked()?)
    }
}

impl From<&TlsPolicy> for TlsSettings {
    fn from(policy: &TlsPolicy) -> Self {
        let auth = policy.client_auth.as_ref();
        Self {
            min_version: Some(policy.min_version),
            tls13: Some(policy.tls13),
            http2: Some(policy.http2),
            ciphers: Some(policy.ciphers.clone()),
            client_auth: auth
                .map(|auth| ClientAuthSettings { mode: auth.mode, ca: pem::text(&auth.ca) }),
        }
    }
}

impl From<HttpSettings> for HttpPolicy {
    fn from(settings: HttpSettings) -> Self {
        let default = Self::default();
        let edits = |edits: Option<Vec<HeaderSettings>>| {
            let edit = |HeaderSettings { name, value }| HeaderEdit { name, value };
            edits.unwrap_or_default().into_iter().map(edit).collect()
        };
        Self {
            https_redirect: settings.https_redirect.unwrap_or(default.https_redirect),
            hsts: settings.hsts.map(Hsts::from),
            request_headers: edits(settings.request_headers),
            response_headers: edits(settings.response_headers),
            max_body: settings.max_body,
            compression: settings.compression.unwrap_or(default.compression),
        }
    }
}

impl From<&HttpPolicy> for HttpSettings {
    fn from(policy: &HttpPolicy) -> Self {
        let edits = |edits: &[HeaderEdit]| {
            let edit = |edit: &HeaderEdit| HeaderSettings {
                name: edit.name.clone(),
                value: edit.value.clone(),
            };
            Some(edits.iter().map(edit).collect())
        };
        Self {
            https_redirect: Some(policy.https_redirect),
            hsts: policy.hsts.map(HstsSettings::from),
            request_headers: edits(&policy.request_headers),
            response_headers: edits(&policy.response_headers),
            max_body: policy.max_body,
            compression: Some(policy.compression),
        }
    }
}

impl From<HstsSettings> for Hsts {
    fn from(settings: HstsSettings) -> Self {
        Self {
            max_age: settings.max_age,
            include_subdomains: settings.include_subdomains.unwrap_or_default(),
            preload: settings.preload.unwrap_or_default(),
        }
    }
}

impl From<Hsts> for HstsSettings {
    fn from(hsts: Hsts) -> Self {
        Self {
            max_age: hsts.max_age,
            include_subdomains: Some(hsts.include_subdomains),
            preload: Some(hsts.preload),
        }
    }
}

impl From<PathSettings> for PathRoute {
    fn from(settings: PathSettings) -> Self {
        let origins = settings.origins.into_iter().map(WeightedOrigin::from).collect();
        Self { prefix: settings.prefix, origins }
    }
}

impl From<&PathRoute> for PathSettings {
    fn from(path: &PathRoute) -> Self {
        let origins = path.origins.iter().map(OriginSettings::from).collect();
        Self { prefix: path.prefix.clone(), origins }
    }
}

impl Serialize for OriginServer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for OriginServer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let origin = match text.contains("://") {
            true => text.parse(),
            false => format!("https://{text}").parse(),
        };
        origin.map(Self).map_err(de::Error::custom)
    }
}

fn as_text<S: Serializer>(prefix: &PathPrefix, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(prefix)
}
