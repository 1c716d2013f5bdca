//! The harness of the end-to-end tests: real processes, real clients, nothing in between.
//!
//! A [`Lab`] is a control plane and its edges in a temporary folder, each a `landfall` process
//! that a test can stop, kill and start again. An [`Authority`] and a [`RecursiveResolver`] are
//! real DNS servers, and those of [`acme`] real CAs, which the tests of single crates use too. An
//! [`Origin`] is a server behind the edge that remembers what it was asked. [`tools`] runs curl,
//! openssl and h2load. Nothing sleeps for time to pass: [`wait_until`] waits for a condition.
//!
//! ```no_run
//! # use landfall_tests::{Lab, Origin};
//! # async fn test() {
//! let origin = Origin::start("shop").await;
//! let lab = Lab::start().await;
//! let property = lab.api().create_property("shop", origin.address()).await;
//! lab.api().add_hostname(property, "www.lab.localhost").await;
//! lab.wait_until_served(0, "www.lab.localhost", "shop").await;
//! # }
//! ```
//!
//! Everything that is started ends with the value that stands for it. A test that fails prints
//! the ends of its processes' logs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a harness fails its test by panicking"
)]

pub mod acme;
mod api;
mod checkpoint;
mod dns;
mod feed;
mod fleet;
mod gate;
mod issued;
mod lab;
mod node;
mod origin;
mod ports;
mod search;
pub mod tools;
mod wait;

pub use api::{Answer, Api};
pub use checkpoint::{Checkpoint, Instead, Moment};
pub use dns::{Authority, RecursiveResolver, UpdateKey};
pub use feed::{Recorder, Said, ScriptedFeed};
pub use fleet::{CUSTOMER_ZONE, FLEET_DOMAIN, Fleet, FleetBuilder, PreparedFleet};
pub use gate::GatedOrigin;
pub use issued::Issued;
pub use lab::{Lab, LabBuilder, SYSTEM_DOMAIN};
pub use node::{Node, landfall, run_landfall};
pub use origin::{Origin, Received};
pub use ports::free_ports;
pub use search::{Searcher, Secret, WINDOW};
pub use wait::{DEADLINE, wait_until};
