//! What an attempt came to when it failed: a class, the CA's own words, what the owner and what the
//! operator are told, and what follows.
//!
//! Who did the attempt says what happened as a [`Trouble`]; [`classify`] makes a [`Failure`] of it,
//! whose class and remedy alone decide what comes next.

mod address;
mod class;
mod classify;
mod problem;
mod told;
mod trouble;
mod words;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

pub use class::{FailureClass, Fault};
pub use classify::{Setting, classify};
pub use problem::{Problem, ProblemKind, Step, Subproblem};
pub use trouble::{Precheck, Spent, Trouble};
pub use words::Words;

/// A failed attempt, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it was.
    pub class: FailureClass,
    /// What the CA, or whoever refused, said itself.
    pub words: Option<Words>,
    /// One sentence for the hostname's owner; none where it is nothing that concerns them.
    pub owner: Option<String>,
    /// One sentence for the operator; none where nothing is to be done.
    pub operator: Option<String>,
    /// What follows.
    pub remedy: Remedy,
}

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Another attempt with the same CA, after 1, 10 and 100 minutes and then daily.
    Backoff,
    /// Another attempt once the hostname's DNS is verified again. No CA is called before.
    DnsLoop,
    /// None of `scope` is attempted with this CA before `until`; another CA may be.
    RetryAfter {
        /// For whom it holds.
        scope: HoldScope,
        /// Until when.
        until: OffsetDateTime,
    },
    /// Another attempt at once by another method than the one that failed; backoff where none is left.
    OtherMethod,
    /// Another attempt with another CA; backoff where none is left.
    OtherAuthority,
    /// Another attempt at once, with an order that doesn't say what it replaces.
    WithoutReplaces,
    /// Another attempt within minutes: nothing is wrong with the hostname.
    Soon,
    /// Nothing of `scope` is attempted with this CA until the operator has mended something; another
    /// CA may be.
    Operator {
        /// For whom it holds.
        scope: HoldScope,
    },
    /// No attempt until somebody asks for one; another CA may be tried.
    Terminal,
}

/// For whom a CA's word to wait holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldScope {
    /// For everything that is asked of the CA.
    Authority,
    /// For everything that is asked in the name of our account.
    Account,
    /// For names under one registered domain.
    RegisteredDomain,
    /// For one name, or one set of names.
    Name,
}

#[cfg(test)]
mod tests;
