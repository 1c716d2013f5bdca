//! A control plane that says what a test makes it say, signed with a key that the edge trusts.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path as UrlPath, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use landfall_feed::{
    page::{Manifest, PageKind, PageSpec, SegmentRef, Shrink, encode_manifest, encode_raw_records},
    protocol::{ACK_PATH, Ack, AckReply, AckState, CHANGES_PATH, ChangesQuery, SNAPSHOT_PATH},
    record::{
        CertificateRecord, HostnameRecord, HostnameState, PropertyRecord, TicketRecord, WireRecord,
        encode_record, tickets_id,
    },
    seal::{GroupPublicKey, sha256},
    sign::SigningKey,
};
use landfall_model::{
    CustomOrigin, Der, Epoch, HostnameId, OriginPool, PropertyId, Revision, Route, SealContext,
    TlsPolicy,
};
use tokio::{
    net::TcpListener,
    sync::Notify,
    time::{Instant, timeout_at},
};

use crate::issued::Issued;

/// The owner of every hostname of a scripted feed.
const PROPERTY: PropertyId = PropertyId(1);

/// A feed under a test's control: honest until it is told otherwise.
pub struct ScriptedFeed {
    shared: Arc<Shared>,
    address: SocketAddr,
}

struct Shared {
    state: Mutex<FeedState>,
    changed: Notify,
}

struct FeedState {
    key: SigningKey,
    epoch: Epoch,
    revision: Revision,
    shrink: Shrink,
    records: BTreeMap<String, (Revision, Vec<u8>)>,
    script: VecDeque<Said>,
    acks: Vec<Ack>,
}

/// What the feed answers to a poll, in place of the truth.
#[derive(Clone, Debug)]
pub enum Said {
    /// These bytes, with status 200.
    Bytes(Vec<u8>),
    /// This status and no body.
    Status(u16),
    /// Nothing at all: the connection stays open.
    Silence,
}

/// Makes records of hostnames, with keys sealed to a lab's group key.
pub struct Recorder {
    group: GroupPublicKey,
    origin: SocketAddr,
}

impl Recorder {
    /// Seals to the public key in `keys` (a folder of `landfall keys init`); requests go to `origin`.
    ///
    /// # Panics
    /// Where there is no such key.
    pub fn new(keys: &Path, origin: SocketAddr) -> Self {
        let text = fs::read_to_string(keys.join("group.pub")).unwrap();
        Self { group: GroupPublicKey::parse(&text).unwrap(), origin }
    }

    /// A hostname with a certificate.
    ///
    /// # Panics
    /// Where `name` is no hostname.
    pub fn hostname(&self, name: &str, issued: &Issued) -> HostnameRecord {
        let pattern = name.parse().unwrap();
        let spki = public_key_hash(&issued.leaf);
        let context = SealContext::PrivateKey { hostname: &pattern, spki_sha256: &spki };
        let key = self.group.seal(context, issued.key_der()).unwrap();
        let custom_origin = Some(CustomOrigin { server: self.origin.into(), sni: None });
        let route = Route { custom_origin, ..Route::to(PROPERTY) };
        HostnameRecord {
            name: pattern,
            hostname_id: HostnameId(1),
            state: HostnameState::Active,
            route,
            tls: TlsPolicy::default(),
            certificates: vec![CertificateRecord {
                chain: vec![Der(issued.leaf.clone())],
                spki_sha256: spki.to_vec(),
                key,
                standby: false,
            }],
            predecessors: Vec::new(),
        }
    }
}

impl Recorder {
    /// A secret for the session tickets of these times, in seconds since 1970.
    ///
    /// # Panics
    /// Where the system's cryptography fails.
    pub fn tickets(&self, starts: u64, ends: u64, secret: &[u8]) -> TicketRecord {
        let context = SealContext::TicketSecret { starts, ends };
        TicketRecord { starts, ends, secret: self.group.seal(context, secret).unwrap() }
    }
}

/// The SHA-256 of the SubjectPublicKeyInfo in a certificate.
fn public_key_hash(leaf: &[u8]) -> [u8; 32] {
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).unwrap();
    sha256(parsed.public_key().raw)
}

