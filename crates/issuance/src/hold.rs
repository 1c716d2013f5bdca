//! What a CA's word to wait, or an operator's mistake, stops.

use landfall_model::{AuthorityName, HostPattern, Hostname};
use time::{Duration, OffsetDateTime};

use crate::{
    failure::{FailureClass, HoldScope},
    ledger::NameSet,
};

/// How far a clock may go back before a hold counts as one of a time that never was.
const CLOCK_TOLERANCE: Duration = Duration::minutes(15);

/// For whom a hold is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Held {
    /// Everything.
    Authority,
    /// Everything that is asked in the name of our account.
    Account,
    /// Names under a registered domain.
    RegisteredDomain(Hostname),
    /// A set of names.
    Names(NameSet),
}

/// A CA is not asked for something before a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Which CA.
    pub authority: AuthorityName,
    /// For whom.
    pub held: Held,
    /// When it began.
    pub since: OffsetDateTime,
    /// When it ends.
    pub until: OffsetDateTime,
    /// Why.
    pub class: FailureClass,
}

impl Held {
    /// Whom a scope means for a certificate of these names.
    pub fn new(scope: HoldScope, names: &[HostPattern], registered_domain: &Hostname) -> Self {
        match scope {
            HoldScope::Authority => Self::Authority,
            HoldScope::Account => Self::Account,
            HoldScope::RegisteredDomain => Self::RegisteredDomain(registered_domain.clone()),
            HoldScope::Name => Self::Names(NameSet::new(names)),
        }
    }

    /// The scope.
    pub const fn scope(&self) -> HoldScope {
        match self {
            Self::Authority => HoldScope::Authority,
            Self::Account => HoldScope::Account,
            Self::RegisteredDomain(_) => HoldScope::RegisteredDomain,
            Self::Names(_) => HoldScope::Name,
        }
    }

    /// Who in the scope; empty where it is everyone.
    pub fn subject(&self) -> String {
        match self {
            Self::Authority | Self::Account => String::new(),
            Self::RegisteredDomain(domain) => domain.to_string(),
            Self::Names(names) => names.to_string(),
        }
    }

    /// Reads what [`Self::scope`] and [`Self::subject`] say. `None` where the subject is none of that
    /// scope.
    pub fn from_parts(scope: HoldScope, subject: &str) -> Option<Self> {
        Some(match scope {
            HoldScope::Authority => Self::Authority,
            HoldScope::Account => Self::Account,
            HoldScope::RegisteredDomain => Self::RegisteredDomain(subject.parse().ok()?),
            HoldScope::Name => {
                let names = subject.split(' ').map(|name| name.parse().ok());
                Self::Names(NameSet::new(&names.collect::<Option<Vec<_>>>()?))
            }
        })
    }
}

impl Hold {
    /// Whether it stops anything at `now`. One that began well after `now` was written by a clock that
    /// was ahead, and stops nothing.
    pub fn is_in_force(&self, now: OffsetDateTime) -> bool {
        now < self.until && self.since <= now.saturating_add(CLOCK_TOLERANCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000 + minutes * 60).unwrap()
    }

    #[test]
    fn ends_in_time_whatever_the_clock_did() {
        let hold = Hold {
            authority: "lets_encrypt".parse().unwrap(),
            held: Held::Authority,
            since: at(0),
            until: at(60),
            class: FailureClass::RateLimited,
        };
        let year = 365 * 24 * 60;
        for (now, in_force) in [
            (0, true),
            (59, true),
            (60, false),
            (-10, true),
            (-16, false),
            (-year, false),
            (year, false),
        ] {
            assert_eq!(hold.is_in_force(at(now)), in_force, "{now}");
        }
    }

    #[test]
    fn is_read_as_it_is_written() {
        let names: Vec<HostPattern> =
            vec!["shop.test".parse().unwrap(), "*.shop.test".parse().unwrap()];
        let domain: Hostname = "shop.test".parse().unwrap();
        for scope in
            [HoldScope::Authority, HoldScope::Account, HoldScope::RegisteredDomain, HoldScope::Name]
        {
            let held = Held::new(scope, &names, &domain);
            assert_eq!(held.scope(), scope);
            assert_eq!(Held::from_parts(scope, &held.subject()), Some(held));
        }
        assert_eq!(Held::from_parts(HoldScope::Name, "-"), None);
    }
}
