//! A proxy that counts what passes, and holds it, or answers in its place, as a test says.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request},
    response::{IntoResponse, Response},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use reqwest::Client;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    DEADLINE,
    acme::{LocalRoot, Pebble},
    free_ports, wait_until,
};

/// The largest body that passes, in bytes.
const MAX_BODY: usize = 8 << 20;
/// How much of what passes is remembered, in bytes.
const MAX_HEARD: usize = 64 << 20;

/// Stands between agents and a CA, or between edges and their control plane. Everything passes until a
/// test says otherwise.
///
/// What a CA is asked is called as RFC 8555 section 7.1.1 has it, and `authz`, `challenge`, `finalize`,
/// `order`, `certificate` beside that. What a control plane is asked is called `lease`, `renewal`, `feed`,
/// and for reports as their news are: `ordered`, `issued`, `failed`, ….
pub struct Checkpoint {
    port: u16,
    root: Option<LocalRoot>,
    identity: Option<Arc<ServerConfig>>,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

struct Shared {
    name: fn(&request::Parts, &[u8]) -> String,
    state: Mutex<State>,
}

struct State {
    upstream: Option<(String, Client)>,
    calls: BTreeMap<String, usize>,
    granted: BTreeMap<String, usize>,
    /// Bodies, both ways, as long as there is room for them.
    heard: Vec<(String, Bytes)>,
    room: usize,
    said: Option<(Vec<&'static str>, Instead)>,
    hold: Option<Arc<Hold>>,
    clock: Duration,
}

struct Hold {
    call: &'static str,
    moment: Moment,
    stage: watch::Sender<Stage>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waits,
    Holds,
    Released,
}

/// When a call is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before it is passed on. It never is where the caller goes away.
    Before,
    /// Once it was done, and before its answer is passed on.
    After,
}

/// What a caller hears in place of the answer.
#[derive(Clone, Debug)]
pub enum Instead {
    /// This status, these headers and this body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Nothing, ever.
    Silence,
}

impl Checkpoint {
    /// In front of a CA, which tells callers that it is here.
    ///
    /// # Panics
    /// Where it can't listen.
    pub async fn before_ca(pebble: &Pebble) -> Self {
        let root = LocalRoot::new();
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = root.write_identity(folder.path());
        let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let identity = builder.with_single_cert(chain, key).unwrap();
        let mut checkpoint = Self::new(acme_call);
        (checkpoint.root, checkpoint.identity) = (Some(root), Some(Arc::new(identity)));
        let directory = pebble.authority().directory;
        let base = directory.trim_end_matches("/dir").to_owned();
        checkpoint.shared.state.lock().unwrap().upstream = Some((base, pebble.client()));
        checkpoint.open().await;
        checkpoint
    }

    /// In front of a control plane that is yet to be started: [`Self::lead_to`] says where it is.
    ///
    /// # Panics
    /// Where it can't listen.
    pub async fn before_control() -> Self {
        let mut checkpoint = Self::new(control_call);
        checkpoint.open().await;
        checkpoint
    }

    fn new(name: fn(&request::Parts, &[u8]) -> String) -> Self {
        let [port] = free_ports();
        let state = State {
            upstream: None,
            calls: BTreeMap::new(),
            granted: BTreeMap::new(),
            heard: Vec::new(),
            room: MAX_HEARD,
            said: None,
            hold: None,
            clock: Duration::ZERO,
        };
        let shared = Arc::new(Shared { name, state: Mutex::new(state) });
        Self { port, root: None, identity: None, shared, listener: None }
    }

    /// Passes what comes on to this address.
    ///
    /// # Panics
    /// Never: a client can be made.
    pub fn lead_to(&self, address: SocketAddr) {
        let client = Client::builder().no_proxy().build().unwrap();
        self.state(|state| state.upstream = Some((format!("http://{address}"), client)));
    }

    /// Where it listens, as in `https://127.0.0.1:12345`.
    pub fn url(&self) -> String {
        let scheme = if self.root.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// The root that it is verified with, as PEM.
    ///
    /// # Panics
    /// In front of a control plane: it has none.
    pub fn root(&self) -> &str {
        self.root.as_ref().expect("it stands in front of a CA").pem()
    }

    /// Refuses every connection from now on, and breaks those that are there.
    pub async fn close(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.abort();
            // It is over once the task is: it is cancelled, which is no failure.
            let _ = listener.await;
        }
    }

