//! The arithmetic of one bucket.

use time::{Duration, OffsetDateTime};

use super::{Draw, Keep, LAG, Limit};

/// How much a bucket has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// What is left.
    pub left: u32,
    /// What is left of a full one.
    pub of: u32,
}

impl Limit {
    /// How long one takes to come back.
    fn interval(&self) -> Duration {
        self.period() / i32::try_from(self.count()).unwrap_or(i32::MAX).max(1)
    }

    fn span(&self, tokens: u32) -> Duration {
        self.interval() * i32::try_from(tokens).unwrap_or(i32::MAX)
    }

    /// The latest arrival that a bucket can have: it is empty then.
    pub(super) fn latest_arrival(&self, now: OffsetDateTime) -> OffsetDateTime {
        now.saturating_add(self.span(self.burst()))
    }

    /// The arrival once one was drawn.
    pub(super) fn charged(
        &self,
        arrival: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> OffsetDateTime {
        let from = arrival.map_or(now, |arrival| arrival.max(now));
        from.saturating_add(self.interval()).min(self.latest_arrival(now))
    }

    /// The arrival without a draw that was made before.
    pub(super) fn given_back(&self, arrival: OffsetDateTime, tokens: u32) -> OffsetDateTime {
        arrival.saturating_sub(self.span(tokens))
    }

    /// When there is enough for a draw.
    pub(super) fn available_at(
        &self,
        arrival: Option<OffsetDateTime>,
        draw: Draw,
        now: OffsetDateTime,
    ) -> OffsetDateTime {
        let Some(arrival) = arrival else { return now };
        let arrival = arrival.min(self.latest_arrival(now));
        let kept = draw.keep.of(self.burst());
        let usable = self.burst().saturating_sub(draw.tokens.max(1)).saturating_sub(kept);
        arrival.saturating_sub(self.span(usable)).saturating_add(LAG).max(now)
    }

    pub(super) fn level(&self, arrival: Option<OffsetDateTime>, now: OffsetDateTime) -> Level {
        let of = self.burst();
        let Some(arrival) = arrival else { return Level { left: of, of } };
        let left = (self.latest_arrival(now) - arrival).whole_nanoseconds();
        let left = left / self.interval().whole_nanoseconds().max(1);
        Level { left: u32::try_from(left.max(0)).unwrap_or(of).min(of), of }
    }
}

impl Keep {
    fn of(self, burst: u32) -> u32 {
        match self {
            Self::Nothing => 0,
            Self::Percent(percent) => {
                let kept = u64::from(burst) * u64::from(percent.min(100)) / 100;
                u32::try_from(kept).unwrap_or(burst).min(burst.saturating_sub(1))
            }
        }
    }
}
