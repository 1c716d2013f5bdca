//! Requests: from the hostname to its origin, and back.

mod compression;
mod edits;
mod failure;
mod forwarded;
pub(crate) mod hop_by_hop;
mod logged;
mod own_answer;
mod path;
mod plain_form;
mod response;
mod router;

use std::{
    net::{self, IpAddr},
    num::NonZeroU16,
    os::fd::RawFd,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{StatusCode, Version};
use landfall_certstore::Entry;
use landfall_model::Scheme;
use pingora::{
    Error,
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    prelude::HttpPeer,
};
use pingora_core::protocols::{
    Digest,
    http::v2::server::{H2Options, default_h2_options},
    l4::socket::SocketAddr,
};
use pingora_core::{apps::HttpServerOptions, server::configuration::ServerConf};
use pingora_proxy::{FailToProxy, HttpProxy, ProxyHttp, ProxyWarnLogContext, Session};

use crate::{
    access_log::AccessLog,
    body,
    challenges::Challenges,
    clock::unix_seconds,
    config::{EdgeConfig, Limits},
    connection::Connection,
    identity::Identity,
    keepalive,
    metrics::Metrics,
    overload::{ConnectHook, Overload},
    refusal::Refusal,
    request_id::RequestId,
    server::Parts,
    site::Site,
    traces::{RequestTrace, Tracer},
    upstream::{Exchange, Upstreams, hesitant},
};
use compression::Compression;
use forwarded::Told;
use response::{Answered, Asked};
use router::{Routed, Router};

/// Streams that a client may have reset before we have seen them (RFC 9113 section 10.5).
const PENDING_RESETS: usize = 32;
/// Resets that a client may make us send before its connection ends.
const OWN_RESETS: usize = 256;
/// What may wait to be sent on one HTTP/2 stream, in bytes.
const SEND_BUFFER: usize = 64 << 10;
/// What a client may send on one HTTP/2 stream before we have taken it, in bytes.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same for the whole connection.
const CONNECTION_WINDOW: u32 = 1 << 20;

/// Informational answers to one request. More are an origin's way to never answer.
const MAX_HINTS: u32 = 64;

/// How long a request body is still taken after its answer.
const LINGER: Duration = Duration::from_secs(2);

/// The edge's proxy.
pub(crate) struct EdgeProxy {
    router: Router,
    metrics: Arc<Metrics>,
    identity: Identity,
    compression: Compression,
    access_log: Option<AccessLog>,
    upstreams: Arc<Upstreams>,
    overload: Arc<Overload>,
    connect_hook: ConnectHook,
    tracer: Option<Tracer>,
    challenges: Arc<Challenges>,
}

/// What the proxies of both listeners have in common besides what they serve from.
pub(crate) struct Outward {
    /// Where clients find TLS.
    pub(crate) https_port: u16,
    /// Where requests are written down.
    pub(crate) access_log: Option<AccessLog>,
    /// What traces requests.
    pub(crate) tracer: Option<Tracer>,
    /// One, however many listeners there are: what is known of origins is the same.
    pub(crate) upstreams: Arc<Upstreams>,
}

/// One request.
pub(crate) struct Request {
    started: Instant,
    id: RequestId,
    scheme: Scheme,
    entry: Option<Arc<Entry<Site>>>,
    /// What was decided here after the request had gone on to its origin.
    refused: Option<Refusal>,
    /// Bytes of its body so far.
    received: u64,
    /// Informational answers so far.
    hints: u32,
    sent_to_origin: Option<Instant>,
    /// How long the response header of whoever got it last took.
    origin_took: Option<Duration>,
    trace: RequestTrace,
    exchange: Exchange,
}

impl EdgeProxy {
    /// pingora's HTTP app around the proxy, with every limit set.
    pub(crate) fn app(
        config: &EdgeConfig,
        server: &Arc<ServerConf>,
        parts: &Parts,
        outward: &Outward,
        overload: &Arc<Overload>,
    ) -> HttpProxy<Self> {
        let proxy = Self {
            router: Router {
                resolver: parts.resolver.clone(),
                limits: config.limits.clone(),
                http: config.http.clone(),
                https_port: NonZeroU16::new(outward.https_port).filter(|port| port.get() != 443),
            },
            metrics: Arc::clone(&parts.metrics),
            identity: Identity::new(config.http.cdn_id.clone()),
            compression: Compression::new(),
            access_log: outward.access_log.clone(),
            upstreams: Arc::clone(&outward.upstreams),
            overload: Arc::clone(overload),
            connect_hook: overload.connect_hook(),
            tracer: outward.tracer.clone(),
            challenges: Arc::clone(&parts.challenges),
        };
        let mut app = HttpProxy::new(proxy, Arc::clone(server));
        app.handle_init_modules();
        app.server_options = Some(server_options(&config.limits));
        app.h2_options = Some(h2_options(&config.limits));
        app
    }

    /// What becomes of a request.
    async fn route(&self, session: &Session, request: &mut Request) -> Result<Routed, Refusal> {
        let name = self.router.name(session)?;
        let header = session.req_header();
        if request.scheme == Scheme::Http {
            let asked = (&header.method, header.uri.path());
            let answer = self.challenges.key_authorization(&name, asked, unix_seconds());
            if let Some(answer) = answer {
                self.metrics.challenge_answered();
                return Ok(Routed::Challenge(answer));
            }
        }
        let entry = request.entry.insert(self.router.entry(session, &name).await?);
        self.router.decide(header, &name, entry, request.scheme, &self.identity)
    }

    fn limit_times(&self, session: &mut Session) {
        let limits = &self.router.limits;
        keepalive::end_as_asked(session);
        // One would be taken for the answer (RFC 9110 section 15.2).
        let is_http10 = session.req_header().version == Version::HTTP_10;
        session.set_ignore_info_resp(is_http10);
        session.set_read_timeout(Some(limits.request_body_timeout));
        session.set_write_timeout(Some(limits.response_write_timeout));
        session.set_total_drain_timeout(Some(LINGER));
    }
}

fn server_options(limits: &Limits) -> HttpServerOptions {
    let mut options = HttpServerOptions::default();
    options.h2_idle_timeout = Some(limits.idle_timeout);
    // It counts the requests after the first.
    options.keepalive_request_limit = Some(limits.connection_requests.saturating_sub(1));
    // pingora would answer CONNECT itself, in words that are not ours.
    options.allow_connect_method_proxying = true;
    options
}

fn h2_options(limits: &Limits) -> H2Options {
    let mut h2 = default_h2_options();
    h2.max_concurrent_streams(limits.h2_streams)
        .max_header_list_size(u32::try_from(limits.header_size).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(Some(OWN_RESETS))
        .max_send_buffer_size(SEND_BUFFER)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    h2
}

/// The client's address.
fn client(session: &Session) -> Option<IpAddr> {
    session.client_addr().and_then(SocketAddr::as_inet).map(net::SocketAddr::ip)
}

#[async_trait]
impl ProxyHttp for EdgeProxy {
    type CTX = Request;

    fn new_ctx(&self) -> Request {
        Request {
            started: Instant::now(),
            id: RequestId::random(),
            scheme: Scheme::Http,
            entry: None,
            refused: None,
            received: 0,
            hints: 0,
            sent_to_origin: None,
            origin_took: None,
            trace: RequestTrace::default(),
            exchange: Exchange::default(),
        }
    }

    /// pingora's default adds a compression module, for every request and unused.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(
        &self,
        session: &mut Session,
        request: &mut Request,
    ) -> pingora::Result<()> {
        if let Some(connection) = Connection::of(session) {
            request.scheme = connection.scheme();
        }
        let header = session.req_header();
        let is_trusted = client(session).is_some_and(|client| self.router.http.trusts(client));
        if is_trusted {
            request.id = RequestId::given(header).unwrap_or_else(RequestId::random);
        }
        if let Some(tracer) = &self.tracer {
            request.trace = tracer.begin(is_trusted.then_some(&header.headers));
        }
        Ok(())
    }

    async fn request_filter(
        &self,
        session: &mut Session,
        request: &mut Request,
    ) -> pingora::Result<bool> {
        self.limit_times(session);
        if self.overload.sheds_request() {
            own_answer::refuse(session, Refusal::Overloaded, request).await?;
            return Ok(true);
        }
        match self.route(session, request).await {
            Ok(Routed::ToOrigin) => Ok(false),
            Ok(Routed::ToTls(location)) => {
                own_answer::send_to_tls(session, location, request).await?;
                Ok(true)
            }
            Ok(Routed::Challenge(answer)) => {
                own_answer::answer_challenge(session, answer, request).await?;
                Ok(true)
            }
            Err(refusal) => {
                own_answer::refuse(session, refusal, request).await?;
                Ok(true)
            }
        }
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        request: &mut Request,
    ) -> pingora::Result<()> {
        body::received(body.as_ref().map_or(0, Bytes::len));
        if end_of_stream {
            body::is_not_awaited();
        }
        if session.was_upgraded() {
            return Ok(());
        }
        request.received += body.as_ref().map_or(0, Bytes::len) as u64;
        let entry = request.entry.as_deref();
        match entry.is_some_and(|entry| request.received > self.router.max_body(entry)) {
            true => Err(request.refuse(Refusal::ContentTooLarge)),
            false => Ok(()),
        }
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        request: &mut Request,
    ) -> pingora::Result<Box<HttpPeer>> {
        let entry = request.entry.as_deref().ok_or_else(|| failure::status(Refusal::Internal))?;
        let header = session.req_header();
        let peer = self.upstreams.peer(&mut request.exchange, header, entry).await;
        let mut peer = peer.map_err(|none| {
            request.refused = Some(none.refusal());
            none.into_error()
        })?;
        peer.options.upstream_tcp_sock_tweak_hook = Some(Arc::clone(&self.connect_hook));
        if hop_by_hop::upgrade(session.req_header()).is_some() {
            hesitant::set(&mut peer, &self.connect_hook);
        }
        request.sent_to_origin = Some(Instant::now());
        request.trace.try_begins(session, &peer);
        Ok(peer)
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        _fd: RawFd,
        _digest: Option<&Digest>,
        _request: &mut Request,
    ) -> pingora::Result<()> {
        self.upstreams.connected(reused);
        Ok(())
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        request: &mut Request,
        error: Box<Error>,
    ) -> Box<Error> {
        request.trace.try_failed(&error);
        self.upstreams.could_not_connect(&mut request.exchange, error)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        request: &mut Request,
        client_reused: bool,
    ) -> Box<Error> {
        request.trace.try_failed(&error);
        self.upstreams.broke_off(&mut request.exchange, session, client_reused, error)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        header: &mut RequestHeader,
        request: &mut Request,
    ) -> pingora::Result<()> {
        // A body that is sent again passes again.
        request.received = 0;
        let connection = Connection::of(session);
        let certificate = connection.and_then(|connection| connection.client_certificate());
        let told = Told {
            client: client(session),
            scheme: request.scheme,
            request: session.req_header(),
            id: &request.id,
            certificate,
        };
        plain_form::put_in(header)?;
        hop_by_hop::restore(header, told.request)?;
        forwarded::set(header, &told, &self.identity)?;
        request.exchange.set_host(header)?;
        request.trace.send_on(header)?;
        let rules = request.entry.as_ref().map(|entry| entry.route().rules());
        rules.map_or(Ok(()), |rules| edits::apply(&rules.request_edits, header))
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        request: &mut Request,
    ) -> pingora::Result<()> {
        request.exchange.answered();
        let asked = if session.is_upgrade_req() { Asked::Upgrade } else { Asked::Answer };
        response::check(response, asked).map_err(|refusal| request.refuse(refusal))?;
        if response.status == StatusCode::SWITCHING_PROTOCOLS
            && let Some(connection) = Connection::of(session)
        {
            connection.switch_protocols();
        }
        request.trace.try_answered(response);
        if response.status.is_informational() {
            request.hints += 1;
            if request.hints > MAX_HINTS {
                return Err(request.refuse(Refusal::BadGateway));
            }
        }
        if !response.status.is_informational() {
            // From here on it is a conversation.
            body::is_not_awaited();
        }
        if !response.status.is_informational()
            && let Some(sent) = request.sent_to_origin.take()
        {
            let took = sent.elapsed();
            request.origin_took = Some(took);
            self.metrics.origin_answered(took);
        }
        Ok(())
    }

    fn upstream_response_body_filter(
        &self,
        _session: &mut Session,
        _body: &mut Option<Bytes>,
        _end_of_stream: bool,
        request: &mut Request,
    ) -> pingora::Result<Option<Duration>> {
        self.upstreams.check_time(&request.exchange).map(|()| None)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        request: &mut Request,
    ) -> pingora::Result<()> {
        if response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS
        {
            response::edit_hint(response);
            return Ok(());
        }
        keepalive::end_if_stopping(session);
        let rules = request.entry.as_ref().map(|entry| entry.route().rules());
        let (scheme, id) = (request.scheme, &request.id);
        let answered = Answered { request: session.req_header(), scheme, id, rules };
        response::edit(response, &answered, &self.identity)?;
        match rules.is_some_and(|rules| rules.compression) {
            true => self.compression.apply(session, response),
            false => Ok(()),
        }
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        request: &mut Request,
    ) -> FailToProxy {
        let refusal = request.refused.or_else(|| failure::refusal(error));
        failure::log(error, refusal, request, &self.upstreams);
        if let Some(refusal) = refusal {
            // The client may be gone meanwhile.
            let _ = own_answer::refuse(session, refusal, request).await;
        }
        let error_code = refusal.map_or(0, |refusal| refusal.status().as_u16());
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    /// Ours is written by [`failure::log`], without the path, which may hold secrets.
    fn suppress_error_log(&self, _: &Session, _: &Request, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &Request,
        _: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, request: &mut Request) {
        if let Some(connection) = Connection::of(session) {
            connection.request_ended();
        }
        if let Some(tracer) = &self.tracer {
            tracer.end(&mut request.trace, session, error);
        }
        let status = session.response_written().map(|response| response.status.as_u16());
        self.metrics.request_ended(status, request.started.elapsed());
        if let Some(log) = &self.access_log {
            logged::write(log, session, request, error);
        }
    }
}

impl Request {
    /// Ends a request that has gone on to its origin, with an answer of ours.
    fn refuse(&mut self, refusal: Refusal) -> Box<Error> {
        self.refused = Some(refusal);
        failure::status(refusal)
    }
}
