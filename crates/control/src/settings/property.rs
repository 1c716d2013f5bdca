//! What a property's owner sets: its origins, how they are spoken to, and who issues its certificates.

use landfall_model::{
    AuthorityName, Balance, HealthCheck, OriginName, OriginPool, OriginProtocol, OriginTimeouts,
    WeightedOrigin, origin::HealthPath,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{Fields, OriginSettings, SettingsError, changed, read};
use crate::{
    certificate::{pem, roots},
    property::PropertySpec,
    schema,
};

/// The most roots that the origins of one property are verified with.
const MAX_ORIGIN_ROOTS: usize = 16;

/// What a property's owner sets.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PropertySettings {
    /// The first label of its system hostname. Given at the creation, fixed from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::PropertyLabel>)]
    name: Option<String>,
    /// The servers that hold the content.
    #[schema(min_items = 1, max_items = 32)]
    origins: Option<Vec<OriginSettings>>,
    /// How requests are spread over the origins. Default: `roundRobin`.
    #[schema(value_type = Option<schema::OriginBalance>)]
    balance: Option<Balance>,
    /// Which HTTP origins are spoken to. Default: `http1`.
    #[schema(value_type = Option<schema::OriginHttp>)]
    protocol: Option<OriginProtocol>,
    /// The `Host` that origins get. Default: `:request_host_header:`.
    #[schema(value_type = Option<schema::OriginName>)]
    host_header: Option<OriginName>,
    /// The name in the TLS handshake, which an origin's certificate must have. Default: `:origin:`.
    #[schema(value_type = Option<schema::OriginName>)]
    sni: Option<OriginName>,
    /// The roots that origins' certificates are verified with, at most 16. Default: the public ones.
    #[schema(value_type = Option<schema::CertificatePem>)]
    ca: Option<String>,
    /// Whether origins' certificates are verified. Default: true.
    verify: Option<bool>,
    /// How long is waited for an origin.
    timeouts: Option<TimeoutSettings>,
    /// Requests that tell whether an origin works. Default: none are made.
    health_check: Option<HealthCheckSettings>,
    /// Which CA issues the managed certificates of its hostnames that don't choose one themselves: one that
    /// the operator has configured, by the name that the configuration calls it. What is served stays until
    /// it is renewed. Default: the operator's choice.
    #[schema(value_type = Option<schema::AuthorityName>)]
    certificate_authority: Option<AuthorityName>,
}

/// How long is waited for an origin, in milliseconds. What is missing is the edge's own.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = OriginTimeouts)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TimeoutSettings {
    /// Until the connection is open, TLS included.
    #[schema(minimum = 1, maximum = 86_400_000)]
    connect_ms: Option<u32>,
    /// Between two pieces of a response, and before the first one.
    #[schema(minimum = 1, maximum = 86_400_000)]
    read_ms: Option<u32>,
    /// For one write.
    #[schema(minimum = 1, maximum = 86_400_000)]
    write_ms: Option<u32>,
    /// How long an unused connection is kept.
    #[schema(minimum = 1, maximum = 86_400_000)]
    idle_ms: Option<u32>,
    /// From the request's header to the end of the response, retries included.
    #[schema(minimum = 1, maximum = 86_400_000)]
    total_ms: Option<u32>,
}

/// Requests that tell whether an origin works.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = HealthCheck)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HealthCheckSettings {
    /// What is asked for with GET.
    #[schema(value_type = schema::HealthPath)]
    path: HealthPath,
    /// Between two checks of an origin, in seconds. Default: 10.
    #[schema(minimum = 1, maximum = 3_600)]
    interval_s: Option<u16>,
    /// For one check, in seconds. Default: 2.
    #[schema(minimum = 1, maximum = 60)]
    timeout_s: Option<u16>,
    /// The status that says that it works. Default: any from 200 to 399.
    #[schema(minimum = 200, maximum = 599)]
    expected_status: Option<u16>,
    /// So many checks in a row must fail. Default: 3.
    #[schema(minimum = 1, maximum = 100)]
    unhealthy_after: Option<u8>,
    /// So many checks in a row must succeed. Default: 2.
    #[schema(minimum = 1, maximum = 100)]
    healthy_after: Option<u8>,
}

impl PropertySettings {
    /// Reads a new property's name and what its owner sets.
    pub(crate) fn create(
        fields: Fields,
        now: OffsetDateTime,
    ) -> Result<(String, PropertySpec), SettingsError> {
        let mut settings: Self = read(fields)?;
        let name = settings.name.take().ok_or(SettingsError::Missing("name"))?;
        Ok((name, settings.checked(&[], now)?))
    }

