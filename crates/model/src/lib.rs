//! What the control plane and the edges talk about: names, ids, TLS policy, routes, certificates.
//!
//! Pure types. Nothing here does I/O, runs a task or knows a TLS library; every type that
//! comes from outside is parsed once, at the boundary, into a value that proves it.
//! Start reading at [`name`], which decides what a hostname is.

pub mod certificate;
pub mod config;
pub mod id;
pub mod name;
pub mod route;
pub mod seal;
pub mod tls;

pub use certificate::{Fingerprint, KeyType};
pub use id::{Epoch, HostnameId, PropertyId, Revision};
pub use name::{HostPattern, Hostname, LookupName, NameError};
pub use route::{Origin, OriginError, Route};
pub use seal::{SealContext, Sealed};
pub use tls::{CipherSuite, TlsPolicy, TlsPolicyError, TlsVersion};
