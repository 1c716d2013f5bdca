//! Whether a connection is kept after a request.

use http::header;
use pingora_core::protocols::http::ServerSession;

use crate::connection::Connection;

/// The upgrade to HTTP/2 in the clear (RFC 9113 section 3.1 has it obsolete): an origin that took
/// it would get requests that nobody here has seen.
const H2C: &str = "h2c";

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

/// Sees to it that a connection whose client asks for another protocol ends, unless the origin
/// agrees: what the client has sent ahead of the answer is then of no known protocol.
pub(crate) fn end_after_upgrade(session: &mut ServerSession) {
    let Some(wanted) = session.req_header().headers.get(header::UPGRADE) else { return };
    let names_h2c = wanted
        .as_bytes()
        .split(|byte| *byte == b',')
        .any(|protocol| protocol.trim_ascii().eq_ignore_ascii_case(H2C.as_bytes()));
    if names_h2c {
        session.req_header_mut().remove_header(&header::UPGRADE);
        session.req_header_mut().remove_header("http2-settings");
    }
    if session.get_keepalive().is_some() {
        session.set_keepalive(None);
    }
}
