//! A control plane in this process, on a port and in a folder of its own.

pub(crate) mod responder;

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    path::Path,
    sync::LazyLock,
    time::{Duration, Instant},
};

use landfall_control::{
    Control, ControlError,
    admin::{self, Grant, PopEnrolment, Scope},
    config::{ControlConfig, RawControlConfig},
};
use landfall_feed::{
    page::{PageKind, VerifiedPage},
    protocol::{Ack, AckReply, CHANGES_PATH},
    record::{Body, HostnameRecord, PropertyRecord, Record, WireRecord},
};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};
use zeroize::Zeroizing;

/// What a key may be for.
pub(crate) const EVERYTHING: Grant =
    Grant { scope: Scope::Admin, property: None, expires_at: None };
/// How long anything may take here.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A resolver that takes questions and says nothing.
static SILENT: LazyLock<UdpSocket> = LazyLock::new(|| UdpSocket::bind("127.0.0.1:0").unwrap());

pub(crate) struct Plane {
    pub(crate) dir: TempDir,
    pub(crate) config: ControlConfig,
    pub(crate) address: SocketAddr,
    pub(crate) dns: Vec<SocketAddr>,
    pub(crate) client: Client,
    key: Zeroizing<String>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ControlError>>,
}

/// A config in `dir`, with the fields of `changes` in the place of the defaults.
pub(crate) fn config(dir: &Path, changes: Value) -> ControlConfig {
    let mut raw = json!({
        "system_domain": "edge.test",
        "api": {"listen": "127.0.0.1:0"},
        "state": {"directory": "state"},
        "keys": {"group_public_key_file": "group.pub"},
        // Tests' PoPs read the feed, and serve nothing.
        "watch": {"handshakes": false},
        "origins": {"allow_networks": ["127.0.0.0/8"]},
        // Nobody answers there: what is pending stays so, and a check takes its whole time.
        "dns": {"resolvers": [SILENT.local_addr().unwrap()]},
    });
    for (key, value) in changes.as_object().unwrap() {
        raw[key] = value.clone();
    }
    let api = raw["api"].as_object_mut().unwrap();
    let limits = ["rate_limit", "rate_burst", "property_rate_limit", "property_rate_burst"];
    for limit in limits.into_iter().chain(["failed_auth_limit"]) {
        // Tests ask faster than a client does.
        api.entry(limit).or_insert(json!(1_000_000));
    }
    let raw: RawControlConfig = serde_json::from_value(raw).unwrap();
    raw.check(dir).unwrap()
}

impl Plane {
    pub(crate) async fn start() -> Self {
        Self::start_with(json!({})).await
    }

    pub(crate) async fn start_with(changes: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        admin::init_group_keys(dir.path()).unwrap();
        let config = config(dir.path(), changes);
        let key = admin::add_api_key(&config, "test", EVERYTHING).await.unwrap();
        Self::run(dir, config, key).await
    }

    async fn run(dir: TempDir, config: ControlConfig, key: Zeroizing<String>) -> Self {
        // Of the one before, a child that another test starts may still have the lock: until it is another
        // program.
        let control = eventually(async || match Control::bind(config.clone()).await {
            Err(ControlError::InUse { .. }) => None,
            bound => Some(bound.unwrap()),
        })
        .await;
        let (address, dns) = (control.address(), control.dns_addresses());
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let task = tokio::spawn(control.serve(shutdown));
        let client = Client::builder().no_proxy().timeout(DEADLINE).build().unwrap();
        Self { dir, config, address, dns, client, key, stop, task }
    }

    /// Stops in an orderly way, lets `meanwhile` happen, and starts anew in the same folder.
    pub(crate) async fn restart(self, meanwhile: impl AsyncFnOnce(&Path)) -> Self {
        let Self { dir, config, key, stop, task, .. } = self;
        stop.send(()).unwrap();
        within(task).await.unwrap().unwrap();
        meanwhile(dir.path()).await;
        Self::run(dir, config, key).await
    }

    pub(crate) async fn stop(self) -> TempDir {
        self.stop.send(()).unwrap();
        within(self.task).await.unwrap().unwrap();
        self.dir
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path)).header("x-api-key", self.key.as_str())
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        answer(with_json(self.request(Method::POST, path), body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        answer(with_json(self.request(Method::PATCH, path), body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::DELETE, path)).await
    }

    /// Adds a property, and answers its path.
    pub(crate) async fn property(&self, name: &str) -> String {
        let body = json!({"name": name, "origins": [{"url": "http://127.0.0.1:9001"}]});
        let (status, property) = self.post("/api/Property", &body).await;
        assert_eq!(status, StatusCode::CREATED, "{property}");
        format!("/api/Property/{}", property["id"])
    }

    /// Adds a hostname to the property at `path`, and answers its path.
    pub(crate) async fn hostname(&self, path: &str, name: &str) -> String {
        let (status, hostname) =
            self.post(&format!("{path}/hostname"), &json!({"name": name})).await;
        assert_eq!(status, StatusCode::CREATED, "{hostname}");
        format!("{path}/hostname/{}", hostname["id"])
    }

    /// Waits until exactly `count` long polls wait.
    pub(crate) async fn long_polls(&self, count: u32) {
        let line = format!("landfall_feed_long_polls {count}\n");
        eventually(async || {
            let response = self.client.get(self.url("/metrics")).send().await.unwrap();
            response.text().await.unwrap().contains(&line).then_some(())
        })
        .await;
    }

    pub(crate) async fn pop(&self, name: &str) -> Pop {
        self.pop_at(name, "192.0.2.1".parse().unwrap()).await
    }

    pub(crate) async fn pop_at(&self, name: &str, address: IpAddr) -> Pop {
        let enrolment = admin::add_pop(&self.config, name, &[address]).await.unwrap();
        Pop { enrolment, client: self.client.clone(), base: self.url("") }
    }
}

