//! What a request makes of a hostname's settings.

use landfall_model::{CustomOrigin, HostPattern, NameError, Origin, OriginName, PropertyId, Route};

use super::{
    body::{Given, HostnameBody},
    failure::Failure,
    ssl::SslEdit,
};
use crate::{
    hostname::{HostnameSpec, Metadata, wish::CertificateWish},
    service::Upload,
    settings::SettingsError,
};

/// What a request makes of a hostname's settings. What it doesn't name stays.
pub(super) struct Edit {
    metadata: Given<Metadata>,
    origin: Given<Origin>,
    sni: Given<OriginName>,
    /// Whether and what it says of certificate and TLS.
    pub(super) ssl: Option<SslEdit>,
}

impl Edit {
    /// Reads the name of a new hostname, and what it is to be.
    pub(super) fn create(body: HostnameBody) -> Result<(HostPattern, Self), Failure> {
        let name = body.hostname.as_deref().unwrap_or_default();
        let name = name.parse().map_err(|error: NameError| {
            let message =
                format!("Invalid custom hostname: {error}. Check your input and try again.");
            Failure::field(1407, "hostname", message)
        })?;
        if let Some(ssl) = &body.ssl {
            ssl.check_validation()?;
        }
        Ok((name, Self::read(body)?))
    }

    /// Reads what is to change.
    pub(super) fn read(body: HostnameBody) -> Result<Self, Failure> {
        let metadata = body.custom_metadata.try_map(|pairs| {
            let checked = Metadata(pairs).checked();
            checked.map_err(|error| Failure::field(1401, "custom_metadata", format!("{error}.")))
        })?;
        Ok(Self {
            metadata,
            origin: reset_by_empty(body.custom_origin_server)
                .try_map(|text| origin("custom_origin_server", &text))?,
            sni: reset_by_empty(body.custom_origin_sni).try_map(|text| sni(&text))?,
            ssl: body.ssl.map(SslEdit::read).transpose()?,
        })
    }

    /// The certificates that come with it, once.
    pub(super) fn take_uploads(&mut self) -> Vec<Upload> {
        self.ssl.as_mut().map(|ssl| std::mem::take(&mut ssl.uploads)).unwrap_or_default()
    }

    /// The settings of a new hostname.
    pub(super) fn new_spec(&self, property: PropertyId) -> Result<HostnameSpec, SettingsError> {
        self.apply(&HostnameSpec {
            route: Route::to(property),
            tls: landfall_model::TlsPolicy::default(),
            metadata: Metadata::default(),
            wish: CertificateWish::default(),
        })
    }

    /// What becomes of `current`.
    pub(super) fn apply(&self, current: &HostnameSpec) -> Result<HostnameSpec, SettingsError> {
        let mut spec = current.clone();
        match &self.metadata {
            Given::Absent => {}
            Given::Null => spec.metadata = Metadata::default(),
            Given::Value(metadata) => spec.metadata = metadata.clone(),
        }
        spec.route.custom_origin = self.custom_origin(current.route.custom_origin.as_ref())?;
        if let Some(ssl) = &self.ssl {
            ssl.apply(&mut spec)?;
        }
        spec.route = spec.route.checked()?;
        Ok(spec)
    }

    fn custom_origin(
        &self,
        current: Option<&CustomOrigin>,
    ) -> Result<Option<CustomOrigin>, SettingsError> {
        let server = match &self.origin {
            Given::Absent => current.map(|own| own.server.clone()),
            Given::Null => None,
            Given::Value(origin) => Some(origin.clone()),
        };
        let sni = match &self.sni {
            // The name for a server goes with it.
            Given::Absent if self.origin == Given::Null => None,
            Given::Absent => current.and_then(|own| own.sni.clone()),
            Given::Null => None,
            Given::Value(sni) => Some(sni.clone()),
        };
        match (server, sni) {
            (Some(server), sni) => Ok(Some(CustomOrigin { server, sni })),
            (None, Some(_)) => Err(SettingsError::SniAlone),
            (None, None) => Ok(None),
        }
    }
}

impl<T> Given<T> {
    fn try_map<U>(self, map: impl FnOnce(T) -> Result<U, Failure>) -> Result<Given<U>, Failure> {
        Ok(match self {
            Self::Absent => Given::Absent,
            Self::Null => Given::Null,
            Self::Value(value) => Given::Value(map(value)?),
        })
    }
}

/// Clients in languages without null send an empty text.
fn reset_by_empty(given: Given<String>) -> Given<String> {
    match &given {
        Given::Value(text) if text.is_empty() => Given::Null,
        Given::Absent | Given::Null | Given::Value(_) => given,
    }
}

/// Reads an origin: a bare name means https.
pub(super) fn origin(field: &str, text: &str) -> Result<Origin, Failure> {
    let parsed = match text.contains("://") {
        true => text.parse(),
        false => format!("https://{text}").parse(),
    };
    parsed.map_err(|error: landfall_model::OriginError| {
        let message = format!("Invalid custom origin hostname: {error}.");
        Failure::field(1415, field, message)
    })
}

fn sni(text: &str) -> Result<OriginName, Failure> {
    text.parse().map_err(|error: landfall_model::origin::OriginNameError| {
        Failure::field(1415, "custom_origin_sni", format!("Invalid custom origin SNI: {error}."))
    })
}