    /// Takes connections again.
    ///
    /// # Panics
    /// Where it can't listen.
    pub async fn open(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        let acceptor = self.identity.clone().map(TlsAcceptor::from);
        self.listener = Some(tokio::spawn(accept(listener, acceptor, Arc::clone(&self.shared))));
    }

    /// How often it was asked this.
    pub fn calls(&self, call: &str) -> usize {
        self.state(|state| state.calls.get(call).copied().unwrap_or_default())
    }

    /// How often the other side did what it was asked: it answered with a success.
    pub fn granted(&self, call: &str) -> usize {
        self.state(|state| state.granted.get(call).copied().unwrap_or_default())
    }

    /// Every body that passed so far, both ways, by what the call is called: the first 64 MiB.
    pub fn heard(&self) -> Vec<(String, Bytes)> {
        self.state(|state| state.heard.clone())
    }

    /// How often it was asked anything.
    pub fn all_calls(&self) -> usize {
        self.state(|state| state.calls.values().sum())
    }

    /// Everything that it was asked, by what it is called.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        self.state(|state| state.calls.clone())
    }

    /// Answers these calls by itself from now on; with none named, all.
    pub fn say(&self, calls: &[&'static str], instead: Instead) {
        self.state(|state| state.said = Some((calls.to_vec(), instead)));
    }

    /// Lets everything pass again.
    pub fn pass(&self) {
        self.state(|state| state.said = None);
    }

    /// Shows a clock that is ahead by so much.
    pub fn set_clock_ahead(&self, by: Duration) {
        self.state(|state| state.clock = by);
    }

    /// Holds the next call of this name, and that one alone.
    pub fn hold(&self, call: &'static str, moment: Moment) {
        let hold = Hold { call, moment, stage: watch::Sender::new(Stage::Waits) };
        self.state(|state| state.hold = Some(Arc::new(hold)));
    }

    /// Waits until the call that is to be held is.
    ///
    /// # Panics
    /// Where none is to be held, and after twice [`DEADLINE`].
    pub async fn wait_until_held(&self) {
        let hold = self.state(|state| state.hold.clone()).expect("a call is to be held");
        let mut stage = hold.stage.subscribe();
        let held = timeout(DEADLINE * 2, stage.wait_for(|stage| *stage != Stage::Waits)).await;
        assert!(held.is_ok(), "no {} came; there were {:?}", hold.call, self.counts());
    }

    /// Lets the call pass that is held, and others.
    pub fn release(&self) {
        if let Some(hold) = self.state(|state| state.hold.take()) {
            hold.stage.send_replace(Stage::Released);
        }
    }

    /// Waits until it was asked this so often.
    ///
    /// # Panics
    /// After [`DEADLINE`].
    pub async fn wait_for_calls(&self, call: &str, least: usize) {
        wait_until(&format!("{least} of {call}"), DEADLINE, async || {
            (self.calls(call) >= least).then_some(())
        })
        .await;
    }

    fn state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.shared.state.lock().unwrap())
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("=== {} was asked {:?}", self.url(), self.counts());
        }
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}

impl Shared {
    async fn handle(&self, request: Request) -> Response {
        let (head, body) = request.into_parts();
        let Ok(body) = to_bytes(body, MAX_BODY).await else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        let call = (self.name)(&head, &body);
        let (instead, hold) = {
            let mut state = self.state.lock().unwrap();
            *state.calls.entry(call.clone()).or_default() += 1;
            let is_said = |calls: &[&str]| calls.is_empty() || calls.contains(&call.as_str());
            let said = state.said.as_ref().filter(|(calls, _)| is_said(calls));
            let instead = said.map(|(_, instead)| instead.clone());
            (instead, state.hold.clone().filter(|hold| hold.call == call))
        };
        match instead {
            Some(Instead::Silence) => std::future::pending().await,
            Some(Instead::Answer(status, headers, body)) => answer(status, headers, body),
            None => self.passed(call, (head, body), hold).await,
        }
    }

    async fn passed(
        &self,
        call: String,
        (head, body): (request::Parts, Bytes),
        hold: Option<Arc<Hold>>,
    ) -> Response {
        if let Some(hold) = &hold {
            hold.until_released(Moment::Before).await;
        }
        let (upstream, clock) = {
            let state = self.state.lock().unwrap();
            (state.upstream.clone(), state.clock)
        };
        let Some((base, client)) = upstream else {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        };
        self.state.lock().unwrap().hear(&call, &body);
        let (status, headers, body) = forward(&base, &client, head, body, clock).await;
        self.state.lock().unwrap().hear(&call, &body);
        let response = (status, headers, Body::from(body)).into_response();
        if status.is_success() {
            *self.state.lock().unwrap().granted.entry(call).or_default() += 1;
            if let Some(hold) = &hold {
                hold.until_released(Moment::After).await;
            }
        }
        response
    }
}

