//! The edge in this process, with real sockets, real clients and a small origin.

mod access_log;
#[cfg(test)]
mod admission;
#[cfg(test)]
mod challenges;
#[cfg(test)]
mod deadlines;
#[cfg(test)]
mod default_hostname;
#[cfg(test)]
mod evil_origins;
#[cfg(test)]
mod headers;
#[cfg(test)]
mod http2;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod mtls;
#[cfg(test)]
mod named_origins;
#[cfg(test)]
mod operators;
#[cfg(test)]
mod origins;
#[cfg(test)]
mod overload;
#[cfg(test)]
mod passthrough;
#[cfg(test)]
mod plain;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod proxy_protocol;
#[cfg(test)]
mod refused_tls;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod secure_origins;
#[cfg(test)]
mod smuggling;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod traces;
