//! Takes back what agents have not reported on in time, and lifts holds.

use std::time::Duration;

use time::{Duration as Span, OffsetDateTime};

use super::every;
use crate::{api::problem::chain, service::Service};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Nobody was there, or the clock was set, where two looks are further apart.
const GAP: Span = Span::seconds(10);

/// For how long no lease is taken back: agents could not prolong theirs while the control plane was away,
/// and have what was paid for.
#[derive(Debug)]
struct Grace {
    lease: Duration,
    seen: OffsetDateTime,
    until: OffsetDateTime,
}

impl Grace {
    fn new(lease: Duration, now: OffsetDateTime) -> Self {
        Self { lease, seen: now, until: now + lease }
    }

    /// Whether leases may be taken back at `now`.
    fn is_over(&mut self, now: OffsetDateTime) -> bool {
        let since = now - self.seen;
        if since.is_negative() || since > GAP {
            self.until = now + self.lease;
        }
        self.seen = now;
        now >= self.until
    }

    /// A look has ended at `now`, however long it took.
    const fn looked(&mut self, now: OffsetDateTime) {
        self.seen = now;
    }
}

/// Takes back leases that ran out, one lease after the control plane was away at the soonest, and asks
/// at first for what CAs are told of us to be what is configured. Never ends.
pub(crate) async fn take_back(service: Service) {
    let mut ticks = every(LOOK_EVERY);
    if let Err(error) = service.update_accounts(OffsetDateTime::now_utc()).await {
        tracing::warn!(error = %chain(&error), "cannot look for accounts to be changed");
    }
    let mut grace = Grace::new(service.agents.lease(), OffsetDateTime::now_utc());
    loop {
        ticks.tick().await;
        let now = OffsetDateTime::now_utc();
        if let Err(error) = service.end_overdue_validations(now).await {
            tracing::warn!(error = %chain(&error), "cannot end what edges are told of validations");
        }
        if !grace.is_over(now) {
            continue;
        }
        if let Err(error) = service.take_back(now).await {
            tracing::warn!(error = %chain(&error), "cannot take back leases that ran out");
        }
        grace.looked(OffsetDateTime::now_utc());
    }
}

/// Lifts the holds that wait for an operator, who has just started the control plane.
pub(crate) async fn lift_holds(service: &Service, now: OffsetDateTime) {
    match service.lift_holds(now).await {
        Ok(0) => {}
        Ok(lifted) => tracing::info!(lifted, "CAs that were left alone are asked again"),
        Err(error) => tracing::warn!(error = %chain(&error), "cannot lift holds of CAs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_lease_is_taken_back_for_one_lease_after_nobody_was_there_or_the_clock_was_set() {
        let at = |seconds| OffsetDateTime::UNIX_EPOCH + Span::seconds(seconds);
        let mut grace = Grace::new(Duration::from_secs(120), at(1_000));
        let cases = [(1_005, false), (1_015, false), (1_016, false)];
        for (now, expected) in cases {
            assert_eq!(grace.is_over(at(now)), expected, "{now}");
        }
        let all: Vec<i64> = (1_017..1_200).filter(|now| grace.is_over(at(*now))).collect();
        assert_eq!(all.first(), Some(&1_120));
        assert!(!grace.is_over(at(1_300)), "it was away");
        let all: Vec<i64> = (1_301..1_500).filter(|now| grace.is_over(at(*now))).collect();
        assert_eq!(all.first(), Some(&1_420));
        assert!(!grace.is_over(at(900)), "the clock was set back");
        let all: Vec<i64> = (901..1_100).filter(|now| grace.is_over(at(*now))).collect();
        assert_eq!(all.first(), Some(&1_020));
    }
}
