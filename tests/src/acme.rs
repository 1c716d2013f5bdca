//! Real CAs that speak ACME (RFC 8555): pebble, Caddy and acme2certifier, each a process of its own with
//! a certificate of its own CA.
//!
//! ```no_run
//! # use landfall_tests::{Authority, acme::Pebble};
//! # async fn test() {
//! let dns = Authority::start(&[("shop.test", "www A 127.0.0.1")]).await;
//! let pebble = Pebble::builder().dns(dns.address()).start().await;
//! // … have the HTTP-01 challenge answered at port `pebble.http_port()`.
//! let ca = pebble.authority();
//! # }
//! ```

mod acme2certifier;
mod caddy;
mod identity;
mod pebble;
mod server;

pub use acme2certifier::Acme2certifier;
pub use caddy::Caddy;
pub use identity::LocalRoot;
pub use pebble::{Pebble, PebbleBuilder, PebbleVersion};
