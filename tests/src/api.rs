use std::{net::SocketAddr, time::Duration};

use reqwest::{Client, Method};
use serde_json::{Value, json};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// An answer over HTTP.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// Reads a response to its end.
    ///
    /// # Errors
    /// The client's, as for a body that is cut short.
    pub async fn read(response: reqwest::Response) -> Result<Self, reqwest::Error> {
        let status = response.status().as_u16();
        Ok(Self { status, text: response.text().await? })
    }
}

/// A client of the control plane's API with one key.
#[derive(Clone)]
pub struct Api {
    base: String,
    key: String,
    client: Client,
}

impl Api {
    /// A client of the API at `address`.
    pub fn new(address: SocketAddr, key: &str) -> Self {
        let client = Client::builder().timeout(TIMEOUT).no_proxy().build().unwrap();
        Self { base: format!("http://{address}"), key: key.to_owned(), client }
    }

    /// Sends a request, with a body of JSON unless it is null, and expects nothing of the answer.
    ///
    /// # Errors
    /// The client's, where there is no answer.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Answer, reqwest::Error> {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        request = request.header("X-API-Key", &self.key);
        if !body.is_null() {
            request = request.header("Content-Type", "application/json").body(body.to_string());
        }
        Answer::read(request.send().await?).await
    }

    /// As [`Self::try_send`].
    ///
    /// # Panics
    /// Where there is no answer.
    pub async fn send(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.try_send(method, path, body).await.expect("the API answers")
    }

    /// Sends a body as it is and expects nothing of the answer.
    ///
    /// # Panics
    /// Where there is no answer.
    pub async fn send_body(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: String,
    ) -> Answer {
        let request = self.client.request(method, format!("{}{path}", self.base));
        let request = request.header("X-API-Key", &self.key).header("Content-Type", content_type);
        let response = request.body(body).send().await.expect("the API answers");
        Answer::read(response).await.expect("the API answers")
    }

    /// Sends a request whose answer must be a success, and returns its JSON.
    ///
    /// # Panics
    /// On any other answer.
    pub async fn must(&self, method: Method, path: &str, body: &Value) -> Value {
        let answer = self.send(method.clone(), path, body).await;
        let is_success = (200..300).contains(&answer.status);
        assert!(is_success, "{method} {path}: {} {}", answer.status, answer.text);
        answer.json()
    }

    /// Reads a resource.
    ///
    /// # Panics
    /// On any answer but success.
    pub async fn read(&self, path: &str) -> Value {
        self.must(Method::GET, path, &Value::Null).await
    }

    /// Creates a property with one origin and returns its id.
    ///
    /// # Panics
    /// On any answer but success.
    pub async fn create_property(&self, name: &str, origin: SocketAddr) -> i64 {
        let body = json!({"name": name, "origins": [{"url": format!("http://{origin}")}]});
        id(&self.must(Method::POST, "/api/Property", &body).await)
    }

    /// Adds a hostname or wildcard with the default TLS policy and returns its id.
    ///
    /// # Panics
    /// On any answer but success.
    pub async fn add_hostname(&self, property: i64, name: &str) -> i64 {
        let path = format!("/api/Property/{property}/hostname");
        id(&self.must(Method::POST, &path, &json!({"name": name})).await)
    }

    /// Removes a hostname.
    ///
    /// # Panics
    /// On any answer but success.
    pub async fn remove_hostname(&self, property: i64, hostname: i64) {
        let path = format!("/api/Property/{property}/hostname/{hostname}");
        self.must(Method::DELETE, &path, &Value::Null).await;
    }

    /// Uploads a certificate chain and its key, both PEM.
    pub async fn upload(&self, property: i64, hostname: i64, chain: &str, key: &str) -> Answer {
        let path = format!("/api/Property/{property}/hostname/{hostname}/certificate");
        self.send(Method::POST, &path, &json!({"certificate": chain, "privateKey": key})).await
    }
}

fn id(resource: &Value) -> i64 {
    resource["id"].as_i64().unwrap_or_else(|| panic!("no id in {resource}"))
}
