//! One request and its tries.

use std::{net::SocketAddr, sync::Arc};

use http::{HeaderValue, header, uri::Authority};
use landfall_certstore::Entry;
use landfall_model::Origin;
use pingora::{Error, ErrorType, http::RequestHeader, prelude::HttpPeer};
use pingora_proxy::Session;
use tokio::time::Instant;

use super::{
    Upstreams,
    access::Denied,
    broken::{Broken, is_repeatable},
    clock::Moment,
    metrics::Failure,
    names::Unresolved,
    pool::{Lease, Member, Members, NoMember, Pool, Target, Wanted},
    pools::NoPool,
    speech::SpeechError,
};
use crate::{refusal::Refusal, request, site::Site};

/// What is known of a request and its tries.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    pool: Option<Arc<Pool>>,
    /// The member that has the request now.
    lease: Option<Lease>,
    /// Which member was chosen last.
    at: Option<usize>,
    address: Option<SocketAddr>,
    tries: usize,
    tried: Members,
    spent: Members,
    /// Addresses that could not be connected to.
    failed: Vec<SocketAddr>,
    /// When the whole of it must be over.
    deadline: Option<Moment>,
    is_answered: bool,
}

/// Why there is no origin for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoOrigin {
    /// The property is not known here yet, or not any more.
    #[error("the property is not known here")]
    NoProperty,
    /// As many requests as may be are at origins.
    #[error("as many requests as may be are at origins, or as many origins or names are in use")]
    Busy,
    /// The property's settings can't be used.
    #[error("the property's settings can't be used")]
    Settings(#[source] SpeechError),
    /// The client's hostname can't be asked for in TLS.
    #[error("the name for TLS is none")]
    NoServerName,
    /// A name leads nowhere.
    #[error("the origin's name has no address")]
    Unresolved,
    /// The DNS is slow.
    #[error("the DNS did not answer in time")]
    DnsTimeout,
    /// Every address is one that may not be an origin, or that was tried in vain.
    #[error("the origin has no address that may be connected to")]
    NoAddress,
    /// An address may not be an origin.
    #[error("{address} may not be an origin: {}", .reason.words())]
    Denied { address: SocketAddr, reason: Denied },
    /// Every origin was tried in vain.
    #[error("every origin was tried")]
    Spent,
    /// The time for the whole request is over.
    #[error("the time for the whole request is over")]
    Late,
}

impl NoOrigin {
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            Self::NoProperty | Self::Busy => Refusal::Overloaded,
            Self::Settings(_)
            | Self::NoServerName
            | Self::Unresolved
            | Self::NoAddress
            | Self::Denied { .. }
            | Self::Spent => Refusal::BadGateway,
            Self::DnsTimeout | Self::Late => Refusal::GatewayTimeout,
        }
    }

    /// One word for operators.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::NoProperty => "no_property",
            Self::Busy => "busy",
            Self::Settings(_) => "settings",
            Self::NoServerName => "no_server_name",
            Self::Unresolved => "unresolved",
            Self::DnsTimeout => "dns_timeout",
            Self::NoAddress => "no_address",
            Self::Denied { .. } => "denied",
            Self::Spent => "spent",
            Self::Late => "total_timeout",
        }
    }

    /// As the error that ends the request.
    pub(crate) fn into_error(self) -> Box<Error> {
        let status = self.refusal().status().as_u16();
        Error::because(ErrorType::HTTPStatus(status), "", self)
    }
}

impl From<Unresolved> for NoOrigin {
    fn from(why: Unresolved) -> Self {
        match why {
            Unresolved::Nothing => Self::Unresolved,
            Unresolved::Slow => Self::DnsTimeout,
            Unresolved::Full => Self::Busy,
        }
    }
}

