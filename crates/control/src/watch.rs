//! Looks at what PoPs show: a certificate is served once a handshake with ourselves has shown it.
//!
//! What decides is pure: [`next_look`] says when a certificate is looked for again, [`reach`] which PoPs
//! are asked at all, [`handshake`] what a PoP showed.

pub(crate) mod handshake;
pub(crate) mod pop_set;
pub(crate) mod reach;

use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use tokio::sync::Notify;

use crate::{
    config::WatchConfig,
    hostname::deployment::Proof,
    metrics::watch::WatchMetrics,
    rate::{Buckets, Quota},
    token::PopId,
};
use reach::Reach;

/// The longest between two looks for a certificate that no PoP has shown.
const LONGEST: Duration = Duration::hours(1);
/// For how long the PoPs are looked at that have not shown what others did.
const STRAGGLERS: Duration = Duration::days(1);
/// How many PoPs have buckets of their own.
const PACED_POPS: usize = 4_096;

/// What a handshake with a PoP showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Finding {
    /// The certificate.
    Shown,
    /// Another one.
    OtherCertificate,
    /// The PoP does not know the name, or has no certificate for it.
    NameRefused,
    /// Nobody answered at any of the PoP's addresses.
    Unreachable,
    /// Somebody answered, and there was no handshake.
    Failed,
}

impl Finding {
    /// Every one.
    pub(crate) const ALL: [Self; 5] =
        [Self::Shown, Self::OtherCertificate, Self::NameRefused, Self::Unreachable, Self::Failed];

    /// As the API and metrics have it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Shown => "shown",
            Self::OtherCertificate => "other_certificate",
            Self::NameRefused => "name_refused",
            Self::Unreachable => "unreachable",
            Self::Failed => "failed",
        }
    }
}

/// How far the looks for a certificate have got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Every active PoP has shown it.
    Complete,
    /// A PoP showed it that had not before, and others have not.
    Further,
    /// Some PoP has shown it, and no other one did now.
    Stragglers,
    /// None has ever shown it.
    Unseen,
}

/// When a certificate is looked for again that has been there since `since` and was looked for `looks`
/// times in a row without anything new; none: no more. `seed` spreads what came together.
pub(crate) fn next_look(
    now: OffsetDateTime,
    (since, seed): (OffsetDateTime, u64),
    progress: Progress,
    looks: u32,
) -> Option<OffsetDateTime> {
    match progress {
        Progress::Complete => return None,
        Progress::Stragglers if now - since > STRAGGLERS => return None,
        Progress::Further => return Some(now + Duration::SECOND),
        Progress::Stragglers | Progress::Unseen => {}
    }
    let seconds = 1_i64.checked_shl(looks.min(12)).unwrap_or(i64::MAX);
    let delay = Duration::seconds(seconds).min(LONGEST);
    let spread = u8::try_from(seed % 64).unwrap_or(0);
    Some(now + delay + delay * spread / 256)
}

/// What looks at PoPs go by, and what they know of PoPs.
pub(crate) struct Watch {
    pub(crate) config: WatchConfig,
    pub(crate) reach: Mutex<Reach>,
    pub(crate) pace: Buckets<PopId>,
    /// Told when a PoP has acknowledged something.
    pub(crate) acknowledged: Notify,
    pub(crate) metrics: WatchMetrics,
}

impl Watch {
    /// As the configuration has it.
    pub(crate) fn new(config: WatchConfig, metrics: WatchMetrics) -> Self {
        let quota = Quota {
            per_minute: config.per_pop_per_second.saturating_mul(60),
            burst: config.per_pop_per_second,
        };
        Self {
            config,
            reach: Mutex::default(),
            pace: Buckets::new(quota, PACED_POPS),
            acknowledged: Notify::new(),
            metrics,
        }
    }

    /// What it takes for a certificate to count as served.
    pub(crate) fn proof(&self) -> Proof {
        match self.config.handshakes {
            true => Proof::Handshake,
            false => Proof::Acknowledgement,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINCE: OffsetDateTime = OffsetDateTime::UNIX_EPOCH.saturating_add(Duration::days(20_000));

    fn seconds(age: Duration, progress: Progress, looks: u32) -> Option<i64> {
        let now = SINCE + age;
        next_look(now, (SINCE, 0), progress, looks).map(|at| (at - now).whole_seconds())
    }

    #[test]
    fn a_certificate_that_no_pop_shows_is_looked_for_ever_more_rarely_and_without_end() {
        for (looks, expected) in [(0, 1), (1, 2), (5, 32), (11, 2_048), (12, 3_600), (99, 3_600)] {
            assert_eq!(seconds(Duration::days(40), Progress::Unseen, looks), Some(expected));
        }
        let spread = next_look(SINCE, (SINCE, 63), Progress::Unseen, 99).unwrap() - SINCE;
        assert!(spread > LONGEST && spread < LONGEST * 5 / 4);
    }

    #[test]
    fn pops_that_lag_are_looked_at_for_a_day() {
        assert_eq!(seconds(Duration::hours(23), Progress::Stragglers, 0), Some(1));
        assert_eq!(seconds(Duration::hours(25), Progress::Stragglers, 0), None);
        assert_eq!(seconds(Duration::hours(25), Progress::Further, 9), Some(1));
        assert_eq!(seconds(Duration::ZERO, Progress::Complete, 0), None);
    }
}
