//! What each CA's limits leave us, counted before it is asked for anything.
//!
//! Every limit is a token bucket, as Let's Encrypt's own are, and every bucket is one timestamp, its
//! theoretical arrival time (GCRA, ITU-T I.371): one row where it is kept. What is not in the ledger is
//! a full bucket. Buckets are drawn from when a job is leased, and the CA counts when the order comes
//! in, up to [`LAG`] later; a bucket therefore fills that much later here than at the CA, and never holds
//! more than the CA's.

mod bucket;
mod limits;
mod subject;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use landfall_model::AuthorityName;
use time::{Duration, OffsetDateTime};

use crate::failure::Spent;

pub use bucket::Level;
pub use limits::{Counting, Limit, LimitError, Limits, Overrides, Preset};
pub use subject::{Bucket, BucketKind, NameSet};

/// The longest time from a draw to the moment when the CA counts it.
pub const LAG: Duration = Duration::minutes(2);

/// What is drawn from a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// How many.
    pub tokens: u32,
    /// What has to be left after it.
    pub keep: Keep,
}

/// How much of a bucket a draw has to leave in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// This many hundredths of the burst, rounded down: for what goes before the draw.
    Percent(u8),
}

impl Draw {
    /// One, whatever is left.
    pub const ONE: Self = Self { tokens: 1, keep: Keep::Nothing };
}

/// A bucket that has too little.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// The bucket.
    pub bucket: Bucket,
    /// When it has enough, if nothing else is drawn.
    pub until: OffsetDateTime,
}

/// A bucket's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose limit it is.
    pub authority: AuthorityName,
    /// Which one.
    pub bucket: Bucket,
    /// The theoretical arrival time: the bucket is full from then on.
    pub arrival: OffsetDateTime,
}

/// The buckets of all CAs. It is bounded by what is loaded into it and drawn from it.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    limits: BTreeMap<AuthorityName, Limits>,
    arrivals: HashMap<(AuthorityName, Bucket), OffsetDateTime>,
    changed: BTreeSet<(AuthorityName, Bucket)>,
}

impl Ledger {
    /// One whose buckets are all full. A CA that is not named has no limits.
    pub fn new(limits: BTreeMap<AuthorityName, Limits>) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes rows over as they were kept.
    pub fn load(&mut self, entries: impl IntoIterator<Item = Entry>) {
        let rows = entries.into_iter().map(|row| ((row.authority, row.bucket), row.arrival));
        self.arrivals.extend(rows);
    }

    /// The rows that are to be written: those that changed since the last call. Waiting changes rows,
    /// too, where a clock went back: without that, a bucket would stay empty until the clock is where
    /// it was.
    pub fn take_changes(&mut self) -> Vec<Entry> {
        let changed = std::mem::take(&mut self.changed);
        let row = |key: (AuthorityName, Bucket)| {
            let arrival = *self.arrivals.get(&key)?;
            Some(Entry { authority: key.0, bucket: key.1, arrival })
        };
        changed.into_iter().filter_map(row).collect()
    }

    /// A CA's limits.
    pub fn limits(&self, authority: &AuthorityName) -> Option<&Limits> {
        self.limits.get(authority)
    }

    /// Draws from each bucket, or from none.
    ///
    /// # Errors
    /// As [`Self::shortage`].
    pub fn draw(
        &mut self,
        authority: &AuthorityName,
        buckets: &[Bucket],
        draw: Draw,
        now: OffsetDateTime,
    ) -> Result<(), Shortage> {
        if let Some(short) = self.shortage(authority, buckets, draw, now) {
            return Err(short);
        }
        for bucket in buckets {
            (0..draw.tokens).for_each(|_| self.charge(authority, bucket, now));
        }
        Ok(())
    }

    /// Which of the buckets takes longest to have enough; none where each has enough.
    pub fn shortage(
        &mut self,
        authority: &AuthorityName,
        buckets: &[Bucket],
        draw: Draw,
        now: OffsetDateTime,
    ) -> Option<Shortage> {
        let mut short: Option<Shortage> = None;
        for bucket in buckets {
            self.mend(authority, bucket, now);
            let until = self.available_at(authority, bucket, draw, now);
            if until > now && short.as_ref().is_none_or(|short| short.until < until) {
                short = Some(Shortage { bucket: bucket.clone(), until });
            }
        }
        short
    }

    /// Draws one, even where there is none: it has been used already.
    pub fn charge(&mut self, authority: &AuthorityName, bucket: &Bucket, now: OffsetDateTime) {
        let Some(limit) = self.limit(authority, bucket) else { return };
        let arrival = limit.charged(self.arrival(authority, bucket), now);
        self.set(authority, bucket, arrival);
    }

    /// Gives back what was drawn for an order, but for what was used.
    pub fn give_back(
        &mut self,
        authority: &AuthorityName,
        drawn: &[Bucket],
        tokens: u32,
        spent: Spent,
    ) {
        for bucket in drawn.iter().filter(|bucket| !bucket.is_spent(spent)) {
            let Some(limit) = self.limit(authority, bucket) else { continue };
            let Some(arrival) = self.arrival(authority, bucket) else { continue };
            self.set(authority, bucket, limit.given_back(arrival, tokens));
        }
    }

    /// From when on there is enough: `now` where that is so already. A draw of more than a full bucket
    /// waits for a full one.
    pub fn available_at(
        &self,
        authority: &AuthorityName,
        bucket: &Bucket,
        draw: Draw,
        now: OffsetDateTime,
    ) -> OffsetDateTime {
        let Some(limit) = self.limit(authority, bucket) else { return now };
        limit.available_at(self.arrival(authority, bucket), draw, now)
    }

    /// How much a bucket has; none where there is no limit.
    pub fn level(
        &self,
        authority: &AuthorityName,
        bucket: &Bucket,
        now: OffsetDateTime,
    ) -> Option<Level> {
        let limit = self.limit(authority, bucket)?;
        Some(limit.level(self.arrival(authority, bucket), now))
    }

    /// Takes back what a clock that has gone back since would turn into an endless wait.
    fn mend(&mut self, authority: &AuthorityName, bucket: &Bucket, now: OffsetDateTime) {
        let Some(limit) = self.limit(authority, bucket) else { return };
        let Some(arrival) = self.arrival(authority, bucket) else { return };
        let latest = limit.latest_arrival(now);
        if arrival > latest {
            self.set(authority, bucket, latest);
        }
    }

    fn limit(&self, authority: &AuthorityName, bucket: &Bucket) -> Option<Limit> {
        self.limits.get(authority)?.of(bucket.kind())
    }

    fn arrival(&self, authority: &AuthorityName, bucket: &Bucket) -> Option<OffsetDateTime> {
        self.arrivals.get(&(authority.clone(), bucket.clone())).copied()
    }

    fn set(&mut self, authority: &AuthorityName, bucket: &Bucket, arrival: OffsetDateTime) {
        let key = (authority.clone(), bucket.clone());
        self.arrivals.insert(key.clone(), arrival);
        self.changed.insert(key);
    }
}

#[cfg(test)]
mod tests;