impl Upstreams {
    /// Where the request goes now, each time it is tried.
    pub(crate) async fn peer(
        &self,
        exchange: &mut Exchange,
        header: &RequestHeader,
        entry: &Entry<Site>,
    ) -> Result<Box<HttpPeer>, NoOrigin> {
        // Of the last try.
        exchange.lease = None;
        let now = self.clock.now();
        let pool = match &exchange.pool {
            Some(pool) => Arc::clone(pool),
            None => self.start(exchange, header, entry.route(), now)?,
        };
        let left = exchange.deadline.map(|deadline| deadline.since(now));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(NoOrigin::Late);
        }
        let client_host = request::authority(header).map_err(|_| NoOrigin::NoServerName)?;
        let patience = pool.speech.connect_timeout().unwrap_or_default();
        let until = Instant::now() + left.map_or(patience, |left| left.min(patience));
        let mut trouble = NoOrigin::Spent;
        loop {
            let wanted = Wanted {
                now,
                most: self.settings.connections_per_origin,
                spent: exchange.spent,
                tried: exchange.tried,
            };
            let at = match pool.choose(wanted) {
                Ok(at) => at,
                Err(NoMember::Spent) => return Err(trouble),
                Err(NoMember::Busy) => return Err(self.failed(Failure::Busy, NoOrigin::Busy)),
            };
            exchange.at = Some(at);
            exchange.address = None;
            match self.address(&pool, at, exchange, until).await {
                Ok(address) => {
                    let peer = self.reach(exchange, &pool, at, address);
                    return peer.and_then(|member| {
                        let peer = pool.speech.peer(&member.origin, address, &client_host, left);
                        peer.map(Box::new).ok_or(NoOrigin::NoServerName)
                    });
                }
                Err(why) => {
                    exchange.spent.add(at);
                    trouble = why;
                }
            }
        }
    }

    /// The request's first try.
    fn start(
        &self,
        exchange: &mut Exchange,
        header: &RequestHeader,
        site: &Site,
        now: Moment,
    ) -> Result<Arc<Pool>, NoOrigin> {
        let property = self.properties.find(site.route().property).ok_or(NoOrigin::NoProperty)?;
        let pool =
            site.pool(&property, header.uri.path(), &self.pools).map_err(|why| match why {
                NoPool::Full => self.failed(Failure::Busy, NoOrigin::Busy),
                NoPool::Unusable(error) => {
                    self.failed(Failure::Internal, NoOrigin::Settings(error))
                }
            })?;
        pool.touch(now);
        pool.budget.request();
        exchange.deadline = pool.speech.total.map(|total| now.after(total));
        exchange.pool = Some(Arc::clone(&pool));
        Ok(pool)
    }

    /// An address of the member that may be connected to. What is wrong with it counts against it.
    async fn address(
        &self,
        pool: &Pool,
        at: usize,
        exchange: &Exchange,
        until: Instant,
    ) -> Result<SocketAddr, NoOrigin> {
        let member = pool.members.get(at).ok_or(NoOrigin::Spent)?;
        let known = match &member.target {
            Target::Address(known) => Arc::clone(known),
            Target::Name(name) => match self.names.addresses(name, until).await {
                Ok(known) => known,
                Err(why) => {
                    self.eject(pool, member);
                    return Err(self.failed(Failure::Unresolved, why.into()));
                }
            },
            Target::Nowhere => return Err(self.failed(Failure::Unresolved, NoOrigin::Busy)),
        };
        let now = self.clock.now();
        let mut trouble = NoOrigin::NoAddress;
        let mut passed_over = exchange.failed.clone();
        while let Some(address) = member.address(&known, &passed_over, now) {
            let Err(reason) = self.access.check(address) else { return Ok(address) };
            self.metrics.denied(reason);
            trouble = NoOrigin::Denied { address, reason };
            if let Some(suppressed) = self.denials.allows(now) {
                let (property, origin) = (pool.property.0, &member.origin);
                tracing::warn!(
                    property, %origin, %address, reason = reason.as_str(), suppressed,
                    "an address that may not be an origin is not connected to"
                );
            }
            passed_over.push(address);
        }
        self.eject(pool, member);
        Err(self.failed(Failure::Denied, trouble))
    }

    /// Takes a place at the member.
    fn reach<'a>(
        &self,
        exchange: &mut Exchange,
        pool: &'a Arc<Pool>,
        at: usize,
        address: SocketAddr,
    ) -> Result<&'a Member, NoOrigin> {
        let most = (self.settings.connections_per_origin, self.settings.connections);
        let lease = Lease::take(pool, at, most, &self.in_use);
        let lease = lease.ok_or_else(|| self.failed(Failure::Busy, NoOrigin::Busy))?;
        exchange.lease = Some(lease);
        exchange.address = Some(address);
        exchange.tries += 1;
        exchange.tried.add(at);
        pool.members.get(at).ok_or(NoOrigin::Spent)
    }

    fn failed(&self, failure: Failure, why: NoOrigin) -> NoOrigin {
        self.metrics.failed(failure);
        why
    }

    /// Notes a connection that a request goes over.
    pub(crate) fn connected(&self, is_reused: bool) {
        match is_reused {
            true => self.metrics.reused_connections.inc(),
            false => self.metrics.new_connections.inc(),
        }
    }

    /// Decides what follows from a connection that can't be made. Nothing was sent: whatever the
    /// request is, it may go elsewhere.
    pub(crate) fn could_not_connect(
        &self,
        exchange: &mut Exchange,
        mut error: Box<Error>,
    ) -> Box<Error> {
        error.set_retry(false);
        let Some(lease) = exchange.lease.take() else { return error };
        if matches!(error.etype(), ErrorType::InternalError | ErrorType::HTTPStatus(_)) {
            // This node is short of sockets or descriptors: no other origin would be reached.
            self.metrics.failed(Failure::Internal);
            return error;
        }
        let is_tls = matches!(
            error.etype(),
            ErrorType::TLSHandshakeFailure
                | ErrorType::TLSHandshakeTimedout
                | ErrorType::InvalidCert
                | ErrorType::HandshakeError
        );
        self.metrics.failed(if is_tls { Failure::Tls } else { Failure::Connect });
        let pool = Arc::clone(lease.pool());
        if let Some(member) = lease.member() {
            self.eject(&pool, member);
            if let Some(address) = exchange.address {
                member.avoid(address, self.clock.now());
                exchange.failed.push(address);
            }
            if !member.has_other(&exchange.failed) {
                exchange.spent.add(lease.at());
            }
        }
        let may_retry = pool.has_other(exchange.spent) && self.may_retry(exchange, &pool);
        error.set_retry(may_retry);
        error
    }

    /// Decides what follows from a connection that failed after the request, or a part of it, was
    /// sent.
    pub(crate) fn broke_off(
        &self,
        exchange: &mut Exchange,
        session: &Session,
        is_reused: bool,
        mut error: Box<Error>,
    ) -> Box<Error> {
        let kind = Broken::of(&error);
        error.set_retry(false);
        let Some(lease) = exchange.lease.take() else { return error };
        let Some(kind) = kind.filter(|_| !exchange.is_answered) else {
            // The client's fault, or the client has a part of the response.
            return error;
        };
        let pool = Arc::clone(lease.pool());
        let was_kept = is_reused && matches!(kind, Broken::Closed | Broken::NotTaken);
        // A kept connection that its origin closed meanwhile says nothing of the origin.
        if !was_kept {
            self.metrics.failed(kind.failure());
            if let Some(member) = lease.member() {
                self.eject(&pool, member);
            }
        }
        let is_safe = match kind {
            Broken::NotTaken => true,
            Broken::Closed => is_repeatable(session, &error),
            Broken::Silent | Broken::Nonsense => false,
        };
        // The part of the body that was read must be there for the next try.
        let is_whole = !session.as_downstream().retry_buffer_truncated();
        let may_retry = is_safe
            && is_whole
            && match was_kept {
                true => self.has_time(exchange),
                false => self.may_retry(exchange, &pool),
            };
        error.set_retry(may_retry);
        error
    }

    fn may_retry(&self, exchange: &Exchange, pool: &Pool) -> bool {
        if !self.has_time(exchange) {
            return false;
        }
        let may = pool.budget.take(self.clock.now());
        match may {
            true => self.metrics.retries.inc(),
            false => self.metrics.retries_over_budget.inc(),
        }
        may
    }

    fn has_time(&self, exchange: &Exchange) -> bool {
        exchange.tries < self.settings.tries.get()
            && exchange.deadline.is_none_or(|deadline| self.clock.now() < deadline)
    }

    fn eject(&self, pool: &Pool, member: &Member) {
        let random = crate::backoff::random();
        if let Some(time) = member.health.failed(self.clock.now(), &self.settings, random) {
            self.metrics.ejections.inc();
            let (property, origin) = (pool.property.0, &member.origin);
            let seconds = time.as_secs_f64();
            tracing::info!(property, %origin, seconds, "an origin fails and is left out for a while");
        }
    }

    /// Ends a response that takes longer than the whole request may.
    ///
    /// # Errors
    /// A timeout of the origin's.
    pub(crate) fn check_time(&self, exchange: &Exchange) -> pingora::Result<()> {
        match exchange.deadline {
            Some(deadline) if self.clock.now() >= deadline => {
                Err(Error::new(ErrorType::ReadTimedout).into_up())
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Exchange {
    /// The origin has begun to answer.
    pub(crate) fn answered(&mut self) {
        if !self.is_answered {
            self.is_answered = true;
            if let Some(member) = self.lease.as_ref().and_then(Lease::member) {
                member.health.succeeded();
            }
        }
    }

    /// The origin that was chosen last.
    pub(crate) fn origin(&self) -> Option<&Origin> {
        let member = self.pool.as_ref()?.members.get(self.at?)?;
        Some(&member.origin)
    }

    /// The address that it went to last, where that origin has one that may be connected to.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Puts the `Host` that the origin wants in the place of the client's.
    pub(crate) fn set_host(&self, header: &mut RequestHeader) -> pingora::Result<()> {
        let own = self.host();
        // Over HTTP/2 pingora takes the scheme of our own connection with a `Host` alone, and the
        // client's without.
        let authority = || header.uri.authority().map(Authority::as_str).map(HeaderValue::try_from);
        let has_host = header.headers.contains_key(header::HOST);
        let host = own.or_else(|| if has_host { None } else { authority()?.ok() });
        match host {
            Some(host) => header.insert_header(header::HOST, host),
            None => Ok(()),
        }
    }

    fn host(&self) -> Option<HeaderValue> {
        let lease = self.lease.as_ref()?;
        lease.pool().speech.host(&lease.member()?.origin)
    }
}
