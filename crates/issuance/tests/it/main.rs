//! The ACME client against real CAs, with real DNS servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod accounts;
mod faults;
mod issuing;
mod other_authorities;
mod refusals;
mod renewing;
mod support;
