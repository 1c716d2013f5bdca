//! Errors as the API tells them: problem details (RFC 9457).

mod verification;

use std::time::Duration;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use landfall_feed::record::MAX_RECORD_LEN;
use landfall_model::{NameError, Origin, OriginPoolError, RouteError};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::json;

use crate::{
    certificate::{roots::RootsError, upload::UploadError},
    service::{MAX_SETTINGS_LEN, MAX_TLS_POLICIES, ServiceError},
    settings::SettingsError,
    store::StoreError,
};

/// When to come back where no better time is known.
const RETRY_UNAVAILABLE: Duration = Duration::from_secs(5);
/// The longest `detail`, in bytes. A client's own words may be in it.
const MAX_DETAIL: usize = 4_096;

/// What went wrong, for a program (`code`) and a person (`detail`).
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    more: Map<String, Value>,
    retry_in: Option<Duration>,
}

/// What went wrong (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody {
    /// `urn:landfall:problem:` and the code.
    #[serde(rename = "type")]
    #[schema(format = "uri", example = "urn:landfall:problem:hostname_taken")]
    kind: String,
    /// The kind of problem for a person, the same each time.
    title: &'static str,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong this time, and what may be done.
    detail: String,
    /// The kind of problem for a program.
    #[schema(example = "hostname_taken")]
    code: &'static str,
    /// Where one field of the request is wrong: its path. More members are as the code says.
    #[serde(flatten)]
    #[schema(ignore)]
    more: Map<String, Value>,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let mut detail = detail.into();
        detail.truncate(detail.floor_char_boundary(MAX_DETAIL));
        Self { status, code, title, detail, more: Map::new(), retry_in: None }
    }

    /// The status that it is answered with.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// What went wrong, for a program.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// What went wrong, for a person.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// What was looked for in vain, if anything was.
    pub(crate) fn resource(&self) -> Option<&str> {
        self.more.get("resource").and_then(Value::as_str)
    }

    /// Says more to the person.
    pub(crate) fn adding(mut self, sentence: &str) -> Self {
        let room = MAX_DETAIL.saturating_sub(self.detail.len());
        if sentence.len() < room {
            self.detail.push(' ');
            self.detail.push_str(sentence);
        }
        self
    }

    /// Adds an extension member.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.more.insert(key.to_owned(), value.into());
        self
    }

    /// Says when to come back.
    pub(crate) fn retry_in(self, time: Duration) -> Self {
        Self { retry_in: Some(time), ..self }
    }

    /// Says which field of the body is meant: a JSON pointer (RFC 6901), or names with dots between.
    pub(crate) fn at(self, field: &str) -> Self {
        let pointer = match field.starts_with('/') || field.is_empty() {
            true => field.to_owned(),
            false => format!("/{}", field.replace('.', "/")),
        };
        self.with("field", pointer)
    }

    /// A field of the body that can be read and not be used.
    pub(crate) fn invalid(field: &str, code: &'static str, detail: impl Into<String>) -> Self {
        Self::unprocessable(code, detail).at(field)
    }

    /// A parameter of the query that can't be read.
    pub(crate) fn bad_parameter(name: &str, code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, "The request is malformed", detail)
            .with("parameter", name)
    }

    /// A header field of the request that can't be used.
    pub(crate) fn bad_header(name: &str, code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, "The request is malformed", detail)
            .with("header", name)
    }

    pub(crate) fn unauthorized(expected: &str) -> Self {
        let title = "Credentials are missing or wrong";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", title, format!("Expected {expected}."))
    }

    pub(crate) fn not_found(what: &str) -> Self {
        let detail = format!("There is no such {what}.");
        Self::new(StatusCode::NOT_FOUND, "not_found", "Not found", detail).with("resource", what)
    }

    /// An error of ours, or a database that others hold. What it is stays in the log.
    pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        if is_busy(error) {
            tracing::warn!(error = %chain(error), "the database is busy");
            let detail = "The control plane has more to do than it can. Nothing was changed.";
            return Self::unavailable("busy", detail);
        }
        tracing::error!(error = %chain(error), "a request failed");
        Self::internal_silent()
    }

    pub(crate) fn internal_silent() -> Self {
        let detail = "The control plane failed to answer. Its log says why.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail)
    }

    pub(crate) fn unavailable(code: &'static str, detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, "Unavailable for now", detail)
    }

    fn stale(version: i64) -> Self {
        let detail = format!("`If-Match` names another version; the current one is {version}.");
        let status = StatusCode::PRECONDITION_FAILED;
        Self::new(status, "precondition_failed", "The object was changed", detail)
            .with("version", version)
            .with("header", "If-Match")
    }

    fn conflict(code: &'static str, detail: &str) -> Self {
        Self::new(StatusCode::CONFLICT, code, "The request conflicts with what is there", detail)
    }

    fn unprocessable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, "The request is invalid", detail)
    }

    fn invalid_hostname(error: NameError) -> Self {
        Self::invalid("name", name_code(error), format!("{error}."))
    }

    fn invalid_name(error: &dyn std::fmt::Display) -> Self {
        Self::invalid("name", "invalid_name", format!("{error}."))
    }

    fn too_large(len: usize, most: usize) -> Self {
        let detail = format!(
            "What edges need to know of it would take {len} bytes; {most} are allowed. Leave out \
             what is not needed: certificates that clients have, CAs, paths, origins or header \
             fields."
        );
        Self::unprocessable("record_too_large", detail)
    }

    /// A private key where none belongs.
    pub(crate) fn private_key() -> Self {
        let detail =
            "The request holds a private key, which nothing in it is for. It was not kept.";
        Self::unprocessable("private_key_refused", detail)
    }

    /// A body with some of its fields and not the others.
    pub(crate) fn incomplete(expected: &str) -> Self {
        Self::unprocessable("invalid_field", format!("Expected {expected}."))
    }

    pub(super) fn settings(error: &SettingsError) -> Self {
        let invalid = |field: &str, detail: String| Self::invalid(field, "invalid_field", detail);
        match error {
            SettingsError::Field { path, source } => json::invalid(path, source),
            SettingsError::Missing(field) | SettingsError::Fixed(field) => {
                invalid(field, format!("{error}."))
            }
            SettingsError::Pool(source) => {
                Self::invalid(&pool_field(source), "invalid_origins", format!("{source}."))
            }
            SettingsError::Route(source) => {
                Self::invalid(route_field(source), "invalid_route", format!("{source}."))
            }
            SettingsError::Tls(source) => {
                Self::invalid("tls", "invalid_tls_policy", format!("{source}."))
            }
            SettingsError::Metadata(source) => {
                Self::invalid("metadata", "invalid_metadata", format!("{source}."))
            }
            SettingsError::NoKeyType => invalid("managedCertificate.keyTypes", format!("{error}.")),
            SettingsError::SniAlone => {
                Self::invalid("customOriginSni", "invalid_route", format!("{error}."))
            }
            SettingsError::Roots { source: RootsError::PrivateKey, .. } => Self::private_key(),
            SettingsError::Roots { field, source } => {
                Self::invalid(field, "invalid_ca", format!("The CA can't be used: {source}."))
            }
        }
    }

    fn origin_refused(origin: &Origin, place: Option<usize>) -> Self {
        let detail = format!(
            "The origin {origin} has an address that is not the public internet's. The operator can \
             allow it in the control plane's `origins.allow_networks`."
        );
        let problem = Self::unprocessable("origin_not_public", detail);
        match place {
            Some(place) => problem.at(&format!("/origins/{place}/url")),
            None => problem,
        }
    }

    fn key_name_taken() -> Self {
        let detail = "Another key has this name, revoked ones included.";
        Self::conflict("key_name_taken", detail).at("name")
    }

    fn too_many_keys(most: u32) -> Self {
        let detail = format!("A property has at most {most} valid keys: revoke one first.");
        Self::conflict("too_many_keys", &detail)
    }

    fn too_many_policies() -> Self {
        let detail = format!(
            "The hostnames of a property have at most {MAX_TLS_POLICIES} different TLS policies: \
             versions, HTTP/2, cipher suites and client CAs taken together."
        );
        Self::conflict("too_many_tls_policies", &detail)
    }

    fn hostname_taken() -> Self {
        let detail = "The property has the hostname already, or the wildcard that is asked for: as a \
                      hostname of its own, or by `managedCertificate.wildcard` of another.";
        Self::conflict("hostname_taken", detail).at("name")
    }

    fn site_taken() -> Self {
        let detail = "The hostname is under a label right below the system domain that is another \
                      property's, with all that is under it.";
        Self::conflict("hostname_taken", detail).at("name")
    }

    fn wildcard_taken() -> Self {
        let detail = "The hostname's wildcard is another hostname's, or other properties have names \
                      under it. Add it as a hostname of its own: it can be proven then.";
        Self::conflict("hostname_taken", detail).at("managedCertificate.wildcard")
    }

    fn too_many_hostnames(limit: u32) -> Self {
        let detail = format!("The property has {limit} hostnames, as many as the operator allows.");
        Self::conflict("too_many_hostnames", &detail)
    }

    fn too_many_claims(limit: u32) -> Self {
        let detail = format!(
            "The property claims {limit} names, as many as the operator allows. Prove them, or \
             delete some."
        );
        Self::conflict("too_many_claims", &detail)
    }

    fn site_not_owned() -> Self {
        let detail = "Below the system domain, a key for one property adds names in that property's sites \
                      alone: under its system hostname, or where a key for all properties has added one.";
        Self::new(StatusCode::FORBIDDEN, "site_not_owned", "The key may not do this", detail)
            .at("name")
    }

    fn authority(field: &str, wanted: &str, configured: &[String]) -> Self {
        let detail = format!(
            "The operator has not configured the certificate authority {wanted}. Configured are: {}.",
            configured.join(", ")
        );
        Self::unprocessable("authority_not_configured", detail).at(field)
    }

    fn upload(within: &str, error: &UploadError) -> Self {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Self::new(status, error.code(), "The certificate can't be used", format!("{error}."))
            .at(&format!("{within}/{}", error.member()))
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the rest is of the list of origins")]
fn pool_field(error: &OriginPoolError) -> String {
    match error {
        OriginPoolError::OutOfRange { name, .. } if name.ends_with("Ms") => {
            format!("timeouts.{name}")
        }
        OriginPoolError::OutOfRange { name, .. } if *name != "weight" && *name != "origins" => {
            format!("healthCheck.{name}")
        }
        _ => "origins".to_owned(),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the rest is of the list of paths")]
fn route_field(error: &RouteError) -> &'static str {
    match error {
        RouteError::Http(_) => "http",
        _ => "paths",
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "what has no code of its own is malformed")]
fn name_code(error: NameError) -> &'static str {
    match error {
        NameError::IpAddress => "name_is_ip_address",
        NameError::SingleLabel => "name_has_one_label",
        NameError::TooLong | NameError::LabelTooLong => "name_too_long",
        _ => "invalid_name",
    }
}

/// An error with all that caused it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

fn is_busy(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut errors = std::iter::successors(Some(error), |error| error.source());
    errors.any(|error| error.downcast_ref().is_some_and(StoreError::is_busy))
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        match &error {
            ServiceError::Missing(missing) => Self::not_found(missing.name()),
            ServiceError::Stale { version } => Self::stale(*version),
            ServiceError::KeyReused => Self::unprocessable(
                "idempotency_key_reused",
                "The `Idempotency-Key` came before with another request.",
            )
            .with("header", "Idempotency-Key"),
            ServiceError::CreatedIsGone => Self::conflict(
                "idempotency_object_gone",
                "What this request made is there no more. Another `Idempotency-Key` makes it anew.",
            ),
            ServiceError::KeyNameTaken => Self::key_name_taken(),
            ServiceError::TooManyKeys { most } => Self::too_many_keys(*most),
            ServiceError::PropertyNameTaken => {
                Self::conflict("property_name_taken", "The property's name is in use.").at("name")
            }
            ServiceError::PropertyNotEmpty => Self::conflict(
                "property_not_empty",
                "The property has hostnames. Delete them first: none is to go dark unasked.",
            ),
            ServiceError::SystemName(source) => {
                let detail = format!("The property's system hostname can't be: {source}.");
                Self::invalid("name", "invalid_name", detail)
            }
            ServiceError::HostnameTaken => Self::hostname_taken(),
            ServiceError::SiteTaken => Self::site_taken(),
            ServiceError::WildcardTaken => Self::wildcard_taken(),
            ServiceError::TooManyHostnames { limit } => Self::too_many_hostnames(*limit),
            ServiceError::TooManyClaims { limit } => Self::too_many_claims(*limit),
            ServiceError::SiteNotOwned => Self::site_not_owned(),
            ServiceError::NameRefused(refusal) => {
                let detail = format!("The hostname can't be added: {refusal}.");
                Self::invalid("name", refusal.code(), detail)
            }
            ServiceError::SystemHostname => Self::conflict(
                "system_hostname",
                "A property's system hostname stays for as long as the property.",
            ),
            ServiceError::Settings(source) => Self::settings(source),
            ServiceError::PropertyName(source) => Self::invalid_name(source),
            ServiceError::HostnameName(source) => Self::invalid_hostname(*source),
            ServiceError::OriginRefused { origin, place } => Self::origin_refused(origin, *place),
            ServiceError::TooManyPolicies => Self::too_many_policies(),
            ServiceError::Upload { within, source } => Self::upload(within, source),
            ServiceError::TooLarge { len } => Self::too_large(*len, MAX_RECORD_LEN),
            ServiceError::SettingsTooLarge { len } => Self::too_large(*len, MAX_SETTINGS_LEN),
            ServiceError::Verification(source) => verification::problem(source),
            ServiceError::AuthorityNotConfigured { field, wanted, configured } => {
                Self::authority(field, wanted, configured)
            }
            ServiceError::Store(_)
            | ServiceError::Ca(_)
            | ServiceError::Seal(_)
            | ServiceError::Random(_)
            | ServiceError::Interrupted => Self::internal(&error),
        }
    }
}

