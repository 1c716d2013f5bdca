//! What is issued next: which job is leased, to be issued by which CA, and until when each of the others
//! waits, and for what.
//!
//! Renewals go before new names, and names that fail come after those that don't. A part of what a CA
//! allows is kept for renewals, so that a flood of new names never uses it up. New names take turns by
//! property. A job goes to another CA than its first one only where its wait would be long.
//!
//! Who calls [`plan`] chooses the candidates: those that are due, and those whose time is further off
//! than [`crate::schedule::LONGEST`], which a clock that was ahead has left behind; some of each purpose and of
//! each choice of a CA, and of new names those whose property's turn it is.

mod inventory;
mod order;
mod round;

use landfall_model::{AuthorityName, JobId};
use time::OffsetDateTime;

pub use inventory::{Budgets, Inventory, Job, Purpose, Rules, Standing};

use crate::{
    failure::FailureClass,
    hold::Held,
    ledger::{Bucket, Counting},
};

/// What is to be done about a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is leased.
    Lease {
        /// The job.
        job: JobId,
        /// Who issues.
        authority: AuthorityName,
        /// Whether for good.
        stage: Stage,
        /// Whether [`Bucket::of_order`] was drawn from, once for each certificate. What the attempt
        /// doesn't use is to be given back.
        counting: Counting,
    },
    /// It waits.
    Wait {
        /// The job.
        job: JobId,
        /// When it is to be looked at again; the present where that is when something else ends.
        until: OffsetDateTime,
        /// What it waits for.
        reason: WaitReason,
    },
}

/// Whether a certificate is issued for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is to be served.
    Real,
    /// The name has failed often: a staging environment is asked first, and what it issues is thrown
    /// away.
    Rehearsal {
        /// The CA that is asked after it.
        of: AuthorityName,
    },
}

/// What a job waits for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WaitReason {
    /// Its own time: the last attempt failed.
    NotDue,
    /// An agent.
    Capacity,
    /// Other jobs that the CA is doing, of which there are as many as may be.
    InFlight(AuthorityName),
    /// A CA that failed: one job at a time goes to see whether it works again.
    Probe(AuthorityName),
    /// A limit of the CA.
    Limit(AuthorityName, Bucket),
    /// A hold, and why there is one.
    Hold(AuthorityName, Held, FailureClass),
    /// A CA that may issue: there is none.
    NoAuthority,
}

impl WaitReason {
    /// As metrics have it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotDue => "not_due",
            Self::Capacity => "capacity",
            Self::InFlight(_) => "in_flight",
            Self::Probe(_) => "probe",
            Self::Limit(_, bucket) => bucket.kind().name(),
            Self::Hold(..) => "hold",
            Self::NoAuthority => "no_authority",
        }
    }
}

/// Decides about every job of the inventory, in the order in which they go. The budgets are drawn from,
/// and their ledger says which rows changed.
pub fn plan(now: OffsetDateTime, inventory: &Inventory, budgets: &mut Budgets) -> Vec<Action> {
    let mut round = round::Round::new(now, inventory, budgets);
    order::ordered(inventory).into_iter().map(|job| round.decide(job)).collect()
}

#[cfg(test)]
mod tests;
