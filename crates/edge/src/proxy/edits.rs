//! What a hostname's owner changes in headers.

use http::{HeaderName, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};

use crate::rules::Edit;

/// A header that can be changed.
pub(super) trait Header {
    fn set(&mut self, name: HeaderName, value: HeaderValue) -> pingora::Result<()>;
    fn remove(&mut self, name: &HeaderName);
}

impl Header for RequestHeader {
    fn set(&mut self, name: HeaderName, value: HeaderValue) -> pingora::Result<()> {
        self.insert_header(name, value)
    }

    fn remove(&mut self, name: &HeaderName) {
        self.remove_header(name);
    }
}

impl Header for ResponseHeader {
    fn set(&mut self, name: HeaderName, value: HeaderValue) -> pingora::Result<()> {
        self.insert_header(name, value)
    }

    fn remove(&mut self, name: &HeaderName) {
        self.remove_header(name);
    }
}

/// Makes the edits, in their order.
pub(super) fn apply(edits: &[Edit], header: &mut impl Header) -> pingora::Result<()> {
    for edit in edits {
        match edit {
            Edit::Set(name, value) => header.set(name.clone(), value.clone())?,
            Edit::Remove(name) => header.remove(name),
        }
    }
    Ok(())
}
