//! What is issued when, by which CA and how.
//!
//! What decides is pure: the planner, the ledger of the CAs' limits, the classes of failures, the time of
//! a renewal, the choice of a method. What acts is the ACME issuer and the agent, which runs at the
//! edges. It knows no database and no server.

pub mod acme;
pub mod agent;
pub mod chain;
mod clock;
pub mod failure;
pub mod forecast;
pub mod hold;
pub mod jitter;
pub mod ledger;
pub mod method;
pub mod plan;
pub mod protocol;
pub mod renewal;
pub mod schedule;

#[cfg(test)]
mod simulation;
