//! What the demo asks of the control plane's API.

use std::{net::SocketAddr, time::Duration};

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{DemoError, probe};

/// How long the control plane may take to start.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);
/// The most pages of a list that are read.
const MAX_PAGES: usize = 1_000;
/// The most of a body that is repeated in an error, in characters.
const MAX_WORDS: usize = 500;

/// A client with the demo's key.
pub(super) struct Api {
    base: String,
    key: String,
    client: Client,
}

/// A property as the API shows it.
#[derive(Clone, Deserialize)]
pub(super) struct Property {
    id: i64,
    pub(super) name: String,
    origins: Vec<Origin>,
}

#[derive(Clone, Deserialize)]
struct Origin {
    url: String,
}

/// A hostname as the API shows it.
#[derive(Deserialize)]
pub(super) struct Hostname {
    id: i64,
    pub(super) name: String,
    pub(super) status: HostnameStatus,
    pub(super) record: Option<Record>,
    pub(super) certificates: Vec<Certificate>,
}

/// What a hostname is served with.
#[derive(Deserialize)]
pub(super) struct Certificate {
    pub(super) issuer: String,
    /// `internal` or `authority`, as far as the demo makes any.
    pub(super) source: String,
}

/// Where a hostname stands.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(super) enum HostnameStatus {
    PendingValidation,
    Active,
    Error,
}

/// The DNS record that makes a hostname lead here.
#[derive(Deserialize)]
pub(super) struct Record {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) target: String,
}

/// What became of a request for a certificate.
pub(super) enum CertificateRequest {
    /// The hostname's DNS leads here.
    Granted(Hostname),
    /// It does not, or could not be looked up.
    Refused {
        status: StatusCode,
        /// What to change.
        detail: String,
    },
}

/// An error of the API.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

/// What the API answered.
struct Answer {
    /// Method and path of the request.
    request: String,
    status: StatusCode,
    text: String,
}

impl Answer {
    fn read_success<T: DeserializeOwned>(&self) -> Result<T, DemoError> {
        if self.status.is_success() { self.read() } else { Err(self.unexpected()) }
    }

    fn read<T: DeserializeOwned>(&self) -> Result<T, DemoError> {
        serde_json::from_str(&self.text).map_err(|_| self.unexpected())
    }

    fn unexpected(&self) -> DemoError {
        let body = self.text.chars().take(MAX_WORDS).collect();
        DemoError::Answer { request: self.request.clone(), status: self.status, body }
    }
}

impl Property {
    /// The path of its hostnames.
    fn hostnames(&self) -> String {
        format!("/api/Property/{}/hostname", self.id)
    }

    /// Where the control plane knows the property's origin.
    pub(super) fn origin(&self) -> Option<SocketAddr> {
        let url = &self.origins.first()?.url;
        url.strip_prefix("http://")?.trim_end_matches('/').parse().ok()
    }
}

impl Api {
    /// A client of the API at `address`.
    ///
    /// # Errors
    /// [`DemoError::Client`].
    pub(super) fn new(address: SocketAddr, key: &str) -> Result<Self, DemoError> {
        let client = Client::builder().timeout(REQUEST_TIMEOUT).no_proxy().build();
        let client = client.map_err(|source| DemoError::Client { source })?;
        Ok(Self { base: format!("http://{address}"), key: key.to_owned(), client })
    }

    /// Waits until the control plane answers.
    ///
    /// # Errors
    /// [`DemoError::Deadline`].
    pub(super) async fn wait_until_live(&self) -> Result<(), DemoError> {
        let start = Instant::now();
        loop {
            let answer = self.client.get(format!("{}/readyz", self.base)).send().await;
            let last = match answer {
                Ok(answer) if answer.status() == StatusCode::OK => return Ok(()),
                Ok(answer) => answer.status().to_string(),
                Err(error) => probe::words(&error),
            };
            if start.elapsed() > START_DEADLINE {
                let what = "the control plane is not ready".to_owned();
                let seconds = START_DEADLINE.as_secs();
                return Err(DemoError::Deadline { what, seconds, last });
            }
            sleep(PAUSE).await;
        }
    }

