//! What a property's owner sets: its origins, and how they are spoken to.

use landfall_model::{
    Balance, HealthCheck, OriginName, OriginPool, OriginProtocol, OriginTimeouts, WeightedOrigin,
    origin::HealthPath,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Fields, OriginSettings, SettingsError, changed, read};
use crate::certificate::{pem, roots};

/// The most roots that the origins of one property are verified with.
const MAX_ORIGIN_ROOTS: usize = 16;

/// What a property's owner sets.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PropertySettings {
    /// At its creation alone.
    #[serde(skip_serializing)]
    name: Option<String>,
    origins: Option<Vec<OriginSettings>>,
    balance: Option<Balance>,
    protocol: Option<OriginProtocol>,
    host_header: Option<OriginName>,
    sni: Option<OriginName>,
    /// PEM.
    ca: Option<String>,
    verify: Option<bool>,
    timeouts: Option<TimeoutSettings>,
    health_check: Option<HealthCheckSettings>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TimeoutSettings {
    connect_ms: Option<u32>,
    read_ms: Option<u32>,
    write_ms: Option<u32>,
    idle_ms: Option<u32>,
    total_ms: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HealthCheckSettings {
    path: HealthPath,
    interval_s: Option<u16>,
    timeout_s: Option<u16>,
    expected_status: Option<u16>,
    unhealthy_after: Option<u8>,
    healthy_after: Option<u8>,
}

impl PropertySettings {
    /// Reads a new property's name and origins.
    pub(crate) fn create(
        fields: Fields,
        now: OffsetDateTime,
    ) -> Result<(String, OriginPool), SettingsError> {
        let mut settings: Self = read(fields)?;
        let name = settings.name.take().ok_or(SettingsError::Missing("name"))?;
        Ok((name, settings.pool(&[], now)?))
    }

    /// Reads what `patch` makes of `current`.
    pub(crate) fn change(
        current: &OriginPool,
        patch: Fields,
        now: OffsetDateTime,
    ) -> Result<OriginPool, SettingsError> {
        let settings = changed(&Self::from(current), patch)?;
        if settings.name.is_some() {
            return Err(SettingsError::Fixed("name"));
        }
        settings.pool(&current.ca, now)
    }

    fn pool(
        self,
        kept: &[landfall_model::Der],
        now: OffsetDateTime,
    ) -> Result<OriginPool, SettingsError> {
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
        Ok(pool.checked()?)
    }
}

impl From<&OriginPool> for PropertySettings {
    fn from(pool: &OriginPool) -> Self {
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
