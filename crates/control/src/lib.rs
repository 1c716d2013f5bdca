//! The control plane: hostnames API, store, internal CA and feed server.
//!
//! It keeps properties, hostnames and certificates (`store`), decides what may change (`service`),
//! and publishes every change to the PoPs (`feed`) in the transaction that makes it. It can seal a
//! private key and open none: no plaintext key is stored, logged or answered.
//! Start reading at [`run`].

pub mod admin;
mod agent;
mod api;
mod api_key;
mod authority;
mod ca;
mod call;
mod certificate;
mod challenge_zone;
mod cloudflare;
pub mod config;
mod error;
mod feed;
mod files;
mod hostname;
mod metrics;
mod notify;
mod peer;
mod pops_seen;
mod property;
mod rate;
mod refusals;
mod schema;
mod server;
mod service;
mod settings;
mod state;
mod store;
mod tasks;
mod token;
mod verification;
mod watch;

pub use authority::AuthorityFileError;
pub use ca::CaError;
pub use challenge_zone::TsigKeyError;
pub use error::ControlError;
pub use files::check_files;
pub use landfall_feed::{protocol::AckState, sign::VerifyingKey};
pub use landfall_model::{
    AuthorityName, Epoch, HostPattern, PropertyId, Revision, config::Problem,
};
pub use server::{Control, run};
pub use store::StoreError;
pub use token::RandomError;
