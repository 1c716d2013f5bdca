//! Whether a connection is kept after a request.

use http::header;
use pingora_core::protocols::http::ServerSession;

use crate::{
    connection::Connection,
    proxy::hop_by_hop::{has_token, upgrade},
};

/// Leaves the wait for a connection's next request to its stream, which has a deadline for it.
pub(crate) fn wait_without_end(session: &mut ServerSession) {
    // Whole seconds; 0 is for ever.
    session.set_keepalive(Some(0));
}

/// Says with the answer that it is the connection's last (RFC 9112 section 9.6), where that is to
/// stop. pingora says so for requests that begin after that alone.
pub(crate) fn end_if_stopping(session: &mut ServerSession) {
    if Connection::of(session).is_some_and(|connection| connection.is_stopping()) {
        session.set_keepalive(None);
    }
}

/// Sees to it that a connection ends where its client wants it to, and where its client asks for
/// another protocol, unless the origin agrees: what the client has sent ahead of the answer is then
/// of no known protocol. A protocol that nobody is to be asked for is forgotten: what is left is
/// what the origin gets to see.
pub(crate) fn end_as_asked(session: &mut ServerSession) {
    let header = session.req_header();
    let mut connection = header.headers.get_all(header::CONNECTION).iter();
    let is_last = connection.any(|value| has_token(value, "close"));
    let asks = header.headers.contains_key(header::UPGRADE);
    if asks && upgrade(header).is_none() {
        session.req_header_mut().remove_header(&header::UPGRADE);
        session.req_header_mut().remove_header("http2-settings");
    }
    if (is_last || asks) && session.get_keepalive().is_some() {
        session.set_keepalive(None);
    }
}
