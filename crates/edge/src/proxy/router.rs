//! What becomes of a request, from its header alone.

use std::{num::NonZeroU16, sync::Arc};

use http::{HeaderValue, header};
use landfall_certstore::{Entry, Resolver};
use landfall_model::{ClientAuthMode, HostnameState, LookupName, Scheme};
use pingora::http::RequestHeader;
use pingora_core::protocols::http::v1::server::HttpSession;
use pingora_proxy::Session;

use super::path;
use crate::{
    config::{Http, Limits},
    connection::Connection,
    identity::Identity,
    redirect,
    refusal::Refusal,
    request,
    site::Site,
};

/// What becomes of a request that is not refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Routed {
    /// Its origin gets it.
    ToOrigin,
    /// Its client is to come again over TLS, at this URL.
    ToTls(HeaderValue),
    /// Its client is a CA, and gets this.
    Challenge(String),
}

/// Decides on requests.
pub(super) struct Router {
    pub(super) resolver: Resolver<Site>,
    pub(super) limits: Limits,
    pub(super) http: Http,
    /// Where clients find TLS, unless that is 443.
    pub(super) https_port: Option<NonZeroU16>,
}

impl Router {
    /// Whom a request is for, once nothing is wrong with its header.
    pub(super) fn name(&self, session: &Session) -> Result<LookupName, Refusal> {
        let header = session.req_header();
        request::check_size(header, &self.limits)?;
        let raw = session.as_http1().map(HttpSession::get_headers_raw_bytes).unwrap_or_default();
        request::check_framing(header, &raw)?;
        request::check_method(header)?;
        request::check_target(header)?;
        request::check_connection(header)?;
        request::authority(header)
    }

    /// The hostname's entry that a request is for: on TLS that of its connection.
    pub(super) async fn entry(
        &self,
        session: &Session,
        name: &LookupName,
    ) -> Result<Arc<Entry<Site>>, Refusal> {
        let connection = Connection::of(session).ok_or(Refusal::Internal)?;
        // Looked up again for each request: the hostname may be gone, or have another route.
        let entry = self.resolver.find_or_load(name).await.map_err(|_| Refusal::Internal)?;
        let entry = entry.ok_or(Refusal::Misdirected)?;
        match connection.entry() {
            Some(served) if !is_served_on(&entry, served) => Err(Refusal::Misdirected),
            // Nothing but DNS says whose the name is, and DNS is not known to say that it is theirs.
            None if entry.state() == HostnameState::PendingValidation => Err(Refusal::Misdirected),
            Some(_) | None => Ok(entry),
        }
    }

    /// What becomes of a request for `name`, which `entry` serves.
    pub(super) fn decide(
        &self,
        request: &RequestHeader,
        name: &LookupName,
        entry: &Entry<Site>,
        scheme: Scheme,
        identity: &Identity,
    ) -> Result<Routed, Refusal> {
        if identity.has_seen(request) {
            return Err(Refusal::LoopDetected);
        }
        if scheme == Scheme::Http
            && (entry.route().rules().https_redirect || requires_certificate(entry))
        {
            return redirect::location(name, self.https_port, request).map(Routed::ToTls);
        }
        if path::is_disguised(request.uri.path(), &entry.route().route().paths) {
            return Err(Refusal::BadRequest);
        }
        let length = request.headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        match length.is_some_and(|length| length > self.max_body(entry)) {
            true => Err(Refusal::ContentTooLarge),
            false => Ok(Routed::ToOrigin),
        }
    }

    /// The most bytes that a request body for `entry` may have.
    pub(super) fn max_body(&self, entry: &Entry<Site>) -> u64 {
        entry.route().rules().max_body.unwrap_or(self.http.max_body)
    }
}

/// Whether a connection that was made for `served` may carry requests for `entry`: the same
/// hostname, with the client certificate that it asks for now.
fn is_served_on(entry: &Entry<Site>, served: &Entry<Site>) -> bool {
    let is_same_policy = Arc::ptr_eq(entry.policy(), served.policy());
    entry.name() == served.name()
        && (is_same_policy
            || entry.policy().policy().client_auth == served.policy().policy().client_auth)
}

/// Whether there is nothing for a client that shows no certificate.
fn requires_certificate(entry: &Entry<Site>) -> bool {
    let auth = entry.policy().policy().client_auth.as_ref();
    auth.is_some_and(|auth| auth.mode == ClientAuthMode::Required)
}
