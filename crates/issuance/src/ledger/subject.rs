//! What a limit counts.

use std::fmt;

use landfall_model::{HostPattern, Hostname};
use serde::{Deserialize, Serialize};

use crate::failure::Spent;

/// One of a CA's buckets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// Orders made by our account.
    NewOrders,
    /// Certificates for names under a registered domain.
    Certificates(Hostname),
    /// Certificates for exactly these names.
    ExactSet(NameSet),
    /// Authorizations of a name that failed.
    FailedAuthorizations(Hostname),
    /// Accounts registered from our address.
    NewAccounts,
}

/// The kinds of buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BucketKind {
    /// [`Bucket::NewOrders`].
    NewOrders,
    /// [`Bucket::Certificates`].
    Certificates,
    /// [`Bucket::ExactSet`].
    ExactSet,
    /// [`Bucket::FailedAuthorizations`].
    FailedAuthorizations,
    /// [`Bucket::NewAccounts`].
    NewAccounts,
}

/// The names of a certificate, whatever their order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameSet(String);

impl NameSet {
    /// The set of `names`.
    pub fn new(names: &[HostPattern]) -> Self {
        let mut names: Vec<String> = names.iter().map(HostPattern::to_string).collect();
        names.sort_unstable();
        names.dedup();
        Self(names.join(" "))
    }
}

impl fmt::Display for NameSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl BucketKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::NewOrders,
        Self::Certificates,
        Self::ExactSet,
        Self::FailedAuthorizations,
        Self::NewAccounts,
    ];

    /// As metrics and the store have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NewOrders => "new_orders",
            Self::Certificates => "certificates",
            Self::ExactSet => "exact_set",
            Self::FailedAuthorizations => "failed_authorizations",
            Self::NewAccounts => "new_accounts",
        }
    }

    /// Reads what [`Self::name`] writes.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Bucket {
    /// What an order draws from.
    pub fn of_order(names: &[HostPattern], registered_domain: &Hostname) -> [Self; 3] {
        [
            Self::NewOrders,
            Self::Certificates(registered_domain.clone()),
            Self::ExactSet(NameSet::new(names)),
        ]
    }

    /// Whether an attempt that got so far has used what was drawn.
    pub(super) const fn is_spent(&self, spent: Spent) -> bool {
        match self {
            Self::NewOrders => !matches!(spent, Spent::Nothing),
            Self::Certificates(_) | Self::ExactSet(_) => matches!(spent, Spent::Certificate),
            Self::FailedAuthorizations(_) | Self::NewAccounts => true,
        }
    }

    /// What it counts.
    pub const fn kind(&self) -> BucketKind {
        match self {
            Self::NewOrders => BucketKind::NewOrders,
            Self::Certificates(_) => BucketKind::Certificates,
            Self::ExactSet(_) => BucketKind::ExactSet,
            Self::FailedAuthorizations(_) => BucketKind::FailedAuthorizations,
            Self::NewAccounts => BucketKind::NewAccounts,
        }
    }

    /// Whom it counts for; empty where that is the CA's whole account.
    pub fn subject(&self) -> String {
        match self {
            Self::NewOrders | Self::NewAccounts => String::new(),
            Self::Certificates(name) | Self::FailedAuthorizations(name) => name.to_string(),
            Self::ExactSet(names) => names.to_string(),
        }
    }

    /// Reads what [`Self::kind`] and [`Self::subject`] say. `None` where the subject is none of that
    /// kind.
    pub fn from_parts(kind: BucketKind, subject: &str) -> Option<Self> {
        Some(match kind {
            BucketKind::NewOrders => Self::NewOrders,
            BucketKind::NewAccounts => Self::NewAccounts,
            BucketKind::Certificates => Self::Certificates(subject.parse().ok()?),
            BucketKind::FailedAuthorizations => Self::FailedAuthorizations(subject.parse().ok()?),
            BucketKind::ExactSet => {
                let names = subject.split(' ').map(|name| name.parse().ok());
                Self::ExactSet(NameSet::new(&names.collect::<Option<Vec<_>>>()?))
            }
        })
    }
}
