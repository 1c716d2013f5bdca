//! Where a connection is from, as coarse as limits count it.

use std::net::IpAddr;

/// One client: an IPv4 address, or an IPv6 /64, which is what one site gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Address {
    V4(u32),
    V6(u64),
}

/// One network: an IPv4 /24 or an IPv6 /48.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Prefix {
    V4(u32),
    V6(u64),
}

impl Address {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6(top(address.to_bits(), 64)),
        }
    }
}

impl Prefix {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits() >> 8),
            IpAddr::V6(address) => Self::V6(top(address.to_bits(), 48)),
        }
    }
}

/// The first `bits`, 64 at most.
fn top(address: u128, bits: u32) -> u64 {
    u64::try_from(address >> (128 - bits)).unwrap_or(u64::MAX)
}
