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

#[derive(Deserialize)]
struct Hostname {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

impl Property {
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
        let path = format!("/api/Property/{}/hostname", property.id);
        let known: Vec<Hostname> = self.list(&path).await?;
        if known.iter().any(|hostname| hostname.name == pattern) {
            return Ok(());
        }
        self.send::<Hostname>(Method::POST, &path, Some(json!({"name": pattern}))).await?;
        Ok(())
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
        let request = format!("{method} {path}");
        let builder = self.client.request(method, format!("{}{path}", self.base));
        let failed = |source| DemoError::Request { request: request.clone(), source };
        let answer = self.with_headers(builder, body).send().await.map_err(failed)?;
        let status = answer.status();
        let text = answer.text().await.map_err(failed)?;
        match serde_json::from_str(&text) {
            Ok(value) if status.is_success() => Ok(value),
            _ => {
                let body = text.chars().take(MAX_WORDS).collect();
                Err(DemoError::Answer { request, status, body })
            }
        }
    }

    fn with_headers(&self, builder: RequestBuilder, body: Option<Value>) -> RequestBuilder {
        let builder = builder.header("X-API-Key", &self.key);
        match body {
            Some(body) => builder.header("Content-Type", "application/json").body(body.to_string()),
            None => builder,
        }
    }
}
