//! Limits of requests by key and by the property that keys are for, and of failed authentications by address.
//!
//! A secret has 192 bits, so nothing can be guessed: the second limit tells a client that keeps
//! failing to come back later, and never stands in the way of a key that is right.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use axum::response::Response;
use http::{HeaderValue, StatusCode};
use landfall_model::PropertyId;

use super::problem::Problem;
use crate::{
    api_key::Caller,
    config::{ConnectionLimits, RateLimits},
    peer::{Peer, TooMany},
    rate::{Buckets, Quota, Verdict},
    token::ApiKeyId,
};

/// How many keys, properties and clients are remembered.
const MAX_KEYS: usize = 10_000;
const MAX_PROPERTIES: usize = 10_000;
const MAX_CLIENTS: usize = 10_000;

/// When to come back with a connection that was one too many.
const CONNECTIONS_RETRY: Duration = Duration::from_secs(5);

/// Limits of requests.
#[derive(Debug)]
pub(crate) struct Throttle {
    by_key: Buckets<ApiKeyId>,
    by_property: Buckets<PropertyId>,
    failures: Buckets<IpAddr>,
}

impl Throttle {
    pub(crate) fn new(limits: RateLimits) -> Self {
        Self {
            by_key: Buckets::new(limits.key, MAX_KEYS),
            by_property: Buckets::new(limits.property, MAX_PROPERTIES),
            failures: Buckets::new(limits.failures, MAX_CLIENTS),
        }
    }

    /// Counts a key's request. One that the key itself may not make costs other keys for its property
    /// nothing.
    pub(crate) fn request(&self, caller: &Caller, now: Instant) -> Result<Allowance, Problem> {
        let own = match self.by_key.take(caller.key, now) {
            Verdict::Admitted { remaining, full_in } => {
                Allowance { quota: self.by_key.quota(), remaining, full_in }
            }
            Verdict::Refused { retry_in } => {
                let limit = self.by_key.quota().per_minute;
                let detail = format!("The key has {limit} requests a minute.");
                return Err(limited(&detail, retry_in));
            }
        };
        let shared = caller.property.map(|property| self.by_property.take(property, now));
        match shared {
            None | Some(Verdict::Admitted { .. }) => Ok(own),
            Some(Verdict::Refused { retry_in }) => {
                let limit = self.by_property.quota().per_minute;
                let detail = format!("The property's keys have {limit} requests a minute.");
                Err(limited(&detail, retry_in))
            }
        }
    }

    /// Counts a failed authentication: `refused`, or that there were too many.
    pub(crate) fn failure(&self, peer: Option<&Peer>, now: Instant, refused: Problem) -> Problem {
        let Some(peer) = peer else { return refused };
        match self.failures.take(peer.client(), now) {
            Verdict::Admitted { .. } => refused,
            Verdict::Refused { retry_in } => {
                limited("Too many requests came from here without a valid key.", retry_in)
            }
        }
    }
}

fn limited(detail: &str, retry_in: Duration) -> Problem {
    let status = StatusCode::TOO_MANY_REQUESTS;
    Problem::new(status, "rate_limited", "Too many requests", detail).retry_in(retry_in)
}

/// A connection more than there may be.
pub(crate) fn too_many(refused: TooMany, limits: &ConnectionLimits) -> Problem {
    let detail = match refused {
        TooMany::Holder => format!(
            "A key for all properties, or those for one together, have {} connections at a time.",
            limits.per_holder
        ),
        TooMany::Client => {
            format!("An address has {} connections with keys at a time.", limits.per_client)
        }
        TooMany::Keys => "All connections that keys may have are taken.".to_owned(),
    };
    let (status, title) = (StatusCode::TOO_MANY_REQUESTS, "Too many connections");
    Problem::new(status, "too_many_connections", title, detail).retry_in(CONNECTIONS_RETRY)
}

/// What a key may still do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    quota: Quota,
    remaining: u32,
    full_in: Duration,
}

impl Allowance {
    /// Tells it in the answer (draft-ietf-httpapi-ratelimit-headers-10).
    pub(crate) fn tell(self, response: &mut Response) {
        let Quota { per_minute, burst } = self.quota;
        let window = u64::from(burst) * 60 / u64::from(per_minute.max(1));
        let policy = format!("\"key\";q={burst};w={}", window.max(1));
        let full_in = self.full_in.as_secs_f64().ceil();
        let state = format!("\"key\";r={};t={full_in}", self.remaining);
        for (name, value) in [("ratelimit-policy", policy), ("ratelimit", state)] {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api_key::Scope;

    fn caller(key: i64, property: Option<i64>) -> Caller {
        let property = property.map(PropertyId);
        Caller { key: ApiKeyId(key), scope: Scope::Read, property }
    }

    #[test]
    fn keys_for_one_property_share_its_requests_however_many_there_are() {
        let quota = |burst| Quota { per_minute: 1, burst };
        let limits = RateLimits { key: quota(3), property: quota(5), failures: quota(1) };
        let throttle = Throttle::new(limits);
        let now = Instant::now();
        let admitted = |key, property| {
            let mut requests =
                std::iter::repeat_with(|| throttle.request(&caller(key, property), now).is_ok());
            requests.by_ref().take(10).filter(|admitted| *admitted).count()
        };
        assert_eq!(admitted(1, Some(1)), 3);
        assert_eq!(admitted(2, Some(1)), 2);
        assert_eq!(admitted(3, Some(1)), 0);
        assert_eq!(admitted(4, Some(2)), 3);
        assert_eq!(admitted(5, None), 3);
    }
}
