//! Requests over TLS: from the hostname to its origin, and back.

mod failure;
mod forwarded;
mod plain_form;

use std::{
    net,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, StatusCode};
use landfall_certstore::{Entry, Resolver};
use landfall_model::{OriginHost, Route};
use pingora::{
    Error,
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    prelude::HttpPeer,
};
use pingora_core::protocols::{
    http::{v1::server::HttpSession, v2::server::default_h2_options},
    l4::socket::SocketAddr,
};
use pingora_core::{apps::HttpServerOptions, server::configuration::ServerConf};
use pingora_proxy::{FailToProxy, HttpProxy, ProxyHttp, ProxyWarnLogContext, Session};

use crate::{
    config::{EdgeConfig, Limits, Upstream},
    connection::Connection,
    keepalive,
    metrics::Metrics,
    properties::Properties,
    refusal::Refusal,
    request,
    server::Parts,
    site::Site,
};

/// Streams that a client may have reset before we have seen them (RFC 9113 section 10.5).
const PENDING_RESETS: usize = 32;
/// Resets that a client may make us send before its connection ends.
const OWN_RESETS: usize = 256;
/// What may wait to be sent on one HTTP/2 stream, in bytes.
const SEND_BUFFER: usize = 256 << 10;
/// What a client may send on one HTTP/2 stream before we have taken it, in bytes.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same for the whole connection.
const CONNECTION_WINDOW: u32 = 1 << 20;

/// How long a request body is still taken after its answer.
const LINGER: Duration = Duration::from_secs(2);

/// The edge's proxy.
pub(crate) struct EdgeProxy {
    resolver: Resolver<Site>,
    properties: Arc<Properties>,
    metrics: Arc<Metrics>,
    limits: Limits,
    upstream: Upstream,
}

/// One request.
pub(crate) struct Request {
    started: Instant,
    entry: Option<Arc<Entry<Site>>>,
    sent_to_origin: Option<Instant>,
}

impl EdgeProxy {
    /// pingora's HTTP app around the proxy, with every limit set.
    pub(crate) fn app(
        config: &EdgeConfig,
        server: &Arc<ServerConf>,
        parts: &Parts,
    ) -> HttpProxy<Self> {
        let limits = &config.limits;
        let proxy = Self {
            resolver: parts.resolver.clone(),
            properties: Arc::clone(&parts.properties),
            metrics: Arc::clone(&parts.metrics),
            limits: limits.clone(),
            upstream: config.upstream.clone(),
        };
        let mut app = HttpProxy::new(proxy, Arc::clone(server));
        app.handle_init_modules();
        let mut options = HttpServerOptions::default();
        options.h2_idle_timeout = Some(limits.idle_timeout);
        // It counts the requests after the first.
        options.keepalive_request_limit = Some(limits.connection_requests.saturating_sub(1));
        app.server_options = Some(options);
        let mut h2 = default_h2_options();
        h2.max_concurrent_streams(limits.h2_streams)
            .max_header_list_size(u32::try_from(limits.header_size).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .max_local_error_reset_streams(Some(OWN_RESETS))
            .max_send_buffer_size(SEND_BUFFER)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        app.h2_options = Some(h2);
        app
    }

    /// The entry that a request is for: that of the connection it came on, or a refusal.
    async fn route(&self, session: &Session) -> Result<Arc<Entry<Site>>, Refusal> {
        let header = session.req_header();
        request::check_size(header, &self.limits)?;
        let raw = session.as_http1().map(HttpSession::get_headers_raw_bytes).unwrap_or_default();
        request::check_framing(header, &raw)?;
        request::check_target(header)?;
        let name = request::authority(header)?;
        let connection = Connection::of(session).ok_or(Refusal::Internal)?;
        let served = connection.entry().ok_or(Refusal::Internal)?;
        // Looked up again for each request: the hostname may be gone, or have another route.
        match self.resolver.find_or_load(&name).await {
            Some(entry) if entry.name() == served.name() => Ok(entry),
            _ => Err(Refusal::Misdirected),
        }
    }

    fn origin(&self, route: &Route) -> Option<net::SocketAddr> {
        let property = self.properties.find(route.property)?;
        let custom = route.custom_origin.as_ref().map(|custom| &custom.server);
        let origin = custom.or_else(|| Some(&property.pool.origins.first()?.url))?;
        match origin.host() {
            OriginHost::Address(ip) => Some((*ip, origin.port()).into()),
            OriginHost::Name(_) => None,
        }
    }

    fn limit_times(&self, session: &mut Session) {
        keepalive::end_after_upgrade(session);
        session.set_read_timeout(Some(self.limits.request_body_timeout));
        session.set_write_timeout(Some(self.limits.response_write_timeout));
        session.set_total_drain_timeout(Some(LINGER));
    }
}

#[async_trait]
impl ProxyHttp for EdgeProxy {
    type CTX = Request;

