//! The ACME client and the agent against real CAs, with real DNS servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod accounts;
mod agents;
mod faults;
mod issuing;
mod other_authorities;
mod pops;
mod records;
mod refusals;
mod renewing;
mod script;
mod support;
