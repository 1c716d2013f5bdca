//! The CAs' directories: read once, kept for a while.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use landfall_model::issuance::Authority;
use serde::Deserialize;
use tokio::time::Instant;

use super::{
    error::AcmeError,
    http::{Reply, Transport, TransportError},
    refusal::{nonsense, refusal},
    url::UrlRule,
};
use crate::failure::Step;

/// For how long a directory is believed.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// By how much our clock may differ from the CA's. Certificates are dated back by an hour, and what a
/// CA says of times is meant to the minute.
const CLOCK_TOLERANCE: time::Duration = time::Duration::minutes(5);
/// The most CAs that are known at once.
const MAX_CONNECTIONS: usize = 32;

/// What a CA offers, and where (RFC 8555 section 7.1.1).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Directory {
    pub(crate) new_nonce: String,
    pub(crate) new_account: String,
    new_order: String,
    pub(crate) revoke_cert: Option<String>,
    pub(crate) key_change: Option<String>,
    pub(crate) renewal_info: Option<String>,
    #[serde(default)]
    pub(crate) meta: Meta,
}

/// What else the directory says.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Meta {
    external_account_required: bool,
    profiles: BTreeMap<String, serde_json::Value>,
    caa_identities: Vec<String>,
}

impl Directory {
    fn parse(reply: &Reply, rule: UrlRule) -> Result<Self, AcmeError> {
        if !reply.status.is_success() {
            return Err(refusal(Step::Directory, reply, None));
        }
        let bad = |detail: String| AcmeError::BadDirectory { detail: detail.into() };
        let directory: Self = serde_json::from_slice(&reply.body).map_err(|error| {
            let AcmeError::Nonsense { excerpt, .. } = nonsense(Step::Directory, reply) else {
                return bad(error.to_string());
            };
            bad(format!("{error}; it begins with {:?}", excerpt.as_str()))
        })?;
        let optional = [&directory.revoke_cert, &directory.key_change, &directory.renewal_info];
        let required = [&directory.new_nonce, &directory.new_account, &directory.new_order];
        for url in required.into_iter().chain(optional.into_iter().flatten()) {
            rule.read(url).map_err(|error| bad(error.to_string()))?;
        }
        Ok(directory)
    }
}

/// Connects to CAs, and keeps their directories for an hour.
#[derive(Debug, Default)]
pub struct Connector {
    known: Mutex<Vec<Known>>,
}

#[derive(Debug)]
struct Known {
    directory: String,
    roots: Option<String>,
    since: Instant,
    connection: Connection,
}

impl Connector {
    /// Knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Connects to a CA: reads its directory, unless that was done within the last hour.
    ///
    /// # Errors
    /// [`AcmeError::BadDirectory`] for roots that are not PEM, a URL where no CA is asked ([`UrlRule`])
    /// and what is no directory; otherwise as for every answer of a CA.
    pub async fn connect(&self, authority: &Authority) -> Result<Connection, AcmeError> {
        if let Some(known) = self.known(authority) {
            return Ok(known);
        }
        let connection = Connection::open(authority).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|other| !other.is(authority));
        if known.len() >= MAX_CONNECTIONS {
            // The oldest.
            known.remove(0);
        }
        known.push(Known {
            directory: authority.directory.clone(),
            roots: authority.roots.clone(),
            since: Instant::now(),
            connection: connection.clone(),
        });
        Ok(connection)
    }

    fn known(&self, authority: &Authority) -> Option<Connection> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let own = known.iter().find(|known| known.is(authority))?;
        // A clock that was off may be right by now: the CA is asked again.
        let is_fresh = own.since.elapsed() < MAX_AGE && own.connection.clock_off().is_none();
        is_fresh.then(|| own.connection.clone())
    }
}

impl Known {
    fn is(&self, authority: &Authority) -> bool {
        self.directory == authority.directory && self.roots == authority.roots
    }
}

/// A CA whose directory is known.
#[derive(Clone)]
pub struct Connection {
    inner: Arc<Inner>,
}

struct Inner {
    transport: Transport,
    url: String,
    directory: Directory,
    document: Bytes,
}

impl Connection {
    async fn open(authority: &Authority) -> Result<Self, AcmeError> {
        let failed = |error| AcmeError::transport(Step::Directory, error);
        let transport = Transport::new(&authority.directory, authority.roots.as_deref());
        let transport = transport.map_err(failed)?;
        let rule = transport.rule();
        let url = rule.read(&authority.directory).map_err(TransportError::Url);
        let url = url.map_err(failed)?.to_string();
        let request = Request::builder().uri(&url).body(Bytes::new());
        let request = request
            .map_err(|error| AcmeError::BadDirectory { detail: error.to_string().into() })?;
        let reply = transport.send(request).await.map_err(failed)?;
        let directory = Directory::parse(&reply, rule)?;
        Ok(Self { inner: Arc::new(Inner { transport, url, directory, document: reply.body }) })
    }

    /// Whether an account must be bound to a customer of the CA (RFC 8555 section 7.3.4).
    pub fn needs_external_account(&self) -> bool {
        self.inner.directory.meta.external_account_required
    }

    /// Whether the CA says when to renew (RFC 9773).
    pub fn advises_renewal(&self) -> bool {
        self.inner.directory.renewal_info.is_some()
    }

    /// The names of the profiles that an order may ask for.
    pub fn profiles(&self) -> impl Iterator<Item = &str> {
        self.inner.directory.meta.profiles.keys().map(String::as_str)
    }

    /// The domains that stand for this CA in CAA records (RFC 8659), as it says itself.
    pub fn caa_identities(&self) -> &[String] {
        &self.inner.directory.meta.caa_identities
    }

    /// How much later it is by the CA's clock than by this machine's, as of its last answer, to the
    /// second; none where it has not said. An answer may have been under way for a while: less than a
    /// minute says nothing.
    pub fn clock_offset(&self) -> Option<time::Duration> {
        self.inner.transport.clock_offset()
    }

    /// As [`Self::clock_offset`], where it is more than may be.
    pub(crate) fn clock_off(&self) -> Option<time::Duration> {
        self.clock_offset().filter(|offset| offset.abs() > CLOCK_TOLERANCE)
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.inner.directory
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.inner.transport
    }

    /// The directory's URL, and what stood there.
    pub(crate) fn document(&self) -> (&str, &Bytes) {
        (&self.inner.url, &self.inner.document)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.inner.url).finish()
    }
}