    fn new_ctx(&self) -> Request {
        Request { started: Instant::now(), entry: None, sent_to_origin: None }
    }

    /// pingora's default adds a compression module, for every request and unused.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(
        &self,
        session: &mut Session,
        request: &mut Request,
    ) -> pingora::Result<bool> {
        self.limit_times(session);
        match self.route(session).await {
            Ok(entry) => {
                request.entry = Some(entry);
                Ok(false)
            }
            Err(refusal) => {
                refuse(session, refusal).await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        request: &mut Request,
    ) -> pingora::Result<Box<HttpPeer>> {
        let origin = request.entry.as_ref().and_then(|entry| self.origin(entry.route().route()));
        let origin = origin.ok_or_else(|| failure::status(Refusal::BadGateway))?;
        let mut peer = HttpPeer::new(origin, false, String::new());
        let options = &mut peer.options;
        options.connection_timeout = Some(self.upstream.connect_timeout);
        options.total_connection_timeout = Some(self.upstream.connect_timeout);
        options.read_timeout = Some(self.upstream.read_timeout);
        options.write_timeout = Some(self.upstream.write_timeout);
        options.idle_timeout = Some(self.upstream.idle_timeout);
        request.sent_to_origin = Some(Instant::now());
        Ok(Box::new(peer))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        header: &mut RequestHeader,
        _request: &mut Request,
    ) -> pingora::Result<()> {
        let client =
            session.client_addr().and_then(SocketAddr::as_inet).map(|address| address.ip());
        plain_form::put_in(header)?;
        forwarded::set(header, client)
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        request: &mut Request,
    ) -> pingora::Result<()> {
        if response.status == StatusCode::SWITCHING_PROTOCOLS
            && let Some(connection) = Connection::of(session)
        {
            connection.switch_protocols();
        }
        if !response.status.is_informational()
            && let Some(sent) = request.sent_to_origin.take()
        {
            self.metrics.origin_answered(sent.elapsed());
        }
        Ok(())
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        request: &mut Request,
    ) -> FailToProxy {
        let refusal = failure::refusal(error);
        failure::log(error, refusal, request.entry.as_deref());
        if let Some(refusal) = refusal {
            // The client may be gone meanwhile.
            let _ = refuse(session, refusal).await;
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

    async fn logging(&self, session: &mut Session, _error: Option<&Error>, request: &mut Request) {
        if let Some(connection) = Connection::of(session) {
            connection.request_ended();
        }
        let status = session.response_written().map(|response| response.status.as_u16());
        self.metrics.request_ended(status, request.started.elapsed());
    }
}

/// Answers for ourselves. An HTTP/1.1 connection ends with it; HTTP/2 goes on.
async fn refuse(session: &mut Session, refusal: Refusal) -> pingora::Result<()> {
    let (header, body) = refusal.response()?;
    let has_body = session.req_header().method != Method::HEAD;
    let body = if has_body { body } else { Bytes::new() };
    session.write_error_response(header, body).await?;
    if refusal != Refusal::RequestTimeout {
        // What is still on its way would reset the connection or the stream, and many clients
        // lose the answer with it (RFC 9112 section 9.6).
        session.set_total_drain_timeout(Some(LINGER));
        let _ = session.drain_request_body().await;
    }
    Ok(())
}
