//! The load comparison, and what the micro benchmarks share: many hostnames, and how much memory the
//! process has.
//!
//! Run them with `make bench` and `make bench-micro`. Figures are of one machine: compare ratios.

pub mod load;

use std::{fs, sync::Arc};

use landfall_certstore::{
    CertificateId, CertificateRef, CertificateSource, EntrySpec, KeyKind, SourceError,
    StoredCertificate,
};
use landfall_model::{
    HostPattern, HostnameState, LookupName, NameError, PropertyId, Route, TlsPolicy,
};

/// How many hostnames a node is built for.
pub const HOSTNAMES: u64 = 1_000_000;
/// Hostnames of one property, which share a route.
const PER_PROPERTY: u64 = 10;

/// The name of hostname `n`: about as long as those of customers.
///
/// # Errors
/// None: it is well-formed for every `n`.
pub fn hostname(n: u64) -> Result<HostPattern, NameError> {
    format!("shop-{n}.customer-{}.example", n / 3).parse()
}

/// The entry of hostname `n`, with one P-256 certificate by reference.
///
/// # Errors
/// None: it is well-formed for every `n`.
pub fn entry(n: u64) -> Result<EntrySpec, NameError> {
    let property = PropertyId(i64::try_from(n / PER_PROPERTY).unwrap_or(i64::MAX));
    Ok(EntrySpec {
        name: hostname(n)?,
        state: HostnameState::Active,
        route: Route::to(property),
        policy: TlsPolicy::default(),
        certificates: vec![CertificateRef {
            id: CertificateId(property.0),
            key_kind: KeyKind::P256,
            not_after: u32::MAX,
            standby: false,
        }],
    })
}

/// A source that has nothing: the benchmarks of the index need none.
pub fn empty_source() -> Arc<dyn CertificateSource> {
    Arc::new(Empty)
}

struct Empty;

impl CertificateSource for Empty {
    fn certificate(&self, _id: CertificateId) -> Result<Option<StoredCertificate>, SourceError> {
        Ok(None)
    }

    fn entry(&self, _name: &LookupName) -> Result<Option<EntrySpec>, SourceError> {
        Ok(None)
    }

    fn wildcard(&self, _name: &LookupName) -> Result<Option<EntrySpec>, SourceError> {
        Ok(None)
    }
}

/// The resident memory of this process in bytes, 0 where the system does not tell.
pub fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1_024
}
