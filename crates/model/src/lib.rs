//! What the control plane and the edges talk about: names, ids, TLS policy, routes, certificates.
//!
//! Pure types. Nothing here does I/O, runs a task or knows a TLS library; every type that
//! comes from outside is parsed once, at the boundary, into a value that proves it.
//! Start reading at [`name`], which decides what a hostname is.

pub mod certificate;
pub mod config;
pub mod http;
pub mod id;
pub mod issuance;
pub mod name;
pub mod network;
pub mod origin;
pub mod route;
pub mod seal;
pub mod state;
pub mod tls;

pub use certificate::{Der, Fingerprint, KeyType};
pub use http::{FieldName, FieldValue, HeaderEdit, Hsts, HttpPolicy, HttpPolicyError};
pub use id::{Epoch, HostnameId, PropertyId, Revision};
pub use issuance::{AuthorityName, ChallengeMethod, Fence, JobId, Thumbprint};
pub use name::{HostPattern, Hostname, LookupName, NameError};
pub use network::Network;
pub use origin::{
    Balance, HealthCheck, Origin, OriginError, OriginHost, OriginName, OriginPool, OriginPoolError,
    OriginProtocol, OriginTimeouts, Scheme, WeightedOrigin,
};
pub use route::{CustomOrigin, PathPrefix, PathRoute, Route, RouteError};
pub use seal::{SealContext, Sealed};
pub use state::HostnameState;
pub use tls::{CipherSuite, ClientAuth, ClientAuthMode, TlsPolicy, TlsPolicyError, TlsVersion};