impl ScriptedFeed {
    /// A feed of epoch 10 that has a property and no hostname.
    ///
    /// # Panics
    /// Where no port can be had.
    pub async fn start() -> Self {
        let key = SigningKey::parse(&SigningKey::generate().unwrap()).unwrap();
        let mut state = FeedState {
            key,
            epoch: Epoch(10),
            revision: Revision(0),
            shrink: Shrink::Refused,
            records: BTreeMap::new(),
            script: VecDeque::new(),
            acks: Vec::new(),
        };
        state.put_property();
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new()
            .route(CHANGES_PATH, get(changes))
            .route(SNAPSHOT_PATH, get(manifest))
            .route(&format!("{SNAPSHOT_PATH}/{{name}}"), get(segment))
            .route(ACK_PATH, post(ack))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { shared, address }
    }

    /// For `feed.url`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// For `feed.signing_keys`.
    pub fn signing_key(&self) -> String {
        self.state().key.verifying_key().to_string()
    }

    /// Puts a hostname at the next revision.
    pub fn put(&self, record: &HostnameRecord) {
        let mut state = self.state();
        let revision = state.next_revision();
        let wire = WireRecord::hostname(revision, record);
        state.records.insert(wire.id.clone(), (revision, encode_record(&wire)));
        drop(state);
        self.shared.changed.notify_waiters();
    }

    /// Puts a ticket secret at the next revision.
    pub fn put_tickets(&self, record: &TicketRecord) {
        let mut state = self.state();
        let revision = state.next_revision();
        let wire = WireRecord::tickets(revision, record);
        state.records.insert(wire.id.clone(), (revision, encode_record(&wire)));
        drop(state);
        self.shared.changed.notify_waiters();
    }

    /// Says at the next revision that the ticket secret is gone that starts at `starts`.
    pub fn remove_tickets(&self, starts: u64) {
        let mut state = self.state();
        let revision = state.next_revision();
        let wire = WireRecord::tombstone(tickets_id(starts), revision, "tickets");
        state.records.insert(wire.id.clone(), (revision, encode_record(&wire)));
        drop(state);
        self.shared.changed.notify_waiters();
    }

    /// Puts several encoded records, each made for its revision, into one page.
    pub fn put_raw(&self, records: Vec<Box<dyn FnOnce(Revision) -> Vec<u8>>>) {
        let mut state = self.state();
        for (number, record) in records.into_iter().enumerate() {
            let revision = state.next_revision();
            state.records.insert(format!("raw/{revision}/{number}"), (revision, record(revision)));
        }
        drop(state);
        self.shared.changed.notify_waiters();
    }

    /// Forgets every record but the property's, without tombstones, and starts the next epoch.
    pub fn forget_everything(&self) {
        let mut state = self.state();
        state.records.clear();
        state.epoch.0 += 1;
        state.put_property();
    }

    /// Signs with `shrink` from now on.
    pub fn set_shrink(&self, shrink: Shrink) {
        self.state().shrink = shrink;
    }

    /// Goes back by `epochs`.
    pub fn roll_epoch_back(&self, epochs: u64) {
        self.state().epoch.0 -= epochs;
    }

    /// Answers the next polls with `said`, one each; the last one again and again until
    /// [`Self::be_honest`].
    pub fn say(&self, said: impl IntoIterator<Item = Said>) {
        self.state().script = said.into_iter().collect();
        self.shared.changed.notify_waiters();
    }

    /// Answers with the truth again.
    pub fn be_honest(&self) {
        self.state().script.clear();
        self.shared.changed.notify_waiters();
    }

    /// The page that would be the truth for a reader at `after`, signed by `key` or by its own.
    ///
    /// # Panics
    /// Never: zstd compresses anything.
    pub fn page(&self, after: Revision, key: Option<&SigningKey>) -> Vec<u8> {
        let state = self.state();
        state.page(after, key.unwrap_or(&state.key))
    }

    /// A page of these encoded records that claims to cover `after` to `to` of `epoch`.
    ///
    /// # Panics
    /// As [`Self::page`].
    pub fn forged_page(
        &self,
        epoch: Epoch,
        (after, to): (Revision, Revision),
        records: &[Vec<u8>],
    ) -> Vec<u8> {
        let spec = PageSpec { kind: PageKind::Changes, epoch, after, to };
        encode_raw_records(&self.state().key, spec, records).unwrap()
    }

