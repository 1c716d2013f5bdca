//! A line. Its fields have the names of OpenTelemetry's semantic conventions, as far as there are
//! any; those of ours start with `landfall.`. No query, no cookie, no credential is among them.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Serialize, Serializer};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The most bytes of a path or of a client's words about itself.
const MAX_TEXT: usize = 2048;

/// A request that has ended.
#[derive(Debug, Serialize)]
pub(crate) struct Record<'a> {
    /// When it began.
    #[serde(rename = "timestamp", serialize_with = "rfc3339")]
    pub(crate) began: SystemTime,
    #[serde(rename = "landfall.request.id")]
    pub(crate) id: &'a str,
    #[serde(rename = "client.address", skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<IpAddr>,
    #[serde(rename = "client.port", skip_serializing_if = "Option::is_none")]
    pub(crate) client_port: Option<u16>,
    #[serde(rename = "http.request.method")]
    pub(crate) method: &'a str,
    #[serde(rename = "url.scheme")]
    pub(crate) scheme: &'static str,
    #[serde(rename = "server.address", skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<&'a str>,
    #[serde(rename = "url.path", serialize_with = "short")]
    pub(crate) path: &'a str,
    #[serde(rename = "network.protocol.name")]
    pub(crate) protocol: &'static str,
    #[serde(rename = "network.protocol.version")]
    pub(crate) version: &'static str,
    #[serde(rename = "tls.protocol.version", skip_serializing_if = "Option::is_none")]
    pub(crate) tls_version: Option<&'a str>,
    #[serde(rename = "tls.cipher", skip_serializing_if = "Option::is_none")]
    pub(crate) tls_cipher: Option<&'a str>,
    #[serde(
        rename = "user_agent.original",
        serialize_with = "short_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) user_agent: Option<&'a str>,
    #[serde(rename = "http.response.status_code", skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    /// Why it failed.
    #[serde(rename = "error.type", skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<&'a str>,
    #[serde(rename = "http.request.body.size")]
    pub(crate) received: u64,
    #[serde(rename = "http.response.body.size")]
    pub(crate) sent: u64,
    /// In seconds, to the end of the response.
    #[serde(rename = "http.server.request.duration", serialize_with = "seconds")]
    pub(crate) took: Duration,
    /// The entry that served it.
    #[serde(rename = "landfall.hostname", skip_serializing_if = "Option::is_none")]
    pub(crate) hostname: Option<&'a str>,
    #[serde(rename = "landfall.property", skip_serializing_if = "Option::is_none")]
    pub(crate) property: Option<i64>,
    #[serde(rename = "landfall.origin.address", skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<SocketAddr>,
    /// In seconds, to the header of the origin's response.
    #[serde(
        rename = "landfall.origin.duration",
        serialize_with = "seconds_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) origin_took: Option<Duration>,
}

impl Record<'_> {
    /// The second of its end, since 1970.
    pub(super) fn second(&self) -> u64 {
        let ended = self.began + self.took;
        ended.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}

fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let text = OffsetDateTime::from(*time).format(&Rfc3339).unwrap_or_default();
    serializer.serialize_str(&text)
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    // Microseconds are enough to read.
    serializer.serialize_f64((time.as_secs_f64() * 1e6).round() / 1e6)
}

fn seconds_if_any<S: Serializer>(
    time: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    seconds(&time.unwrap_or_default(), serializer)
}

fn short<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or_default())
}

fn short_if_any<S: Serializer>(text: &Option<&str>, serializer: S) -> Result<S::Ok, S::Error> {
    short(text.unwrap_or_default(), serializer)
}
