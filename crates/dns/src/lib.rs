//! Whether a hostname's DNS leads here, and why not: forward look-ups, the CNAME walk, CAA and
//! ownership tokens, and the evidence that explains a verdict.
//!
//! It never decides what becomes of a hostname, and keeps nothing: who asks does both. Start reading
//! at [`Verifier`], which asks, and [`Evidence`], which is what it sees.

mod advice;
mod ask;
mod caa;
mod conclusion;
mod config;
mod delegation;
mod evidence;
mod exchange;
mod expectation;
mod judge;
mod names;
mod record;
mod report;
mod resolvers;
mod sight;
mod sockets;
mod token;
mod verifier;
mod walk;
mod zone;

pub use caa::{CaaAnswer, Issuer};
pub use config::{
    DnsConfig, DnsError, ServerAddressError, ZoneServers, canonical_resolver, server_address,
};
pub use delegation::{Delegation, DelegationEvidence, challenge_name};
pub use evidence::{
    AddressEvidence, AddressOwner, CaaEvidence, CaaVerdict, Conflict, DomainValidation, Evidence,
    Finding, HttpTokenEvidence, HttpTokenSlug, LookupEvidence, LookupOutcome, TxtTokenEvidence,
    Verdict, ZoneEvidence,
};
pub use expectation::{Activity, CaIdentity, Expectation, Pop};
pub use names::{is_apex, is_public_suffix, registered_domain};
pub use record::{AddressKind, AddressRecord, RequiredKind, RequiredRecord, required_record};
pub use verifier::Verifier;