impl Problem {
    /// As it is answered.
    pub(super) fn body(&self) -> ProblemBody {
        ProblemBody {
            kind: format!("urn:landfall:problem:{}", self.code),
            title: self.title,
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            code: self.code,
            more: self.more.clone(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // Its keys are texts: it always has a JSON form.
        let body = serde_json::to_vec(&self.body()).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        // For faces that tell it in a form of their own.
        response.extensions_mut().insert(self.clone());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let unavailable = self.status == StatusCode::SERVICE_UNAVAILABLE;
        let retry_in = self.retry_in.or(unavailable.then_some(RETRY_UNAVAILABLE));
        if let Some(time) = retry_in {
            let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_database_is_a_reason_to_come_back_and_a_broken_one_is_not() {
        let busy = StoreError::on("begin")(sqlx::Error::PoolTimedOut);
        let response = Problem::from(ServiceError::Store(busy)).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key(header::RETRY_AFTER));
        let broken = Problem::from(ServiceError::Store(StoreError::Corrupt("row")));
        assert_eq!(broken.into_response().status(), StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[test]
    fn a_detail_has_an_end() {
        let problem = Problem::invalid("name", "invalid_name", "\u{e9}".repeat(100_000));
        assert_eq!(problem.detail.len(), MAX_DETAIL);
    }
}
