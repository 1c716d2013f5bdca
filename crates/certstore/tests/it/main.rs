//! The store as the edge uses it: real certificates, sealed keys, real handshakes.

#[cfg(test)]
mod handshake;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod lookup;
#[cfg(test)]
mod resumption;
#[cfg(test)]
mod support;