impl State {
    fn hear(&mut self, call: &str, body: &Bytes) {
        if let Some(left) = self.room.checked_sub(body.len()) {
            self.room = left;
            self.heard.push((call.to_owned(), body.clone()));
        }
    }
}

impl Hold {
    /// One call is held, and no second one.
    async fn until_released(&self, moment: Moment) {
        let is_held = moment == self.moment
            && self.stage.send_if_modified(|stage| {
                let is_first = *stage == Stage::Waits;
                if is_first {
                    *stage = Stage::Holds;
                }
                is_first
            });
        if is_held {
            // The sender lives as long as this.
            let _ = self.stage.subscribe().wait_for(|stage| *stage == Stage::Released).await;
        }
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    // Dropped with this task, and then they end.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            match tls {
                None => serve(stream, shared).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) = timeout(DEADLINE, tls.accept(stream)).await {
                        serve(stream, shared).await;
                    }
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, shared: Arc<Shared>) {
    let handle = move |request: Request| {
        let shared = Arc::clone(&shared);
        async move { shared.handle(request).await }
    };
    let service = TowerToHyperService::new(Router::new().fallback(handle));
    let builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    // A caller that was killed leaves in the middle.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// Passes a call on with the name of whom the caller asked, so that what comes back leads here.
async fn forward(
    base: &str,
    client: &Client,
    head: request::Parts,
    body: Bytes,
    clock: Duration,
) -> (StatusCode, HeaderMap, Bytes) {
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let headers = end_to_end(head.headers);
    let request = client.request(head.method, format!("{base}{path}")).headers(headers).body(body);
    let unanswered = (StatusCode::BAD_GATEWAY, HeaderMap::new(), Bytes::new());
    let Ok(response) = request.send().await else { return unanswered };
    let (status, mut headers) = (response.status(), end_to_end(response.headers().clone()));
    if !clock.is_zero() {
        headers.insert(header::DATE, date(clock));
    }
    match response.bytes().await {
        Ok(body) => (status, headers, body),
        Err(_) => unanswered,
    }
}

fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    for hop in [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        headers.remove(hop);
    }
    headers
}

fn answer(status: u16, headers: Vec<(&'static str, String)>, body: String) -> Response {
    let header = |(name, value): (&'static str, String)| {
        (HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap())
    };
    let headers: HeaderMap = headers.into_iter().map(header).collect();
    (StatusCode::from_u16(status).unwrap(), headers, body).into_response()
}

/// RFC 9110 section 5.6.7.
fn date(ahead: Duration) -> HeaderValue {
    let now = OffsetDateTime::now_utc() + ahead;
    HeaderValue::from_str(&now.format(&Rfc2822).unwrap().replace("+0000", "GMT")).unwrap()
}

/// As pebble's paths have it.
fn acme_call(head: &request::Parts, _: &[u8]) -> String {
    let first = head.uri.path().split('/').nth(1).unwrap_or_default();
    let name = match first {
        "dir" => "directory",
        "nonce-plz" => "newNonce",
        "sign-me-up" => "newAccount",
        "my-account" => "account",
        "order-plz" => "newOrder",
        "my-order" => "order",
        "authZ" => "authz",
        "chalZ" => "challenge",
        "finalize-order" => "finalize",
        "certZ" => "certificate",
        "revoke-cert" => "revokeCert",
        "rollover-account-key" => "keyChange",
        own if own.contains("renewalInfo") || own.contains("ari") => "renewalInfo",
        other => other,
    };
    name.to_owned()
}

/// As the paths of the API for PoPs have it, and news in JSON.
fn control_call(head: &request::Parts, body: &[u8]) -> String {
    match head.uri.path() {
        "/agent/v1/lease" => "lease".to_owned(),
        "/agent/v1/renewal" => "renewal".to_owned(),
        "/agent/v1/report" => {
            let report: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
            report["news"]["news"].as_str().unwrap_or("report").to_owned()
        }
        _ => "feed".to_owned(),
    }
}
