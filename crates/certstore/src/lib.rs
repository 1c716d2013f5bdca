//! The store that TLS handshakes and requests look names up in, and the keys behind it.
//!
//! One [`Publisher`] writes, any number of [`Resolver`]s read, and no reader ever waits: the index
//! is 4,096 shards, each swapped whole. An entry holds a hostname's route, its TLS policy and
//! *references* to its certificates; chains and sealed keys stay where a [`CertificateSource`]
//! keeps them, and parsed keys live in a cache bounded in bytes. A handshake for a cold hostname
//! reads one row, opens the sealed key and parses it, off the async threads.
//!
//! This crate knows no feed, no file and no socket. It never shows a private key.
//! Start reading at [`channel`].

mod answer;
mod busy;
mod cache;
mod entry;
mod index;
mod intern;
mod keyring;
mod policy;
mod resolver;
mod select;
mod source;
mod store;
mod tickets;

pub use busy::Busy;
pub use cache::Stats;
pub use entry::{CertificateId, CertificateRef, Entry, EntrySpec, KeyKind};
pub use keyring::{CertificateError, GroupKeyError, GroupKeys};
pub use policy::{Policy, PolicyError};
pub use resolver::with_certificate;
pub use select::Offer;
pub use source::{CertificateSource, SourceError, StoredCertificate};
pub use store::{Publisher, Replacement, Resolver, SelectError, Selected, StoreConfig, channel};
pub use tickets::{TicketSecret, TicketSecretError, TicketSecrets};
