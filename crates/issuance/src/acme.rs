//! The ACME client (RFC 8555): what is asked of a CA, in types of this crate.
//!
//! A [`Connector`] keeps the CAs' directories and gives a [`Connection`], on which an account is
//! registered and a [`Session`] begun. A session makes an [`Order`], which goes: authorizations, their
//! challenges answered, ready, finalized, issued. Nothing here decides when or whether to ask; each
//! call ends in time, and what fails is an [`AcmeError`], which is told to the classes of failures as a
//! [`Trouble`](crate::failure::Trouble).
//!
//! Start reading at `protocol.rs`, the one file that knows the client library. What the library can't
//! do is in `account.rs`: an account with a key that was kept before, bound to an external account.

mod account;
mod answers;
mod authorization;
mod connection;
mod error;
mod http;
mod key;
mod nonces;
mod pause;
mod protocol;
mod refusal;
mod renewal;
mod request;
mod url;

pub use account::Registration;
pub use authorization::{
    Authorization, AuthorizationStatus, Challenge, ChallengeStatus, OrderStatus,
};
pub use connection::{Connection, Connector};
pub use error::AcmeError;
pub use http::TransportError;
pub use key::{AccountKey, Binding, KeyError, OwnKey};
pub use protocol::{Order, Session};
pub use renewal::{CertificateId, CertificateIdError};
pub use request::{CertificateKey, NewOrder, RequestError, RevocationReason};
pub use url::{UrlError, UrlRule};