pub(crate) fn with_json(request: RequestBuilder, body: &Value) -> RequestBuilder {
    request.header("content-type", "application/json").body(body.to_string())
}

/// The status and body. Every error must be a problem that repeats its status.
pub(crate) async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    read(request.send().await.unwrap()).await
}

pub(crate) async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let media_type = response.headers().get("content-type").cloned();
    let text = response.text().await.unwrap();
    let body: Value = match text.is_empty() {
        true => Value::Null,
        false => serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}")),
    };
    if status.is_client_error() || status.is_server_error() {
        assert_eq!(media_type.unwrap(), "application/problem+json", "{body}");
        assert_eq!(body["status"], status.as_u16());
        for member in ["type", "title", "detail", "code"] {
            assert!(body[member].is_string(), "{member} of {body}");
        }
    }
    (status, body)
}

/// A PoP that reads the feed.
pub(crate) struct Pop {
    pub(crate) enrolment: PopEnrolment,
    client: Client,
    base: String,
}

impl Pop {
    /// The same at a control plane that was started anew.
    pub(crate) fn at(self, plane: &Plane) -> Self {
        Self { base: plane.url(""), ..self }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.base);
        self.client.request(method, url).bearer_auth(self.enrolment.token.as_str())
    }

    pub(crate) async fn changes(&self, epoch: u64, after: u64, more: &str) -> Response {
        let path = format!("{CHANGES_PATH}?epoch={epoch}&after={after}{more}");
        self.request(Method::GET, &path).send().await.unwrap()
    }

    /// A page of changes, verified.
    pub(crate) async fn page(&self, epoch: u64, after: u64, more: &str) -> VerifiedPage {
        let response = self.changes(epoch, after, more).await;
        assert_eq!(response.status(), StatusCode::OK);
        self.verify(response, PageKind::Changes).await
    }

    pub(crate) async fn verify(&self, response: Response, kind: PageKind) -> VerifiedPage {
        let bytes = response.bytes().await.unwrap();
        VerifiedPage::open(&bytes, &[self.enrolment.signing_key], kind).unwrap()
    }

    /// The epoch that the feed is in, as a snapshot tells.
    pub(crate) async fn epoch(&self) -> u64 {
        let response = self.request(Method::GET, "/feed/v1/snapshot").send().await.unwrap();
        self.verify(response, PageKind::Manifest).await.header().epoch.0
    }

    /// The revision that the feed is at.
    pub(crate) async fn head(&self, epoch: u64) -> u64 {
        let mut head = 0;
        loop {
            let response = self.changes(epoch, head, "").await;
            if response.status() == StatusCode::NOT_MODIFIED {
                return head;
            }
            head = self.verify(response, PageKind::Changes).await.header().to.0;
        }
    }

    /// Every record after `after`.
    pub(crate) async fn records(&self, epoch: u64, after: u64) -> Vec<Record> {
        records(&self.page(epoch, after, "").await)
    }

    pub(crate) async fn ack(&self, ack: &Ack) -> AckReply {
        let body = serde_json::to_value(ack).unwrap();
        let request = self.request(Method::POST, "/feed/v1/ack");
        let (status, reply) = answer(with_json(request, &body)).await;
        assert_eq!(status, StatusCode::OK, "{reply}");
        serde_json::from_value(reply).unwrap()
    }
}

pub(crate) fn records(page: &VerifiedPage) -> Vec<Record> {
    let decode = |bytes: Vec<u8>| WireRecord::read(&bytes).unwrap().decode().unwrap();
    page.records().unwrap().into_iter().map(decode).collect()
}

/// The ids of what tests publish: secrets for tickets come by themselves.
pub(crate) fn ids(records: &[Record]) -> Vec<&str> {
    let ids = records.iter().map(|record| record.id.as_str());
    ids.filter(|id| !id.starts_with("tickets/")).collect()
}

/// The record of the property with this id among `records`.
pub(crate) fn property_record(records: &[Record], id: i64) -> PropertyRecord {
    let id = format!("property/{id}");
    let record = records.iter().find(|record| record.id == id).unwrap_or_else(|| panic!("{id}"));
    let Body::Property(property) = &record.body else { panic!("{record:?}") };
    property.clone()
}

/// The hostname record of `name` among `records`.
pub(crate) fn hostname_record(records: &[Record], name: &str) -> HostnameRecord {
    let id = format!("hostname/{name}");
    let record = records.iter().find(|record| record.id == id).unwrap_or_else(|| panic!("{id}"));
    let Body::Hostname(hostname) = &record.body else { panic!("{record:?}") };
    hostname.clone()
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("not done in time")
}

/// Asks again and again until `condition` gives something.
pub(crate) async fn eventually<T>(condition: impl AsyncFn() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(started.elapsed() < DEADLINE, "the condition never came true");
        tokio::task::yield_now().await;
    }
}

/// The database of the plane whose folder this is.
pub(crate) async fn database(directory: &Path) -> SqliteConnection {
    let url = format!("sqlite://{}", directory.join("state/control.db").display());
    SqliteConnection::connect(&url).await.unwrap()
}
