//! Whether a hostname's DNS leads here, and why not: forward look-ups, the CNAME walk, CAA and
//! ownership tokens, and the evidence that explains a verdict.
//!
//! It never decides what becomes of a hostname, and keeps nothing: who asks does both. Start reading
//! at [`Evidence`].

mod evidence;
mod expectation;

pub use evidence::{
    AddressEvidence, AddressOwner, CaaEvidence, CaaVerdict, Conflict, DomainValidation, Evidence,
    Finding, HttpTokenEvidence, HttpTokenSlug, LookupEvidence, LookupOutcome, TxtTokenEvidence,
    Verdict, ZoneEvidence,
};
pub use expectation::{CaIdentity, Expectation, Pop};
