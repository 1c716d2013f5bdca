//! Limits of requests by key, and of failed authentications by address.
//!
//! A secret has 192 bits, so nothing can be guessed: the second limit tells a client that keeps
//! failing to come back later, and never stands in the way of a key that is right.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use axum::response::Response;
use http::{HeaderValue, StatusCode};

use super::problem::Problem;
use crate::{
    config::ApiConfig,
    rate::{Buckets, Quota, Verdict, client_of},
    token::ApiKeyId,
};

/// How many keys and how many clients are remembered.
const MAX_KEYS: usize = 10_000;
const MAX_CLIENTS: usize = 10_000;

/// The address that a request came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Limits of requests.
#[derive(Debug)]
pub(crate) struct Throttle {
    by_key: Buckets<ApiKeyId>,
    failures: Buckets<IpAddr>,
}

impl Throttle {
    pub(crate) fn new(config: &ApiConfig) -> Self {
        Self {
            by_key: Buckets::new(config.rate, MAX_KEYS),
            failures: Buckets::new(config.failures, MAX_CLIENTS),
        }
    }

    /// Counts a key's request.
    pub(crate) fn request(&self, key: ApiKeyId, now: Instant) -> Result<Allowance, Problem> {
        match self.by_key.take(key, now) {
            Verdict::Admitted { remaining, full_in } => {
                Ok(Allowance { quota: self.by_key.quota(), remaining, full_in })
            }
            Verdict::Refused { retry_in } => {
                let limit = self.by_key.quota().per_minute;
                let detail = format!("The key has {limit} requests a minute.");
                Err(limited(&detail, retry_in))
            }
        }
    }

    /// Counts a failed authentication: `refused`, or that there were too many.
    pub(crate) fn failure(&self, peer: Option<Peer>, now: Instant, refused: Problem) -> Problem {
        let Some(Peer(address)) = peer else { return refused };
        match self.failures.take(client_of(address), now) {
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
