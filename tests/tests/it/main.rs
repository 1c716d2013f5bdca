//! End-to-end tests. Each file is one part of what Landfall promises.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod alerts;
mod changes;
mod contract;
mod crash;
mod demo;
mod deploy;
mod ending;
mod faults;
mod handover;
mod hostile_feed;
mod issuance;
mod notify;
mod obtaining;
mod resumption;
mod scarcity;
mod sdk;
mod secrets;
mod settings;
mod slice;
mod takeover;
mod tls;
mod upgrades;
