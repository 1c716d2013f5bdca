//! What a CA allows.

use serde::{Deserialize, Serialize};
use time::Duration;

use super::BucketKind;

/// The most that a limit may count, and the longest time it may count over.
const MAX_COUNT: u32 = 10_000_000;
const MAX_PERIOD: Duration = Duration::days(366);

/// So many in so long, as a token bucket: `burst` at once, and then one each `period / count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "LimitFields", into = "LimitFields")]
pub struct Limit {
    count: u32,
    period: Duration,
    burst: u32,
}

/// As a configuration has it.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitFields {
    count: u32,
    #[serde(with = "humantime_serde")]
    per: std::time::Duration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    burst: Option<u32>,
}

/// Numbers that are no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a limit counts 1 to {MAX_COUNT} `per` 1s to 366days, with a `burst` of 1 to {MAX_COUNT}")]
pub struct LimitError;

impl Limit {
    /// `count` in `period`, and as many at once: the CA's own bucket refills continually, as Let's
    /// Encrypt's does.
    ///
    /// # Errors
    /// Where `count` or `period` is out of bounds.
    pub fn bucket(count: u32, period: Duration) -> Result<Self, LimitError> {
        Self::with_burst(count, period, count)
    }

    /// At most `count` in any window of `period`, for CAs that count so. Half of it may come at once.
    ///
    /// # Errors
    /// Where `count` or `period` is out of bounds. A window of one can't be held.
    pub fn window(count: u32, period: Duration) -> Result<Self, LimitError> {
        Self::with_burst(count - count / 2, period, count / 2)
    }

    /// `burst` at once, and `count` in each `period` after that.
    ///
    /// # Errors
    /// Where a number is out of bounds.
    pub fn with_burst(count: u32, period: Duration, burst: u32) -> Result<Self, LimitError> {
        let numbers = 1..=MAX_COUNT;
        let fits = numbers.contains(&count)
            && numbers.contains(&burst)
            && (Duration::SECOND..=MAX_PERIOD).contains(&period);
        fits.then_some(Self { count, period, burst }).ok_or(LimitError)
    }

    /// For what stands in this file.
    const fn known(count: u32, period: Duration) -> Self {
        Self { count, period, burst: count }
    }

    /// How many come back in [`Self::period`].
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// How many may come at once.
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// The time in which [`Self::count`] come back.
    pub const fn period(&self) -> Duration {
        self.period
    }
}

impl TryFrom<LimitFields> for Limit {
    type Error = LimitError;

    fn try_from(fields: LimitFields) -> Result<Self, LimitError> {
        let period = Duration::try_from(fields.per).map_err(|_| LimitError)?;
        Self::with_burst(fields.count, period, fields.burst.unwrap_or(fields.count))
    }
}

impl From<Limit> for LimitFields {
    fn from(limit: Limit) -> Self {
        let per = limit.period.unsigned_abs();
        let burst = (limit.burst != limit.count).then_some(limit.burst);
        Self { count: limit.count, per, burst }
    }
}

/// A CA's limits. Where there is none, nothing is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// New orders of an account.
    pub new_orders: Option<Limit>,
    /// Certificates for names under one registered domain.
    pub certificates: Option<Limit>,
    /// Certificates for exactly the same names.
    pub exact_set: Option<Limit>,
    /// Failed authorizations of one name.
    pub failed_authorizations: Option<Limit>,
    /// New accounts.
    pub new_accounts: Option<Limit>,
    /// What it makes of orders that say which certificate they replace.
    pub replacing: Counting,
}

/// Whether a CA counts an order that replaces a certificate within the window that it named itself
/// (RFC 9773).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counting {
    /// Like any other.
    Counted,
    /// Not at all.
    Exempt,
}

/// Limits that are known by a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Let's Encrypt's: <https://letsencrypt.org/docs/rate-limits/>.
    LetsEncrypt,
    /// Those of its staging environment: <https://letsencrypt.org/docs/staging-environment/>.
    LetsEncryptStaging,
    /// None.
    Unlimited,
}

impl Preset {
    /// The limits.
    pub const fn limits(self) -> Limits {
        match self {
            Self::LetsEncrypt => Limits {
                new_orders: Some(Limit::known(300, Duration::hours(3))),
                certificates: Some(Limit::known(50, Duration::days(7))),
                exact_set: Some(Limit::known(5, Duration::days(7))),
                failed_authorizations: Some(Limit::known(5, Duration::HOUR)),
                new_accounts: Some(Limit::known(10, Duration::hours(3))),
                replacing: Counting::Exempt,
            },
            Self::LetsEncryptStaging => Limits {
                new_orders: Some(Limit::known(1_500, Duration::hours(3))),
                certificates: Some(Limit::known(30_000, Duration::days(7))),
                exact_set: Some(Limit::known(30_000, Duration::days(7))),
                failed_authorizations: Some(Limit::known(60, Duration::HOUR)),
                new_accounts: Some(Limit::known(50, Duration::hours(3))),
                replacing: Counting::Exempt,
            },
            Self::Unlimited => Limits {
                new_orders: None,
                certificates: None,
                exact_set: None,
                failed_authorizations: None,
                new_accounts: None,
                replacing: Counting::Counted,
            },
        }
    }
}

/// What an operator's configuration changes of a preset, such as what a CA has agreed to raise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overrides {
    /// New orders of an account. Default: what `limits` says.
    pub new_orders: Option<Limit>,
    /// Certificates for a registered domain. Default: what `limits` says.
    pub certificates: Option<Limit>,
    /// Certificates for the same set of names. Default: what `limits` says.
    pub exact_set: Option<Limit>,
    /// Failed authorizations of a name. Default: what `limits` says.
    pub failed_authorizations: Option<Limit>,
    /// New accounts. Default: what `limits` says.
    pub new_accounts: Option<Limit>,
    /// Whether orders that replace a certificate count. Default: what `limits` says.
    pub replacing: Option<Counting>,
}

impl Limits {
    /// These, changed.
    #[must_use]
    pub fn with(self, overrides: Overrides) -> Self {
        Self {
            new_orders: overrides.new_orders.or(self.new_orders),
            certificates: overrides.certificates.or(self.certificates),
            exact_set: overrides.exact_set.or(self.exact_set),
            failed_authorizations: overrides.failed_authorizations.or(self.failed_authorizations),
            new_accounts: overrides.new_accounts.or(self.new_accounts),
            replacing: overrides.replacing.unwrap_or(self.replacing),
        }
    }

    /// The limit of a kind.
    pub const fn of(&self, kind: BucketKind) -> Option<Limit> {
        match kind {
            BucketKind::NewOrders => self.new_orders,
            BucketKind::Certificates => self.certificates,
            BucketKind::ExactSet => self.exact_set,
            BucketKind::FailedAuthorizations => self.failed_authorizations,
            BucketKind::NewAccounts => self.new_accounts,
        }
    }
}
