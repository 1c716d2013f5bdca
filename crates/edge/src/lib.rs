//! The PoP edge: TLS for any number of hostnames, and requests on to their origins.
//!
//! A connection is accepted by [`server`], gets its policy and certificate from the ClientHello,
//! and becomes a stream of requests for the proxy, which routes by hostname. What is served comes
//! from the certificate store; the feed's poller fills that. Whatever happens to the control
//! plane, the edge serves what it last knew.
//!
//! pingora appears in this crate alone. The request path never locks, blocks or reads a disk, but
//! for a certificate that isn't in the cache, which is read on other threads.
//! Start reading at [`server::build`].

mod admin;
pub mod config;
mod connection;
mod error;
mod front;
pub mod metrics;
mod proxy;
pub mod readiness;
mod redirect;
mod refusal;
mod request;
pub mod server;
mod stream;

pub use error::EdgeError;

/// Makes aws-lc-rs the process's cryptography. pingora would otherwise install another one.
pub fn install_crypto() {
    // Fails where a provider is installed already, which is then this one: nobody else does.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
