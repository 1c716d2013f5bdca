//! When a certificate is renewed, and how pressing that is.
//!
//! The CA's own window (RFC 9773) decides where there is one, else the part of the lifetime that is
//! left. Within either the time is a slot of the certificate's own: a function of its hostname and
//! itself, so that it stays what it is, whoever works it out and how often.

use landfall_model::{HostnameId, issuance::RenewalAdvice};
use time::{Duration, OffsetDateTime};

use crate::{clock::latest, jitter::Jitter};

/// How often a CA is asked for a certificate's window.
const POLL: Duration = Duration::hours(12);
/// The longest that a CA's word not to ask again is taken for (RFC 9773 section 4.3).
const POLL_MAX: Duration = Duration::DAY;
/// Certificates that live shorter than this are renewed when half of their life is left.
const SHORT_LIFE: Duration = Duration::days(10);
/// What part of the time that is left when a renewal may begin its slots are spread over.
const SLOTS: f64 = 0.15;
/// One that has less than this part of its life left is urgent.
const URGENT: i32 = 6;
/// A certificate is new for this part of its lifetime, and for this long at most.
const NEW: i32 = 24;
const NEW_MAX: Duration = Duration::hours(6);
/// However long a certificate says that it lives, it is renewed once two thirds of the longest life that
/// CAs may give one (398 days, CA/Browser Forum Baseline Requirements section 6.3.2) have passed.
const LONGEST_REST: Duration = Duration::days(265);
/// A window may put a renewal off until this part of the lifetime is left.
const LATEST: i32 = 4;

/// A certificate that is served.
#[derive(Clone, Copy, Debug)]
pub struct Certificate<'a> {
    /// Whose it is.
    pub hostname: HostnameId,
    /// What tells it from the hostname's others, such as the first bytes of its fingerprint.
    pub seed: u64,
    /// From when on it is valid.
    pub not_before: OffsetDateTime,
    /// Until when it is valid.
    pub not_after: OffsetDateTime,
    /// When it was taken in, by the clock of who asks.
    pub issued_at: OffsetDateTime,
    /// What the CA has said last.
    pub advice: Option<&'a RenewalAdvice>,
}

/// Where a renewal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is not due before a time.
    Waits {
        /// The time.
        until: OffsetDateTime,
    },
    /// It is due.
    Due,
    /// It goes before others.
    Urgent {
        /// Why.
        because: Urgency,
    },
}

/// Why a renewal is urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Less than a sixth of the lifetime is left, or nothing.
    LittleLeft,
    /// The CA's window is over: it wants the certificate replaced at once, as before it revokes many.
    WindowOver,
}

impl Certificate<'_> {
    /// When it is to be renewed. It moves only where the CA's window does.
    pub fn renew_at(&self) -> OffsetDateTime {
        self.wanted_at().min(latest(self.issued_at, LONGEST_REST))
    }

    fn wanted_at(&self) -> OffsetDateTime {
        let life = self.life();
        let jitter = Jitter::of_all(&[self.hostname.0.cast_unsigned(), self.seed]);
        let Some((start, end)) = self.window() else {
            let left = if life < SHORT_LIFE { life / 2 } else { life / 3 };
            return self.not_after.saturating_sub(left * (1.0 - SLOTS * jitter.fraction()));
        };
        let chosen = latest(start, (end - start) * jitter.fraction());
        chosen.min(self.not_after.saturating_sub(life / LATEST))
    }

    /// Where it stands at `now`.
    pub fn standing(&self, now: OffsetDateTime) -> Standing {
        let left = self.not_after - now;
        if left < self.life() / URGENT {
            return Standing::Urgent { because: Urgency::LittleLeft };
        }
        if self.window().is_some_and(|(_, end)| end <= now) {
            return Standing::Urgent { because: Urgency::WindowOver };
        }
        match self.renew_at() {
            at if at <= now => Standing::Due,
            until => Standing::Waits { until },
        }
    }

    /// From when on its renewal goes before others, unless the CA says otherwise meanwhile.
    pub fn urgent_at(&self) -> OffsetDateTime {
        let little_left = self.not_after.saturating_sub(self.life() / URGENT);
        self.window().map_or(little_left, |(_, end)| end.min(little_left))
    }

    /// A job that renews it is not attempted before then, however due or urgent it is: while a clock is
    /// far off, or a CA's windows are, each certificate would be followed by the next at once.
    pub fn settled_at(&self) -> OffsetDateTime {
        latest(self.issued_at, (self.life() / NEW).min(NEW_MAX))
    }

    /// Whether an order that says that it replaces this certificate is made when the CA wants it
    /// (RFC 9773 section 5). Such an order may be exempt from limits.
    pub fn is_wanted(&self, now: OffsetDateTime) -> bool {
        self.window().is_some_and(|(start, _)| start <= now)
    }

    /// When its CA is to be asked for its window next: twice a day at times of its own, not before the
    /// CA wants to be asked, and daily whatever the CA wants.
    pub fn poll_at(
        &self,
        now: OffsetDateTime,
        last_poll: Option<OffsetDateTime>,
    ) -> OffsetDateTime {
        let jitter = Jitter::of_all(&[self.hostname.0.cast_unsigned()]);
        let offset = (POLL * jitter.fraction()).whole_seconds();
        let Some(last) = last_poll.map(|last| last.min(now)) else {
            // A slot of its own in the first hour: many may be new at once.
            return latest(self.not_before, Duration::HOUR * jitter.fraction());
        };
        let since_slot = (last.unix_timestamp() - offset).rem_euclid(POLL.whole_seconds());
        let slot = latest(last, POLL - Duration::seconds(since_slot));
        let wanted = self.advice.map_or(slot, |advice| advice.ask_again_at);
        slot.max(wanted.min(latest(last, POLL_MAX)))
    }

    fn life(&self) -> Duration {
        (self.not_after - self.not_before).max(Duration::ZERO)
    }

    /// The window. One that ends before it starts is none (RFC 9773 section 4.2).
    fn window(&self) -> Option<(OffsetDateTime, OffsetDateTime)> {
        let advice = self.advice?;
        (advice.start < advice.end).then_some((advice.start, advice.end))
    }
}

#[cfg(test)]
mod tests;
