//! The HTTP client that a CA is asked with: bounded in time and size, and nothing is lost of what is
//! answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode, header};
use reqwest::{Certificate, Client, redirect};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

use super::url::{UrlError, UrlRule};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For a whole request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// The largest body that is read, in bytes.
const MAX_BODY: usize = 1024 * 1024;
/// The longest time that a CA may ask to wait, in seconds: beyond it, it is a mistake.
const MAX_RETRY_AFTER: i64 = 30 * 24 * 3600;
/// The most links of one kind that are followed.
const MAX_LINKS: usize = 8;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// There is no certificate among the roots: nothing would be trusted.
    #[error("the CA's roots hold no certificate in PEM")]
    NoRoots,
    /// The roots can't be read, or TLS not be set up with them.
    #[error("TLS can't be set up with the CA's roots")]
    Setup(#[source] reqwest::Error),
    /// A URL that this CA is not asked at.
    #[error("the CA is not asked there")]
    Url(#[source] UrlError),
    /// The name does not resolve, nobody listens, or the CA's certificate is not trusted.
    #[error("no connection to the CA")]
    Connect(#[source] reqwest::Error),
    /// There was no whole answer in time.
    #[error("the CA did not answer within {} seconds", limit.as_secs())]
    Timeout {
        /// For how long it was waited.
        limit: Duration,
        /// What was still to come.
        #[source]
        source: reqwest::Error,
    },
    /// The connection ended within the answer.
    #[error("the connection to the CA broke")]
    Broken(#[source] reqwest::Error),
    /// The answer is larger than 1 MiB.
    #[error("the CA's answer is larger than {MAX_BODY} bytes")]
    TooLarge,
}

impl From<reqwest::Error> for TransportError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_connect() {
            return Self::Connect(error);
        }
        if error.is_timeout() {
            return Self::Timeout { limit: REQUEST_TIMEOUT, source: error };
        }
        Self::Broken(error)
    }
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// When it was there.
    pub(crate) at: OffsetDateTime,
}

impl Reply {
    /// When the CA may be asked again, as an absolute time (RFC 9110 section 10.2.3).
    pub(crate) fn retry_after(&self) -> Option<OffsetDateTime> {
        parse_retry_after(self.text(&header::RETRY_AFTER)?, self.at)
    }

    /// The URL of what was made.
    pub(crate) fn location(&self) -> Option<&str> {
        self.text(&header::LOCATION)
    }

    /// What the next request may be signed with (RFC 8555 section 6.5).
    pub(crate) fn nonce(&self) -> Option<&str> {
        self.headers.get("replay-nonce")?.to_str().ok()
    }

    /// Other forms of the same, as of a certificate chain (RFC 8555 section 7.4.2).
    pub(crate) fn alternates(&self) -> Vec<String> {
        let links = self.headers.get_all(header::LINK).iter().filter_map(|link| link.to_str().ok());
        let parts = links.flat_map(|link| link.split(','));
        parts.filter_map(alternate).take(MAX_LINKS).map(str::to_owned).collect()
    }

    /// What the CA's clock said (RFC 9110 section 6.6.1).
    fn date(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::parse(self.text(&header::DATE)?, &Rfc2822).ok()
    }

    fn text(&self, name: &header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The URL of one part of a `Link` header, where it is an alternate (RFC 8288 section 3).
fn alternate(part: &str) -> Option<&str> {
    let (url, parameters) = part.trim().strip_prefix('<')?.split_once('>')?;
    let is_alternate = |parameter: &str| {
        let (name, value) = parameter.trim().split_once('=').unwrap_or_default();
        name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"') == "alternate"
    };
    parameters.split(';').any(is_alternate).then_some(url)
}

/// Both forms: seconds from now, and a date.
fn parse_retry_after(text: &str, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let text = text.trim();
    let latest = now.saturating_add(time::Duration::seconds(MAX_RETRY_AFTER));
    let at = match text.parse::<u32>() {
        Ok(seconds) => now.saturating_add(time::Duration::seconds(i64::from(seconds))),
        Err(_) => OffsetDateTime::parse(text, &Rfc2822).ok()?,
    };
    Some(at.min(latest))
}

/// Asks one CA, verified with its own roots.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    client: Client,
    rule: UrlRule,
    /// The CA's clock against ours, in seconds; [`UNKNOWN`] until it was heard.
    offset: Arc<AtomicI64>,
}

const UNKNOWN: i64 = i64::MAX;

impl Transport {
    /// To a CA with this directory, with these roots (PEM), or the system's.
    pub(crate) fn new(directory: &str, roots: Option<&str>) -> Result<Self, TransportError> {
        let rule = UrlRule::of(directory).map_err(TransportError::Url)?;
        let mut builder = Client::builder()
            .user_agent(concat!("landfall/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(redirect::Policy::none())
            .no_proxy();
        if let Some(pem) = roots {
            let roots = Certificate::from_pem_bundle(pem.as_bytes());
            let roots = roots.map_err(TransportError::Setup)?;
            if roots.is_empty() {
                return Err(TransportError::NoRoots);
            }
            builder = builder.tls_certs_only(roots);
        }
        let client = builder.build().map_err(TransportError::Setup)?;
        Ok(Self { client, rule, offset: Arc::new(AtomicI64::new(UNKNOWN)) })
    }

    /// Where the CA may be asked.
    pub(crate) const fn rule(&self) -> UrlRule {
        self.rule
    }

    /// How much later it is by the CA's clock than by ours, as of its last answer.
    pub(crate) fn clock_offset(&self) -> Option<time::Duration> {
        let seconds = self.offset.load(Ordering::Relaxed);
        (seconds != UNKNOWN).then(|| time::Duration::seconds(seconds))
    }

    /// Sends a request and reads the whole answer, whatever its status.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Result<Reply, TransportError> {
        let (head, body) = request.into_parts();
        let url = self.rule.read(&head.uri.to_string()).map_err(TransportError::Url)?;
        let mut headers = head.headers;
        // The client has its own.
        headers.remove(header::USER_AGENT);
        let request = self.client.request(head.method.clone(), url.clone()).headers(headers);
        let mut response = request.body(body).send().await?;
        let mut body = BytesMut::new();
        while let Some(part) = response.chunk().await? {
            if body.len() + part.len() > MAX_BODY {
                return Err(TransportError::TooLarge);
            }
            body.extend_from_slice(&part);
        }
        let (status, headers) = (response.status(), response.headers().clone());
        tracing::debug!(method = %head.method, %url, status = status.as_u16(), "asked the CA");
        let reply = Reply { status, headers, body: body.freeze(), at: OffsetDateTime::now_utc() };
        if let Some(date) = reply.date() {
            self.offset.store((date - reply.at).whole_seconds(), Ordering::Relaxed);
        }
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_000_000_000).unwrap()
    }

    #[test]
    fn reads_both_forms_of_retry_after() {
        let seconds = |text| parse_retry_after(text, now()).map(OffsetDateTime::unix_timestamp);
        for (text, expected) in [
            ("120", Some(1_000_000_120)),
            (" 0 ", Some(1_000_000_000)),
            ("Sun, 09 Sep 2001 02:46:40 GMT", Some(1_000_003_600)),
            // In the past: at once.
            ("Fri, 31 Dec 1999 23:59:59 GMT", Some(946_684_799)),
            // Nobody is asked to wait for years.
            ("4294967295", Some(1_000_000_000 + MAX_RETRY_AFTER)),
            ("Fri, 31 Dec 2100 23:59:59 GMT", Some(1_000_000_000 + MAX_RETRY_AFTER)),
            ("99999999999999999999", None),
            ("soon", None),
            ("", None),
            ("-5", None),
        ] {
            assert_eq!(seconds(text), expected, "{text:?}");
        }
    }

    #[test]
    fn finds_the_alternates_among_links() {
        let mut headers = HeaderMap::new();
        for link in [
            r#"<https://ca.test/dir>;rel="index""#,
            r#"<https://ca.test/cert/1/1>;rel="alternate", <https://ca.test/cert/1/2>; rel=alternate"#,
            r#"https://ca.test/bad;rel="alternate""#,
        ] {
            headers.append(header::LINK, link.parse().unwrap());
        }
        let reply = Reply { status: StatusCode::OK, headers, body: Bytes::new(), at: now() };
        assert_eq!(reply.alternates(), ["https://ca.test/cert/1/1", "https://ca.test/cert/1/2"]);
    }
}
