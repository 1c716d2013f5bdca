//! What the planner is given.

use std::collections::{BTreeMap, HashMap};

use landfall_model::{AuthorityName, HostPattern, Hostname, JobId, PropertyId};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::{
    hold::{Held, Hold},
    ledger::Ledger,
    schedule::History,
};

/// A certificate that is to be issued, and nobody does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Whose hostname it is for.
    pub property: PropertyId,
    /// The certificate's names.
    pub names: Vec<HostPattern>,
    /// The registered domain that they are under; a name that is a public suffix stands for itself.
    pub registered_domain: Hostname,
    /// How many certificates: one for each type of key.
    pub certificates: u32,
    /// What it is for.
    pub purpose: Purpose,
    /// Not before then.
    pub next_at: OffsetDateTime,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When the certificate ends that is served; none where there is none.
    pub expires_at: Option<OffsetDateTime>,
    /// How it has gone so far.
    pub history: History,
    /// The CA that has an order of an earlier lease that may still be good: to go on with it counts
    /// nowhere.
    pub ordered: Option<AuthorityName>,
    /// The CAs that may issue, the preferred one first.
    pub authorities: Vec<AuthorityName>,
    /// Requests that were seen of late. Of what is urgent, the busiest goes first.
    pub traffic: u64,
}

/// What a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A hostname that has none.
    New,
    /// In place of one that is served.
    Renewal {
        /// The CA that issued that one and wants it replaced by now
        /// ([`crate::renewal::Certificate::is_wanted`]): its limits may not count the order.
        wanted_by: Option<AuthorityName>,
    },
    /// In place of one that ends soon, or is to be revoked.
    Urgent {
        /// As for [`Self::Renewal`].
        wanted_by: Option<AuthorityName>,
    },
}

/// What there is to do, and who could do it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Jobs that nobody has leased.
    pub jobs: Vec<Job>,
    /// How many jobs are leased, by their CA.
    pub running: BTreeMap<AuthorityName, u32>,
    /// How many of these are for new names.
    pub running_new: u32,
    /// How many orders for new names each property began of late, whatever became of them. Those with
    /// fewer go first.
    pub recent: BTreeMap<PropertyId, u32>,
    /// Any number, another one each time: whose turn it is where one in several goes to what has failed.
    pub turn: u32,
    /// How many jobs can be leased now.
    pub capacity: u32,
}

/// What may be asked of CAs.
#[derive(Clone, Debug, Default)]
pub struct Budgets {
    /// The CAs that are configured.
    pub authorities: BTreeMap<AuthorityName, Standing>,
    /// What their limits leave.
    pub ledger: Ledger,
    /// The operator's rules.
    pub rules: Rules,
    holds: HashMap<AuthorityName, HashMap<Held, Hold>>,
}

/// A CA, as the planner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How many jobs may be leased for it at once.
    pub max_running: u32,
    /// Its failures in a row that were outages ([`crate::schedule::outages`]).
    pub outages: u32,
    /// Its staging environment, where names that fail often are tried first.
    pub staging: Option<AuthorityName>,
}

/// How the planner weighs things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// How many hundredths of each limit, and of the jobs that a CA does at once, new names leave for
    /// renewals.
    pub kept_for_renewals: u8,
    /// A new name that would wait for its CA longer than this, from when it was due on, goes to the next
    /// one.
    #[serde(with = "humantime_serde")]
    pub patience_new: std::time::Duration,
    /// A renewal that would wait for its CA longer than this goes to the next one; one that is urgent goes
    /// at once.
    #[serde(with = "humantime_serde")]
    pub patience_renewal: std::time::Duration,
    /// How many orders for new names a property may have open at once that wait for TXT records of their
    /// owners.
    pub owners_orders: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            kept_for_renewals: 20,
            patience_new: std::time::Duration::from_secs(10 * 60),
            patience_renewal: std::time::Duration::from_secs(12 * 3600),
            owners_orders: 20,
        }
    }
}

impl Rules {
    /// How long a job waits for its CA before it goes to another one.
    pub(super) fn patience(&self, purpose: &Purpose) -> Duration {
        let patience = match purpose {
            Purpose::New => self.patience_new,
            Purpose::Renewal { .. } => self.patience_renewal,
            Purpose::Urgent { .. } => return Duration::ZERO,
        };
        Duration::try_from(patience).unwrap_or(Duration::MAX)
    }
}

impl Purpose {
    /// Whether there is a certificate that it replaces, and the CA that wants that.
    pub(super) fn wanted_by(&self) -> Option<&AuthorityName> {
        match self {
            Self::New => None,
            Self::Renewal { wanted_by } | Self::Urgent { wanted_by } => wanted_by.as_ref(),
        }
    }
}

impl Budgets {
    /// Those of CAs that have failed nobody.
    pub fn new(
        authorities: BTreeMap<AuthorityName, Standing>,
        ledger: Ledger,
        rules: Rules,
    ) -> Self {
        Self { authorities, ledger, rules, holds: HashMap::new() }
    }

    /// Adds a hold. Of two for the same, the later end counts.
    pub fn hold(&mut self, hold: Hold) {
        let holds = self.holds.entry(hold.authority.clone()).or_default();
        match holds.get(&hold.held) {
            Some(known) if known.until >= hold.until && known.since <= hold.since => {}
            _ => {
                holds.insert(hold.held.clone(), hold);
            }
        }
    }

    /// The hold in force for one of `held` that ends last.
    pub fn held(
        &self,
        authority: &AuthorityName,
        held: &[Held],
        now: OffsetDateTime,
    ) -> Option<&Hold> {
        let holds = self.holds.get(authority)?;
        let found = held.iter().filter_map(|held| holds.get(held));
        found.filter(|hold| hold.is_in_force(now)).max_by_key(|hold| hold.until)
    }
}
