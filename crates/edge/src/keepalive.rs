//! How long a connection may idle between two requests.

use std::time::Duration;

use pingora_core::protocols::http::ServerSession;

/// Gives a connection that its client wants kept an end: to pingora, kept is kept for ever. One
/// that is to close stays so.
pub(crate) fn limit(session: &mut ServerSession, idle: Duration) {
    if session.get_keepalive().is_some() {
        // Whole seconds; 0 would be for ever.
        session.set_keepalive(Some(idle.as_secs().max(1)));
    }
}
