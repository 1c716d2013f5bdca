//! The crate against real DNS servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod delegation;
mod faults;
mod resolvers;
mod scripted;
mod support;
mod tokens;
mod verdicts;
