//! Ownership tokens: in a TXT record, or in a file on the host.

mod http;
mod txt;
