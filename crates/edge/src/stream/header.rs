//! When a client must have sent a request's header.
//!
//! pingora's timeouts are for one read each, so a byte now and then keeps a header unfinished for
//! ever. Here the whole header has one deadline, from its first byte.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::frames::Frames;
use crate::{config::Limits, connection::Connection};

/// How much more than the allowed header is read before the connection is cut. In between, the
/// client gets an answer that says so.
const SIZE_MARGIN: usize = 2;

/// Which protocol the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Why a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Cut {
    #[error("the request header did not arrive in time")]
    Late,
    #[error("the request header has too many bytes")]
    Oversized,
}

/// Decides how long to wait for the rest of a header. Told of everything that is read.
#[derive(Debug)]
pub(super) struct HeaderWait {
    progress: Progress,
    timeout: Duration,
    deadline: Option<Instant>,
}

#[derive(Debug)]
enum Progress {
    Http1(Http1),
    Http2(Frames),
}

#[derive(Debug)]
struct Http1 {
    connection: Arc<Connection>,
    /// The requests that had started when `bytes` was last zero.
    started: u32,
    /// Bytes since the last request.
    bytes: usize,
    max_bytes: usize,
}

impl HeaderWait {
    pub(super) fn new(
        protocol: Protocol,
        connection: &Arc<Connection>,
        limits: &Limits,
        now: Instant,
    ) -> Self {
        let (progress, first) = match protocol {
            // Browsers open connections ahead of need, so the first byte may come late.
            Protocol::Http1 => (
                Progress::Http1(Http1 {
                    connection: Arc::clone(connection),
                    started: 0,
                    bytes: 0,
                    max_bytes: limits.header_size.saturating_mul(SIZE_MARGIN),
                }),
                limits.idle_timeout,
            ),
            // The preface may not: it is sent with the end of the handshake.
            Protocol::Http2 => (Progress::Http2(Frames::new()), limits.header_timeout),
        };
        Self { progress, timeout: limits.header_timeout, deadline: Some(now + first) }
    }

    /// `bytes` have arrived.
    pub(super) fn received(&mut self, bytes: &[u8]) -> Result<(), Cut> {
        match &mut self.progress {
            Progress::Http1(http1) => {
                if http1.is_between_requests() {
                    // From the first byte on, another deadline holds.
                    if http1.bytes == 0 {
                        self.deadline = None;
                    }
                    http1.bytes = http1.bytes.saturating_add(bytes.len());
                    if http1.bytes > http1.max_bytes {
                        return Err(Cut::Oversized);
                    }
                }
            }
            Progress::Http2(frames) => {
                frames.feed(bytes);
                if !frames.is_incomplete() {
                    self.deadline = None;
                }
            }
        }
        Ok(())
    }

    /// Nothing more is there at `now`: until when to wait for it, `None` for as long as it takes.
    pub(super) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let (is_owed, is_first) = match &mut self.progress {
            Progress::Http1(http1) => {
                let is_idle = http1.is_between_requests();
                (is_idle && http1.bytes > 0, is_idle && http1.started == 0)
            }
            Progress::Http2(frames) => (frames.is_incomplete(), false),
        };
        match (is_owed, is_first) {
            (true, _) => Some(*self.deadline.get_or_insert(now + self.timeout)),
            (false, true) => self.deadline,
            // Between requests pingora's own timeouts hold.
            (false, false) => {
                self.deadline = None;
                None
            }
        }
    }
}

impl Http1 {
    fn is_between_requests(&mut self) -> bool {
        let requests = self.connection.requests();
        if requests.started() != self.started {
            self.started = requests.started();
            self.bytes = 0;
        }
        !requests.is_busy()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixtures;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn limits() -> Limits {
        fixtures::limits("header_timeout = \"10s\"\nidle_timeout = \"60s\"\nheader_size = \"1KiB\"")
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn an_http1_header_has_one_deadline_however_it_drips() {
        let (connection, start) = (Arc::new(Connection::plain()), Instant::now());
        let mut wait = HeaderWait::new(Protocol::Http1, &connection, &limits(), start);
        assert_eq!(wait.deadline(start), Some(start + seconds(60)));
        for second in 5..15 {
            wait.received(b"G").unwrap();
            assert_eq!(wait.deadline(start + seconds(second)), Some(start + seconds(15)));
        }
    }

    #[test]
    fn the_deadline_ends_with_the_header_and_returns_with_the_next_one() {
        let (connection, start) = (Arc::new(Connection::plain()), Instant::now());
        let mut wait = HeaderWait::new(Protocol::Http1, &connection, &limits(), start);
        wait.received(b"GET / HTTP/1.1\r\n").unwrap();
        assert!(wait.deadline(start).is_some());
        connection.requests().start();
        wait.received(&[b'x'; 9_000]).unwrap();
        assert_eq!(wait.deadline(start + seconds(100)), None);
        connection.requests().end();
        assert_eq!(wait.deadline(start + seconds(100)), None);
        wait.received(b"G").unwrap();
        assert_eq!(wait.deadline(start + seconds(200)), Some(start + seconds(210)));
    }

    #[test]
    fn a_header_that_never_ends_is_cut_by_size() {
        let connection = Arc::new(Connection::plain());
        let mut wait = HeaderWait::new(Protocol::Http1, &connection, &limits(), Instant::now());
        wait.received(&[b'x'; 2048]).unwrap();
        assert_eq!(wait.received(b"x"), Err(Cut::Oversized));
    }

    #[test]
    fn the_http2_preface_is_owed_from_the_start() {
        let (connection, start) = (Arc::new(Connection::plain()), Instant::now());
        let mut wait = HeaderWait::new(Protocol::Http2, &connection, &limits(), start);
        wait.received(&PREFACE[..10]).unwrap();
        assert_eq!(wait.deadline(start + seconds(9)), Some(start + seconds(10)));
        wait.received(&PREFACE[10..]).unwrap();
        assert_eq!(wait.deadline(start + seconds(9)), None);
    }

    #[test]
    fn an_http2_header_block_has_one_deadline_however_busy_the_connection_is() {
        let (connection, start) = (Arc::new(Connection::plain()), Instant::now());
        let mut wait = HeaderWait::new(Protocol::Http2, &connection, &limits(), start);
        wait.received(PREFACE).unwrap();
        connection.requests().start();
        let headers_without_end = [0, 0, 1, 1, 0, 0, 0, 0, 3, 0x82];
        for (second, byte) in headers_without_end.iter().enumerate() {
            wait.received(&[*byte]).unwrap();
            let now = start + seconds(20 + second as u64);
            assert_eq!(wait.deadline(now), Some(start + seconds(30)));
        }
    }
}
