//! The zone that `_acme-challenge` of customers' names leads to (RFC 8555 section 8.4): its records stand
//! in the store, and are served by a small server of our own or put into the operator's by RFC 2136.
//!
//! Start reading at [`Publisher`], which keeps what is published as the store says. The server holds
//! nothing but that zone, and knows no other name.

mod answer;
mod clients;
mod metrics;
mod publisher;
pub(crate) mod record;
mod server;
mod update;

use hickory_proto::rr::Name;

use crate::config::UpdateConfig;
pub(crate) use publisher::Publisher;
pub use update::TsigKeyError;
use update::Updater;

/// Reads the key that the config names.
pub(crate) fn check_files(config: &UpdateConfig) -> Result<(), TsigKeyError> {
    Updater::new(Name::root(), config).map(drop)
}
