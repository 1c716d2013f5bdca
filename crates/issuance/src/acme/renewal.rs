//! When a CA wants a certificate to be renewed (ARI, RFC 9773).

use std::{fmt, str::FromStr};

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use http::Request;
use landfall_model::{Der, issuance::RenewalAdvice};
use serde::Deserialize;
use time::{Duration, OffsetDateTime};
use x509_parser::{extensions::ParsedExtension, prelude::FromDer as _, prelude::X509Certificate};

use super::{
    connection::Connection,
    error::AcmeError,
    http::Reply,
    refusal::{nonsense, refusal},
};
use crate::failure::Step;

/// When a CA is asked again that doesn't say (RFC 9773 section 4.3).
const ASK_AGAIN: Duration = Duration::hours(6);
/// A CA is not asked more often, and not less often (RFC 9773 section 4.3.2).
const SOONEST: Duration = Duration::minutes(1);
const LATEST: Duration = Duration::days(1);
/// The longest URL that is kept.
const MAX_EXPLANATION: usize = 500;
/// The longest part of an id: a serial number has at most 20 bytes (RFC 5280 section 4.1.2.2), a key
/// identifier is a hash.
const MAX_PART: usize = 128;

/// What a CA knows a certificate by (RFC 9773 section 4.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateId {
    /// Of the authority key identifier, in base64url.
    authority: String,
    /// The serial number's bytes, in base64url.
    serial: String,
}

/// A text that is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a certificate is two parts in base64url with a dot between")]
pub struct CertificateIdError;

impl CertificateId {
    /// Of a certificate (DER); none where it doesn't say which key signed it.
    pub fn of(certificate: &Der) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(&certificate.0).ok()?;
        let authority = parsed.extensions().iter().find_map(|extension| {
            let ParsedExtension::AuthorityKeyIdentifier(found) = extension.parsed_extension()
            else {
                return None;
            };
            Some(BASE64URL_NOPAD.encode(found.key_identifier.as_ref()?.0))
        })?;
        Some(Self { authority, serial: BASE64URL_NOPAD.encode(parsed.raw_serial()) })
    }

    /// Both parts.
    pub(crate) fn parts(&self) -> (&str, &str) {
        (&self.authority, &self.serial)
    }
}

impl fmt::Display for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.authority, self.serial)
    }
}

impl FromStr for CertificateId {
    type Err = CertificateIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (authority, serial) = text.split_once('.').ok_or(CertificateIdError)?;
        let is_part = |part: &str| {
            (1..=MAX_PART).contains(&part.len()) && BASE64URL_NOPAD.decode(part.as_bytes()).is_ok()
        };
        let own = || Self { authority: authority.to_owned(), serial: serial.to_owned() };
        (is_part(authority) && is_part(serial)).then(own).ok_or(CertificateIdError)
    }
}

impl Connection {
    /// When the CA wants the certificate to be renewed; none where it does not say such things.
    ///
    /// # Errors
    /// [`AcmeError`]. What it says is not believed where the window ends before it starts.
    pub async fn renewal_advice(
        &self,
        certificate: &CertificateId,
    ) -> Result<Option<RenewalAdvice>, AcmeError> {
        let Some(base) = &self.directory().renewal_info else { return Ok(None) };
        let step = Step::RenewalInfo;
        let url = format!("{}/{certificate}", base.trim_end_matches('/'));
        let request = Request::builder()
            .uri(url)
            .body(Bytes::new())
            .map_err(|error| AcmeError::BadDirectory { detail: error.to_string().into() })?;
        let reply = self.transport().send(request).await;
        let reply = reply.map_err(|error| AcmeError::transport(step, error))?;
        if !reply.status.is_success() {
            return Err(refusal(step, &reply, None));
        }
        advice(&reply).map(Some).ok_or_else(|| nonsense(step, &reply))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    suggested_window: Window,
    #[serde(default, rename = "explanationURL")]
    explanation: Option<String>,
}

#[derive(Deserialize)]
struct Window {
    #[serde(with = "time::serde::rfc3339")]
    start: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    end: OffsetDateTime,
}

fn advice(reply: &Reply) -> Option<RenewalAdvice> {
    let Document { suggested_window, explanation } = serde_json::from_slice(&reply.body).ok()?;
    let Window { start, end } = suggested_window;
    let asked = reply.retry_after().unwrap_or_else(|| reply.at.saturating_add(ASK_AGAIN));
    let ask_again_at =
        asked.clamp(reply.at.saturating_add(SOONEST), reply.at.saturating_add(LATEST));
    let explanation = explanation.filter(|url| url.len() <= MAX_EXPLANATION);
    (start <= end).then_some(RenewalAdvice { start, end, explanation, ask_again_at })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode, header::RETRY_AFTER};

    use super::*;

    /// 100,000 s after 1970.
    fn reply(body: &'static str, retry_after: Option<&str>) -> Reply {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(RETRY_AFTER, value.parse().unwrap());
        }
        let at = OffsetDateTime::from_unix_timestamp(100_000).unwrap();
        Reply { status: StatusCode::OK, headers, body: Bytes::from(body), at }
    }

    const WINDOW: &str = r#"{"suggestedWindow": {"start": "2025-01-02T04:00:00Z",
        "end": "2025-01-03T04:00:00Z"}, "explanationURL": "https://ca.test/why"}"#;

    #[test]
    fn asks_again_when_the_ca_says_within_reason() {
        for (retry_after, seconds) in
            [(None, 21_600), (Some("21600"), 21_600), (Some("1"), 60), (Some("9999999"), 86_400)]
        {
            let advice = advice(&reply(WINDOW, retry_after)).unwrap();
            assert_eq!(advice.ask_again_at.unix_timestamp(), 100_000 + seconds, "{retry_after:?}");
            assert_eq!(advice.end - advice.start, Duration::days(1));
            assert_eq!(advice.explanation.as_deref(), Some("https://ca.test/why"));
        }
    }

    #[test]
    fn does_not_believe_a_window_that_ends_before_it_starts() {
        let turned = r#"{"suggestedWindow": {"start": "2025-01-03T04:00:00Z",
            "end": "2025-01-02T04:00:00Z"}}"#;
        for body in [turned, "{}", "<html>", r#"{"suggestedWindow": {"start": "x", "end": "y"}}"#] {
            assert_eq!(advice(&reply(body, None)), None, "{body}");
        }
    }

    #[test]
    fn an_id_is_two_parts_in_base64url() {
        // RFC 9773 section 4.1.
        let id = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE";
        assert_eq!(id.parse::<CertificateId>().unwrap().to_string(), id);
        for bad in ["", ".", "a.", "aYhb", "aYhb.AI.AI", "aYhb.A=", "aY/b.AIdl", "../aYhb.AIdl"] {
            assert_eq!(bad.parse::<CertificateId>(), Err(CertificateIdError), "{bad}");
        }
    }
}
