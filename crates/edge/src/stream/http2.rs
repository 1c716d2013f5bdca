//! Reading HTTP/2, with a deadline for the preface and for each header block.
//!
//! pingora's timeouts are for one read each, so a byte now and then would keep a header unfinished
//! for ever. Here the whole header has one deadline, from its first byte.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    time::Instant,
};

use super::{
    frames::{Counts, Frames},
    requests::Failure,
    timer::Timer,
};
use crate::{
    bucket::Bucket,
    config::{FrameLimits, Limits},
    cut::Cut,
};

/// The reading half of an HTTP/2 connection.
#[derive(Debug)]
pub(super) struct Http2 {
    frames: Frames,
    floods: Floods,
    timeout: Duration,
    deadline: Option<Instant>,
    timer: Timer,
}

impl Http2 {
    /// The preface is owed at once: it is sent with the end of the handshake.
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        let timeout = limits.header_timeout;
        Self {
            frames: Frames::new(),
            floods: Floods::new(limits.h2_frames, now),
            timeout,
            deadline: Some(now + timeout),
            timer: Timer::default(),
        }
    }

    pub(super) fn poll_read<T: AsyncRead + Unpin>(
        &mut self,
        transport: &mut T,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Failure>> {
        let before = buffer.filled().len();
        let Poll::Ready(read) = Pin::new(transport).poll_read(cx, buffer) else {
            return self.poll_deadline(cx);
        };
        read.map_err(Failure::Io)?;
        self.received(buffer.filled().get(before..).unwrap_or_default());
        let counts = self.frames.take_counts();
        Poll::Ready(self.floods.check(counts, Instant::now).map_err(Failure::Cut))
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let Some(deadline) = self.deadline(Instant::now()) else { return Poll::Pending };
        ready!(self.timer.poll(deadline, cx));
        Poll::Ready(Err(Failure::Cut(Cut::HeaderTimeout)))
    }

    /// `bytes` have arrived.
    fn received(&mut self, bytes: &[u8]) {
        self.frames.feed(bytes);
        if !self.frames.is_incomplete() {
            self.deadline = None;
        }
    }

    /// Nothing more is there at `now`: until when to wait for it, `None` for as long as it takes.
    fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let is_owed = self.frames.is_incomplete();
        is_owed.then(|| *self.deadline.get_or_insert(now + self.timeout))
    }
}

/// What is left of the frames that a client may send for nothing.
#[derive(Debug)]
struct Floods {
    limits: FrameLimits,
    control: Bucket,
    resets: Bucket,
    windows: Bucket,
    tiny_windows: Bucket,
}

impl Floods {
    fn new(limits: FrameLimits, now: Instant) -> Self {
        let bucket = Bucket::new(now);
        Self { limits, control: bucket, resets: bucket, windows: bucket, tiny_windows: bucket }
    }

    fn check(&mut self, counts: Counts, now: impl FnOnce() -> Instant) -> Result<(), Cut> {
        if counts == Counts::default() {
            return Ok(());
        }
        let (now, limits) = (now(), self.limits);
        let all = self.control.takes(counts.control, limits.control, now)
            && self.resets.takes(counts.resets, limits.resets, now)
            && self.windows.takes(counts.windows, limits.windows, now)
            && self.tiny_windows.takes(counts.tiny_windows, limits.tiny_windows, now);
        all.then_some(()).ok_or(Cut::Flood)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixtures;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn reading(now: Instant) -> Http2 {
        Http2::new(&fixtures::limits("header_timeout = \"10s\""), now)
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn the_preface_is_owed_from_the_start() {
        let start = Instant::now();
        let mut http2 = reading(start);
        http2.received(&PREFACE[..10]);
        assert_eq!(http2.deadline(start + seconds(9)), Some(start + seconds(10)));
        http2.received(&PREFACE[10..]);
        assert_eq!(http2.deadline(start + seconds(9)), None);
    }

    #[test]
    fn a_header_block_has_one_deadline_however_busy_the_connection_is() {
        let start = Instant::now();
        let mut http2 = reading(start);
        http2.received(PREFACE);
        let headers_without_end = [0, 0, 1, 1, 0, 0, 0, 0, 3, 0x82];
        for (second, byte) in headers_without_end.iter().enumerate() {
            http2.received(&[*byte]);
            let now = start + seconds(20 + second as u64);
            assert_eq!(http2.deadline(now), Some(start + seconds(30)));
        }
    }
}