    /// Every property.
    ///
    /// # Errors
    /// [`DemoError::Request`] and [`DemoError::Answer`].
    pub(super) async fn properties(&self) -> Result<Vec<Property>, DemoError> {
        self.list("/api/Property").await
    }

    /// Creates a property with one origin.
    ///
    /// # Errors
    /// [`DemoError::Request`] and [`DemoError::Answer`].
    pub(super) async fn create_property(
        &self,
        name: &str,
        origin: SocketAddr,
    ) -> Result<Property, DemoError> {
        let body = json!({"name": name, "origins": [{"url": format!("http://{origin}")}]});
        self.send(Method::POST, "/api/Property", Some(body)).await
    }

    /// Creates the hostname where the property has none of that name.
    ///
    /// # Errors
    /// [`DemoError::Request`] and [`DemoError::Answer`].
    pub(super) async fn ensure_hostname(
        &self,
        property: &Property,
        pattern: &str,
    ) -> Result<(), DemoError> {
        if self.find_hostname(property, pattern).await?.is_none() {
            self.create_hostname(property, pattern).await?;
        }
        Ok(())
    }

    /// The property's hostname of that name.
    ///
    /// # Errors
    /// [`DemoError::Request`] and [`DemoError::Answer`].
    pub(super) async fn find_hostname(
        &self,
        property: &Property,
        pattern: &str,
    ) -> Result<Option<Hostname>, DemoError> {
        let known: Vec<Hostname> = self.list(&property.hostnames()).await?;
        Ok(known.into_iter().find(|hostname| hostname.name == pattern))
    }

    /// Adds a hostname to the property.
    ///
    /// # Errors
    /// [`DemoError::Request`] and [`DemoError::Answer`].
    pub(super) async fn create_hostname(
        &self,
        property: &Property,
        pattern: &str,
    ) -> Result<Hostname, DemoError> {
        let body = json!({"name": pattern});
        self.send(Method::POST, &property.hostnames(), Some(body)).await
    }

    /// Requests the hostname's certificate, for which its DNS is verified.
    ///
    /// # Errors
    /// [`DemoError::Request`], and [`DemoError::Answer`] for anything but a grant or a refusal with
    /// its reason.
    pub(super) async fn request_certificate(
        &self,
        property: &Property,
        hostname: &Hostname,
    ) -> Result<CertificateRequest, DemoError> {
        let path = format!("{}/{}/request-certificate", property.hostnames(), hostname.id);
        let refused =
            |status| matches!(status, StatusCode::BAD_REQUEST | StatusCode::SERVICE_UNAVAILABLE);
        let answer = self.exchange(Method::POST, &path, None).await?;
        if refused(answer.status) {
            let Problem { detail } = answer.read()?;
            return Ok(CertificateRequest::Refused { status: answer.status, detail });
        }
        Ok(CertificateRequest::Granted(answer.read_success()?))
    }

    async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, DemoError> {
        let mut items = Vec::new();
        let mut page = path.to_owned();
        for _ in 0..MAX_PAGES {
            let list: List<T> = self.send(Method::GET, &page, None).await?;
            items.extend(list.items);
            let Some(cursor) = list.next_cursor else { break };
            page = format!("{path}?cursor={cursor}");
        }
        Ok(items)
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<T, DemoError> {
        self.exchange(method, path, body).await?.read_success()
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, DemoError> {
        let request = format!("{method} {path}");
        let builder = self.client.request(method, format!("{}{path}", self.base));
        let failed = |source| DemoError::Request { request: request.clone(), source };
        let answer = self.with_headers(builder, body).send().await.map_err(failed)?;
        let status = answer.status();
        let text = answer.text().await.map_err(failed)?;
        Ok(Answer { request, status, text })
    }

    fn with_headers(&self, builder: RequestBuilder, body: Option<Value>) -> RequestBuilder {
        let builder = builder.header("X-API-Key", &self.key);
        match body {
            Some(body) => builder.header("Content-Type", "application/json").body(body.to_string()),
            None => builder,
        }
    }
}