    /// Reads what `patch` makes of `current`.
    pub(crate) fn change(
        current: &PropertySpec,
        patch: Fields,
        now: OffsetDateTime,
    ) -> Result<PropertySpec, SettingsError> {
        let settings = changed(&Self::from(current), patch)?;
        if settings.name.is_some() {
            return Err(SettingsError::Fixed("name"));
        }
        settings.checked(&current.pool.ca, now)
    }

    fn checked(
        self,
        kept: &[landfall_model::Der],
        now: OffsetDateTime,
    ) -> Result<PropertySpec, SettingsError> {
        let origins = self.origins.ok_or(SettingsError::Missing("origins"))?;
        let origins = origins.into_iter().map(WeightedOrigin::from).collect();
        let ca = self.ca.map(|pem| roots::read(&pem, MAX_ORIGIN_ROOTS, kept, now)).transpose();
        let default = OriginPool::with(origins);
        let pool = OriginPool {
            balance: self.balance.unwrap_or(default.balance),
            protocol: self.protocol.unwrap_or(default.protocol),
            host_header: self.host_header.unwrap_or(default.host_header),
            sni: self.sni.unwrap_or(default.sni),
            ca: ca
                .map_err(|source| SettingsError::Roots { field: "ca", source })?
                .unwrap_or_default(),
            verify: self.verify.unwrap_or(default.verify),
            timeouts: self.timeouts.map(OriginTimeouts::from).unwrap_or_default(),
            health_check: self.health_check.map(HealthCheck::from),
            origins: default.origins,
        };
        Ok(PropertySpec { pool: pool.checked()?, authority: self.certificate_authority })
    }
}

impl From<&PropertySpec> for PropertySettings {
    fn from(PropertySpec { pool, authority }: &PropertySpec) -> Self {
        Self {
            name: None,
            origins: Some(pool.origins.iter().map(OriginSettings::from).collect()),
            balance: Some(pool.balance),
            protocol: Some(pool.protocol),
            host_header: Some(pool.host_header.clone()),
            sni: Some(pool.sni.clone()),
            ca: (!pool.ca.is_empty()).then(|| pem::text(&pool.ca)),
            verify: Some(pool.verify),
            timeouts: Some(pool.timeouts.into()),
            health_check: pool.health_check.as_ref().map(HealthCheckSettings::from),
            certificate_authority: authority.clone(),
        }
    }
}

impl From<OriginSettings> for WeightedOrigin {
    fn from(settings: OriginSettings) -> Self {
        let default = Self::from(settings.url);
        Self { weight: settings.weight.unwrap_or(default.weight), ..default }
    }
}

impl From<&WeightedOrigin> for OriginSettings {
    fn from(origin: &WeightedOrigin) -> Self {
        Self { url: origin.url.clone(), weight: Some(origin.weight) }
    }
}

impl From<TimeoutSettings> for OriginTimeouts {
    fn from(settings: TimeoutSettings) -> Self {
        let TimeoutSettings { connect_ms, read_ms, write_ms, idle_ms, total_ms } = settings;
        Self { connect_ms, read_ms, write_ms, idle_ms, total_ms }
    }
}

impl From<OriginTimeouts> for TimeoutSettings {
    fn from(timeouts: OriginTimeouts) -> Self {
        let OriginTimeouts { connect_ms, read_ms, write_ms, idle_ms, total_ms } = timeouts;
        Self { connect_ms, read_ms, write_ms, idle_ms, total_ms }
    }
}

impl From<HealthCheckSettings> for HealthCheck {
    fn from(settings: HealthCheckSettings) -> Self {
        let default = Self::of(settings.path);
        Self {
            interval_s: settings.interval_s.unwrap_or(default.interval_s),
            timeout_s: settings.timeout_s.unwrap_or(default.timeout_s),
            expected_status: settings.expected_status,
            unhealthy_after: settings.unhealthy_after.unwrap_or(default.unhealthy_after),
            healthy_after: settings.healthy_after.unwrap_or(default.healthy_after),
            path: default.path,
        }
    }
}

impl From<&HealthCheck> for HealthCheckSettings {
    fn from(check: &HealthCheck) -> Self {
        Self {
            path: check.path.clone(),
            interval_s: Some(check.interval_s),
            timeout_s: Some(check.timeout_s),
            expected_status: check.expected_status,
            unhealthy_after: Some(check.unhealthy_after),
            healthy_after: Some(check.healthy_after),
        }
    }
}
