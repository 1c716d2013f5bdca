//! Reading HTTP/1 through the guard, with a deadline for whatever the client owes.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::Instant,
};

use super::{
    http1::{Fault, Guard, Owed},
    pace::{Lag, Pace},
    timer::Timer,
};
use crate::{config::Limits, connection::Connection, cut::Cut};

/// The least room that is read into directly. pingora looks for a client's end with one byte.
const MIN_ROOM: usize = 512;
/// What is read at once where there is less room, in bytes.
const PIECE: usize = 1024;
/// What is read ahead of a request that is being answered, in bytes.
const AHEAD: usize = 4096;

/// The reading half of an HTTP/1 connection.
#[derive(Debug)]
pub(super) struct Http1 {
    guard: Guard,
    connection: Arc<Connection>,
    /// What has arrived and was not read yet.
    held: BytesMut,
    /// How much of it the guard has let pass.
    clear: usize,
    waiting: Waiting,
    /// Made with the first body that has to be waited for.
    pace: Option<Pace>,
    timer: Timer,
    limits: Limits,
}

/// Since when the client owes what it owes.
#[derive(Debug)]
struct Waiting {
    owed: Owed,
    /// The requests that had passed then.
    passed: u32,
    since: Instant,
    stopping_since: Option<Instant>,
}

/// Why a read fails.
#[derive(Debug)]
pub(super) enum Failure {
    /// The transport's own reason.
    Io(io::Error),
    /// The connection is to end.
    Cut(Cut),
    /// The client is to be told why, and nobody else is to hear of its request.
    Refuse(Fault),
}

impl Http1 {
    pub(super) fn new(connection: Arc<Connection>, limits: &Limits, now: Instant) -> Self {
        Self {
            guard: Guard::new(limits),
            connection,
            held: BytesMut::new(),
            clear: 0,
            waiting: Waiting { owed: Owed::Request, passed: 0, since: now, stopping_since: None },
            pace: None,
            timer: Timer::default(),
            limits: limits.clone(),
        }
    }

