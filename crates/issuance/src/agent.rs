//! The agent: leases jobs from the control plane, does them with the CA, and hands over what came of it.
//!
//! A job is a sequence of steps: DNS and CAA checked, the challenge seen at every PoP, ordered, proven,
//! issued, checked, sealed, handed over. Each wait has an end. While it works, the lease is prolonged;
//! once it is lost, everything stops at once. What fails is reported as a
//! [`Trouble`](crate::failure::Trouble): what follows from that is for the control plane to decide.
//!
//! It keeps nothing: an agent that dies costs a lease time and, where it had the certificate's key
//! already, an order. Start reading at [`Agent::run`], then `issue.rs`.

mod account;
mod announcement;
mod backoff;
mod errand;
mod issue;
mod job;
mod lease;
mod metrics;
mod prechecks;
mod probe;
mod proof;
mod surroundings;
mod work;

use std::{num::NonZeroUsize, time::Duration};

pub use metrics::AgentMetrics;
pub use surroundings::{ControlError, ControlPlane, Vault, VaultError};
pub use work::{Agent, Orders};

/// How an agent works.
#[derive(Clone, Debug)]
pub struct AgentSettings {
    /// How many jobs are done at a time.
    pub jobs: NonZeroUsize,
    /// How long the control plane may wait until there is work.
    pub wait: Duration,
    /// Where HTTP-01 is asked for at PoPs.
    pub http_port: u16,
    /// Where TLS-ALPN-01 is asked for at PoPs.
    pub tls_port: u16,
    /// How long PoPs have to take up a validation, and our own zone a record.
    pub propagation: Duration,
    /// How long one PoP address has to answer our own fetch of a challenge.
    pub probe: Duration,
    /// How long a CA has to validate.
    pub validation: Duration,
    /// How long a CA has to issue what is validated.
    pub issuing: Duration,
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self {
            jobs: NonZeroUsize::MIN.saturating_add(7),
            wait: Duration::from_secs(25),
            http_port: 80,
            tls_port: 443,
            propagation: Duration::from_secs(60),
            probe: Duration::from_secs(5),
            validation: Duration::from_secs(180),
            issuing: Duration::from_secs(180),
        }
    }
}
