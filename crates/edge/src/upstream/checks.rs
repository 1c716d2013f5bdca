//! Health checks: requests of our own, over the same protocol, TLS and names as others.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use async_trait::async_trait;
use http::{HeaderValue, Method, header};
use landfall_model::{HealthCheck, LookupName, OriginHost, PropertyId};
use pingora::{Error, ErrorType, http::RequestHeader, prelude::HttpPeer};
use pingora_core::connectors::http::Connector;
use tokio::time::{Instant, timeout};

use super::{
    access::Access,
    chores::{Chore, Next, Roster},
    clock::Clock,
    exchange::NoOrigin,
    metrics::UpstreamMetrics,
    names::Names,
    pool::{Member, Pool, Target},
};
use crate::{backoff::random, reason};

const USER_AGENT: HeaderValue = HeaderValue::from_static("landfall-health-check");

/// Where checks of pools begin.
pub(super) struct Checks {
    roster: Roster,
    shared: Arc<Shared>,
}

/// What every check needs.
pub(super) struct Shared {
    pub(super) connector: Connector,
    pub(super) access: Arc<Access>,
    pub(super) names: Arc<Names>,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<UpstreamMetrics>,
}

/// An answer that is not the one that says that all is well.
#[derive(Debug, thiserror::Error)]
#[error("the status is {0}")]
struct Unexpected(u16);

/// The check of one origin, for as long as its pool is in use.
struct Check {
    property: PropertyId,
    pool: Weak<Pool>,
    at: usize,
    shared: Arc<Shared>,
}

impl Checks {
    pub(super) fn new(roster: Roster, shared: Shared) -> Self {
        Self { roster, shared: Arc::new(shared) }
    }

    /// Begins the checks that the pool asks for.
    pub(super) fn watch(&self, pool: &Arc<Pool>) {
        if pool.settings.health_check.is_none() {
            return;
        }
        let property = pool.property;
        for at in 0..pool.members.len() {
            let (pool, shared) = (Arc::downgrade(pool), Arc::clone(&self.shared));
            if !self.roster.add(Arc::new(Check { property, pool, at, shared })) {
                tracing::error!("there are too many health checks: an origin is not checked");
            }
        }
    }
}

#[async_trait]
impl Chore for Check {
    async fn run(self: Arc<Self>) -> Next {
        let Some(pool) = self.pool.upgrade() else { return Next::Never };
        let (Some(check), Some(member)) = (&pool.settings.health_check, pool.members.get(self.at))
        else {
            return Next::Never;
        };
        let limit = Duration::from_secs(check.timeout_s.into());
        let result = timeout(limit, self.shared.ask(&pool, member, check, limit)).await;
        let result = result.unwrap_or_else(|_| Err(Error::new(ErrorType::ReadTimedout).into_up()));
        let is_well = result.is_ok();
        self.shared.metrics.checked(is_well);
        let after = if is_well { check.healthy_after } else { check.unhealthy_after };
        let (property, origin) = (pool.property.0, &member.origin);
        match member.health.checked(is_well, after) {
            Some(true) => tracing::info!(property, %origin, "an origin is healthy again"),
            Some(false) => {
                let why = result.err();
                let reason = why.as_deref().map(reason::of);
                let cause = why.as_deref().map(reason::cause);
                tracing::warn!(
                    property, %origin, reason, cause,
                    "an origin fails its health checks"
                );
            }
            None => {}
        }
        // Not all origins at once, however they began.
        let interval = Duration::from_secs(check.interval_s.into());
        Next::After(interval.mul_f64(0.9 + random() / 5.0))
    }

    fn owner(&self) -> Option<PropertyId> {
        Some(self.property)
    }
}

impl Shared {
    async fn ask(
        &self,
        pool: &Pool,
        member: &Member,
        check: &HealthCheck,
        limit: Duration,
    ) -> pingora::Result<()> {
        let mut peer = self.peer(pool, member, limit).await?;
        // One that is not shared is closed with its session.
        peer.options.max_h2_streams = 1;
        let (mut session, _) = self.connector.get_http_session(&peer).await?;
        session.set_read_timeout(Some(limit));
        session.set_write_timeout(Some(limit));
        let mut request = RequestHeader::build(Method::GET, check.path.as_str().as_bytes(), None)?;
        let host = pool.speech.host(&member.origin);
        let host = host.or_else(|| HeaderValue::try_from(member.origin.host().to_string()).ok());
        if let Some(host) = host {
            request.insert_header(header::HOST, host)?;
        }
        request.insert_header(header::USER_AGENT, USER_AGENT)?;
        session.write_request_header(Box::new(request)).await?;
        session.finish_request_body().await?;
        session.read_response_header().await?;
        let status = session.response_header().map_or(0, |header| header.status.as_u16());
        let is_well = match check.expected_status {
            Some(expected) => status == expected,
            None => (200..400).contains(&status),
        };
        session.shutdown().await;
        if is_well {
            Ok(())
        } else {
            Err(Error::because(ErrorType::Custom("unexpected_status"), "", Unexpected(status)))
        }
    }

    async fn peer(
        &self,
        pool: &Pool,
        member: &Member,
        limit: Duration,
    ) -> pingora::Result<HttpPeer> {
        let known = match &member.target {
            Target::Address(known) => Arc::clone(known),
            Target::Name(name) => {
                let addresses = self.names.addresses(name, Instant::now() + limit).await;
                addresses.map_err(|why| NoOrigin::from(why).into_error())?
            }
            Target::Nowhere => return Err(NoOrigin::Busy.into_error()),
        };
        let address = member
            .address(&known, &[], self.clock.now())
            .ok_or_else(|| NoOrigin::NoAddress.into_error())?;
        let access = self.access.check(address);
        access.map_err(|reason| NoOrigin::Denied { address, reason }.into_error())?;
        // There is no client: where its name would be sent, the origin's own is.
        let own = match member.origin.host() {
            OriginHost::Name(name) => LookupName::from_sni(name.as_str()),
            OriginHost::Address(_) => LookupName::from_sni("health-check.invalid"),
        };
        let peer = own.and_then(|own| pool.speech.peer(&member.origin, address, &own, Some(limit)));
        peer.ok_or_else(|| NoOrigin::NoServerName.into_error())
    }
}