    pub(super) fn poll_read<T: AsyncRead + Unpin>(
        &mut self,
        transport: &mut T,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Failure>> {
        loop {
            if self.clear > 0 {
                self.hand_over(buffer);
                return Poll::Ready(Ok(()));
            }
            if self.opens_gate() && !self.held.is_empty() {
                self.look_at_held()?;
                continue;
            }
            if self.guard.is_at_end() && self.held.len() >= AHEAD {
                // The answer comes first. pingora reads again when it has written.
                self.connection.set_reader(cx.waker());
                return Poll::Pending;
            }
            match self.poll_transport(transport, cx, buffer) {
                Poll::Ready(Ok(Arrival::Held)) => {}
                Poll::Ready(Ok(Arrival::Ready | Arrival::End)) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => return self.poll_deadline(cx),
            }
        }
    }

    /// Lets the next request come once the last one is answered, and everything once another
    /// protocol is spoken.
    fn opens_gate(&mut self) -> bool {
        if self.connection.has_switched_protocols() && self.guard.may_switch_protocols() {
            self.guard.switch_protocols();
            return true;
        }
        let opens = self.guard.is_at_end() && self.guard.passed() == self.connection.answered();
        if opens {
            self.guard.next_request();
        }
        opens
    }

    fn poll_transport<T: AsyncRead + Unpin>(
        &mut self,
        transport: &mut T,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<Arrival, Failure>> {
        let transport = Pin::new(transport);
        if self.held.is_empty() && buffer.remaining() >= MIN_ROOM {
            let before = buffer.filled().len();
            ready!(transport.poll_read(cx, buffer)).map_err(Failure::Io)?;
            return Poll::Ready(self.look_at_read(buffer, before));
        }
        let mut piece = [0; PIECE];
        let mut piece = ReadBuf::new(&mut piece);
        ready!(transport.poll_read(cx, &mut piece)).map_err(Failure::Io)?;
        if piece.filled().is_empty() {
            return Poll::Ready(Ok(Arrival::End));
        }
        self.moved(piece.filled().len());
        self.held.extend_from_slice(piece.filled());
        Poll::Ready(self.look_at_held().map(|()| Arrival::Held))
    }

    /// Looks at what was read into `buffer`, and takes back what may not be read yet.
    fn look_at_read(
        &mut self,
        buffer: &mut ReadBuf<'_>,
        before: usize,
    ) -> Result<Arrival, Failure> {
        let arrived = buffer.filled().get(before..).unwrap_or_default();
        if arrived.is_empty() {
            return Ok(Arrival::End);
        }
        self.moved(arrived.len());
        let passed = match self.guard.advance(arrived) {
            Ok(passed) => passed,
            Err(fault) => {
                buffer.set_filled(before);
                return Err(self.failure(fault));
            }
        };
        if passed.from > 0 {
            self.held.extend_from_slice(arrived.get(passed.from..).unwrap_or_default());
            self.clear = passed.to - passed.from;
            buffer.set_filled(before);
            return Ok(Arrival::Held);
        }
        self.held.extend_from_slice(arrived.get(passed.to..).unwrap_or_default());
        buffer.set_filled(before + passed.to);
        Ok(if passed.to > 0 { Arrival::Ready } else { Arrival::Held })
    }

    fn look_at_held(&mut self) -> Result<(), Failure> {
        let passed = self.guard.advance(&self.held);
        let passed = passed.map_err(|fault| self.failure(fault))?;
        self.held.advance(passed.from);
        self.clear = passed.to - passed.from;
        Ok(())
    }

    fn failure(&self, fault: Fault) -> Failure {
        let is_unseen = self.guard.passed() == self.connection.answered();
        match is_unseen {
            true => Failure::Refuse(fault),
            // An answer may be on its way, in which ours would be lost.
            false => Failure::Cut(fault.into()),
        }
    }

    fn hand_over(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = self.clear.min(buffer.remaining());
        buffer.put_slice(self.held.get(..count).unwrap_or_default());
        self.held.advance(count);
        self.clear -= count;
        if self.held.is_empty() {
            // Most connections are idle most of the time.
            self.held = BytesMut::new();
        }
    }

    fn moved(&mut self, bytes: usize) {
        if let Some(pace) = &mut self.pace {
            pace.moved(bytes, Instant::now);
        }
    }

    /// Nothing has arrived: ready where it should have.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.connection.set_reader(cx.waker());
        let now = Instant::now();
        let owed = self.guard.owed(self.held.len());
        let passed = self.guard.passed();
        if (owed, passed) != (self.waiting.owed, self.waiting.passed) {
            self.waiting = Waiting { owed, passed, since: now, stopping_since: None };
            self.pace = None;
        }
        let (deadline, cut) = match owed {
            Owed::Nothing => return Poll::Pending,
            Owed::Request => {
                let idle = self.waiting.since + self.limits.idle_timeout;
                let last = self.connection.is_stopping().then(|| {
                    let since = *self.waiting.stopping_since.get_or_insert(now);
                    since + self.connection.last_call()
                });
                (last.map_or(idle, |last| last.min(idle)), Cut::Idle)
            }
            Owed::Header => (self.waiting.since + self.limits.header_timeout, Cut::HeaderTimeout),
            Owed::Body => self.body_deadline(now),
        };
        ready!(self.timer.poll(deadline, cx));
        Poll::Ready(Err(Failure::Cut(cut)))
    }

    fn body_deadline(&mut self, now: Instant) -> (Instant, Cut) {
        let limits = &self.limits;
        let silence = limits.request_body_timeout;
        let pace = self.pace.get_or_insert_with(|| Pace::new(limits.request_body_rate, silence));
        let (deadline, lag) = pace.wait(now);
        let total = self.waiting.since + limits.request_body_total_timeout;
        match lag {
            _ if total < deadline => (total, Cut::BodyTimeout),
            Lag::Silent => (deadline, Cut::BodyTimeout),
            Lag::Slow => (deadline, Cut::BodyTooSlow),
        }
    }
}

/// What a look at the transport has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    /// Nothing that may be read yet.
    Held,
    /// Something to read.
    Ready,
    /// The client's end.
    End,
}
