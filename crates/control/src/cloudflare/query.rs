//! Filters, order and paging of the list.

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;
use landfall_model::Origin;
use serde::Deserialize;

use super::{edit::origin, failure::Failure, ssl::authority};
use crate::store::custom_hostname::{
    CertificateFilter, Direction, NameFilter, NameKind, Order, Page, Selection,
};

const DEFAULT_PER_PAGE: u32 = 20;
const MAX_PER_PAGE: u32 = 1_000;
/// The longest text to look for in names, in bytes.
const MAX_NAME_PART: usize = 255;

const HOSTNAME_STATUSES: [&str; 16] = [
    "active",
    "pending",
    "active_redeploying",
    "moved",
    "pending_deletion",
    "deleted",
    "pending_blocked",
    "pending_migration",
    "pending_provisioned",
    "test_pending",
    "test_active",
    "test_active_apex",
    "test_blocked",
    "test_failed",
    "provisioned",
    "blocked",
];
const CERTIFICATE_STATES: [&str; 21] = [
    "initializing",
    "pending_validation",
    "deleted",
    "pending_issuance",
    "pending_deployment",
    "pending_deletion",
    "pending_expiration",
    "expired",
    "active",
    "initializing_timed_out",
    "validation_timed_out",
    "issuance_timed_out",
    "deployment_timed_out",
    "deletion_timed_out",
    "pending_cleanup",
    "staging_deployment",
    "staging_active",
    "deactivating",
    "inactive",
    "backup_issued",
    "holding_deployment",
];

/// Which part of the list is wanted.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) selection: Selection,
    pub(super) number: u32,
    pub(super) per_page: u32,
    order: Order,
    direction: Direction,
}

#[derive(Default, Deserialize)]
struct Raw {
    hostname: Option<String>,
    #[serde(rename = "hostname.exact")]
    exact: Option<String>,
    #[serde(rename = "hostname.contain")]
    contain: Option<String>,
    #[serde(rename = "hostname.startsWith")]
    starts_with: Option<String>,
    id: Option<String>,
    certificate_authority: Option<String>,
    custom_origin_server: Option<String>,
    wildcard: Option<String>,
    ssl: Option<String>,
    ssl_status: Option<String>,
    hostname_status: Option<String>,
    order: Option<String>,
    direction: Option<String>,
    page: Option<String>,
    per_page: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Wanted {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let query = Query::<Raw>::from_request_parts(parts, state).await;
        let Query(raw) = query.map_err(|_| Failure::invalid(1434, "The query can't be read."))?;
        Self::read(raw)
    }
}

impl Wanted {
    fn read(raw: Raw) -> Result<Self, Failure> {
        let name = name(&raw)?;
        if raw.id.is_some() && name.is_some() {
            let message = "Cannot specify other filter parameters in addition to `id`. Only one \
                           must be specified. Check your input and try again.";
            return Err(Failure::invalid(1438, message));
        }
        let selection = Selection {
            public_id: raw.id,
            name,
            kind: raw.wildcard.as_deref().map(kind).transpose()?,
            custom_origin: raw.custom_origin_server.as_deref().map(server).transpose()?,
            authority: raw.certificate_authority.as_deref().map(authority).transpose()?,
            status: raw.hostname_status.as_deref().map(status).transpose()?,
            certificate: certificate(raw.ssl.as_deref(), raw.ssl_status.as_deref())?,
        };
        Ok(Self {
            selection,
            number: number("page", raw.page, 1, u32::MAX)?,
            per_page: number("per_page", raw.per_page, DEFAULT_PER_PAGE, MAX_PER_PAGE)?,
            order: order(raw.order.as_deref())?,
            direction: direction(raw.direction.as_deref())?,
        })
    }

    /// The rows that it takes.
    pub(super) fn page(&self) -> Page {
        let offset = u64::from(self.number - 1) * u64::from(self.per_page);
        Page { limit: self.per_page, offset, order: self.order, direction: self.direction }
    }
}

fn name(raw: &Raw) -> Result<Option<NameFilter>, Failure> {
    let exact = raw.hostname.as_ref().or(raw.exact.as_ref());
    let given = [exact, raw.contain.as_ref(), raw.starts_with.as_ref()];
    if given.iter().flatten().count() > 1 || raw.hostname.is_some() && raw.exact.is_some() {
        let message = "Cannot specify more than one of `hostname`, `hostname.exact`, \
                       `hostname.contain` and `hostname.startsWith`.";
        return Err(Failure::invalid(1438, message));
    }
    let [exact, contain, starts_with] = given;
    let part = |text: &String| match text.len() {
        1..=MAX_NAME_PART => Ok(text.to_ascii_lowercase()),
        _ => {
            let message = format!(
                "Invalid hostname query parameter: expected 1 to {MAX_NAME_PART} characters."
            );
            Err(Failure::invalid(1437, message))
        }
    };
    let exact = exact.map(|text| part(text).map(NameFilter::Exact));
    let contain = contain.map(|text| part(text).map(NameFilter::Contains));
    let starts_with = starts_with.map(|text| part(text).map(NameFilter::StartsWith));
    exact.or(contain).or(starts_with).transpose()
}

fn server(text: &str) -> Result<Origin, Failure> {
    origin("custom_origin_server", text)
}

fn kind(text: &str) -> Result<NameKind, Failure> {
    match text {
        "true" | "1" => Ok(NameKind::Wildcard),
        "false" | "0" => Ok(NameKind::Plain),
        _ => Err(unreadable("wildcard", "`true` or `false`")),
    }
}

/// Reads one of the statuses that the API documents: those that can't be match nothing.
fn status(text: &str) -> Result<&'static str, Failure> {
    let known = HOSTNAME_STATUSES.into_iter().find(|own| *own == text);
    known.ok_or_else(|| unreadable("hostname_status", "a hostname's status"))
}

fn certificate(
    ssl: Option<&str>,
    state: Option<&str>,
) -> Result<Option<CertificateFilter>, Failure> {
    let known = |text: &str| CERTIFICATE_STATES.into_iter().find(|own| *own == text);
    let state = state.map(|text| {
        known(text).ok_or_else(|| unreadable("ssl_status", "the status of a certificate"))
    });
    let state = state.transpose()?.map(CertificateFilter::InState);
    match ssl {
        None | Some("1" | "true") => Ok(state),
        Some("0" | "false") => Ok(Some(CertificateFilter::Unwanted)),
        Some(_) => Err(unreadable("ssl", "`0` or `1`")),
    }
}

fn order(text: Option<&str>) -> Result<Order, Failure> {
    match text {
        None => Ok(Order::Added),
        Some("ssl" | "ssl_status") => Ok(Order::CertificateState),
        Some(_) => Err(unreadable("order", "`ssl` or `ssl_status`")),
    }
}

fn direction(text: Option<&str>) -> Result<Direction, Failure> {
    match text {
        None | Some("asc") => Ok(Direction::Ascending),
        Some("desc") => Ok(Direction::Descending),
        Some(_) => Err(unreadable("direction", "`asc` or `desc`")),
    }
}

/// Some clients write whole numbers with a fraction.
fn number(field: &str, text: Option<String>, default: u32, most: u32) -> Result<u32, Failure> {
    let Some(text) = text else {
        return Ok(default);
    };
    let parsed = text.strip_suffix(".0").unwrap_or(&text).parse::<u32>();
    match parsed {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => Err(unreadable(field, &format!("a number from 1 to {most}"))),
    }
}

fn unreadable(field: &str, expected: &str) -> Failure {
    Failure::invalid(1434, format!("Invalid `{field}` query parameter: expected {expected}."))
}