    /// The epoch and the last revision.
    pub fn position(&self) -> (Epoch, Revision) {
        let state = self.state();
        (state.epoch, state.revision)
    }

    /// What edges have acknowledged.
    pub fn acks(&self) -> Vec<Ack> {
        self.state().acks.clone()
    }

    fn state(&self) -> MutexGuard<'_, FeedState> {
        self.shared.state.lock().unwrap()
    }
}

impl Shared {
    fn is_silent(&self) -> bool {
        matches!(self.state.lock().unwrap().script.front(), Some(Said::Silence))
    }
}

impl FeedState {
    fn put_property(&mut self) {
        let pool = OriginPool::of("http://192.0.2.1".parse().unwrap());
        let revision = self.next_revision();
        let wire = WireRecord::property(revision, &PropertyRecord { property: PROPERTY, pool });
        self.records.insert(wire.id.clone(), (revision, encode_record(&wire)));
    }

    fn next_revision(&mut self) -> Revision {
        self.revision.0 += 1;
        self.revision
    }

    fn page(&self, after: Revision, key: &SigningKey) -> Vec<u8> {
        let mut records: Vec<_> = self.records.values().filter(|own| own.0 > after).collect();
        records.sort();
        let records: Vec<_> = records.into_iter().map(|own| own.1.clone()).collect();
        let spec =
            PageSpec { kind: PageKind::Changes, epoch: self.epoch, after, to: self.revision };
        encode_raw_records(key, spec, &records).unwrap()
    }

    fn segment(&self) -> Vec<u8> {
        let records: Vec<_> = self.records.values().map(|own| own.1.clone()).collect();
        let (epoch, to) = (self.epoch, self.revision);
        let spec = PageSpec { kind: PageKind::Segment, epoch, after: Revision(0), to };
        encode_raw_records(&self.key, spec, &records).unwrap()
    }

    /// What to say instead of the truth.
    fn scripted(&mut self) -> Option<Said> {
        match self.script.len() {
            0 => None,
            1 => self.script.front().cloned(),
            _ => self.script.pop_front(),
        }
    }
}

async fn changes(State(shared): State<Arc<Shared>>, Query(query): Query<ChangesQuery>) -> Response {
    let deadline = Instant::now() + Duration::from_secs(query.wait);
    loop {
        let changed = shared.changed.notified();
        if let Some(answer) = answer(&shared, query) {
            return answer;
        }
        if shared.is_silent() {
            changed.await;
        } else if timeout_at(deadline, changed).await.is_err() {
            return StatusCode::NOT_MODIFIED.into_response();
        }
    }
}

fn answer(shared: &Shared, query: ChangesQuery) -> Option<Response> {
    let mut state = shared.state.lock().unwrap();
    if let Some(said) = state.scripted() {
        return match said {
            Said::Bytes(bytes) => Some(bytes.into_response()),
            Said::Status(status) => Some(StatusCode::from_u16(status).unwrap().into_response()),
            Said::Silence => None,
        };
    }
    if query.epoch != state.epoch || query.after > state.revision {
        return Some(StatusCode::CONFLICT.into_response());
    }
    (query.after < state.revision).then(|| state.page(query.after, &state.key).into_response())
}

async fn manifest(State(shared): State<Arc<Shared>>) -> Response {
    let state = shared.state.lock().unwrap();
    let segment = state.segment();
    let (len, sha256) = (segment.len() as u64, sha256(&segment).to_vec());
    let count = state.records.len() as u64;
    let segments = vec![SegmentRef { name: "0.segment".into(), len, sha256 }];
    let manifest = Manifest { segments, hostnames: count };
    let position = (state.epoch, state.revision);
    encode_manifest(&state.key, position, count, state.shrink, &manifest).unwrap().into_response()
}

async fn segment(State(shared): State<Arc<Shared>>, UrlPath(_): UrlPath<String>) -> Response {
    shared.state.lock().unwrap().segment().into_response()
}

async fn ack(State(shared): State<Arc<Shared>>, Json(ack): Json<Ack>) -> Json<AckReply> {
    shared.state.lock().unwrap().acks.push(ack);
    Json(AckReply { state: AckState::InSync })
}
