//! Writing to a client that may not read.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use tokio::{io::AsyncWrite, time::Instant};

use super::{
    pace::{Lag, Pace},
    timer::Timer,
};
use crate::{config::Limits, cut::Cut};

/// How much is gathered before it is written, in bytes. A response of one packet fits.
const GATHERED: usize = 4096;

/// The writing half: it gathers what is small, and cuts a client that doesn't take what it asked
/// for. Only time in which the transport is full counts, so a slow origin costs a client nothing.
#[derive(Debug)]
pub(super) struct Sending {
    gathered: Vec<u8>,
    pace: Pace,
    timer: Timer,
}

/// Why a write fails.
#[derive(Debug)]
pub(super) enum Failure {
    /// The transport's own reason.
    Io(io::Error),
    /// The connection is to end.
    Cut(Cut),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Sending {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            gathered: Vec::new(),
            pace: Pace::new(limits.response_rate, limits.response_write_timeout),
            timer: Timer::default(),
        }
    }

    pub(super) fn poll_write<T: AsyncWrite + Unpin>(
        &mut self,
        transport: &mut T,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, Failure>> {
        if !self.has_room_for(bytes.len()) {
            ready!(self.poll_write_gathered(transport, cx))?;
        }
        if bytes.len() > GATHERED {
            let written = Pin::new(transport).poll_write(cx, bytes);
            return self.poll_pace(written, cx);
        }
        self.gathered.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    pub(super) fn poll_write_vectored<T: AsyncWrite + Unpin>(
        &mut self,
        transport: &mut T,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<Result<usize, Failure>> {
        let len = slices.iter().map(|slice| slice.len()).sum();
        if !self.has_room_for(len) {
            ready!(self.poll_write_gathered(transport, cx))?;
        }
        if len > GATHERED {
            let written = Pin::new(transport).poll_write_vectored(cx, slices);
            return self.poll_pace(written, cx);
        }
        slices.iter().for_each(|slice| self.gathered.extend_from_slice(slice));
        Poll::Ready(Ok(len))
    }

    pub(super) fn poll_flush<T: AsyncWrite + Unpin>(
        &mut self,
        transport: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Failure>> {
        ready!(self.poll_write_gathered(transport, cx))?;
        // Most connections are idle most of the time: an empty buffer keeps no memory.
        self.gathered = Vec::new();
        let flushed = Pin::new(transport).poll_flush(cx).map_ok(|()| 0);
        self.poll_pace(flushed, cx).map_ok(|_| ())
    }

    pub(super) fn poll_shutdown<T: AsyncWrite + Unpin>(
        &mut self,
        transport: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Failure>> {
        ready!(self.poll_write_gathered(transport, cx))?;
        let closed = Pin::new(transport).poll_shutdown(cx).map_ok(|()| 0);
        self.poll_pace(closed, cx).map_ok(|_| ())
    }

    fn poll_write_gathered<T: AsyncWrite + Unpin>(
        &mut self,
        transport: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Failure>> {
        let mut written = 0;
        let result = loop {
            let rest = self.gathered.get(written..).unwrap_or_default();
            if rest.is_empty() {
                break Poll::Ready(Ok(()));
            }
            let write = Pin::new(&mut *transport).poll_write(cx, rest);
            match self.poll_pace(write, cx) {
                Poll::Ready(Ok(0)) => {
                    break Poll::Ready(Err(Failure::Io(io::ErrorKind::WriteZero.into())));
                }
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        self.gathered.drain(..written);
        result
    }

    /// Fails what has waited for too long.
    fn poll_pace(
        &mut self,
        write: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, Failure>> {
        match write {
            Poll::Ready(Ok(written)) => {
                self.pace.moved(written, Instant::now);
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(Failure::Io(error))),
            Poll::Pending => {
                let (deadline, lag) = self.pace.wait(Instant::now());
                ready!(self.timer.poll(deadline, cx));
                Poll::Ready(Err(Failure::Cut(match lag {
                    Lag::Silent => Cut::SendTimeout,
                    Lag::Slow => Cut::SendTooSlow,
                })))
            }
        }
    }

    /// Sends what is gathered, if the transport has room for it. Needs no clock.
    pub(super) fn send_at_once<T: AsyncWrite + Unpin>(&mut self, transport: &mut T) {
        if self.gathered.is_empty() {
            return;
        }
        let cx = &mut Context::from_waker(Waker::noop());
        // Whatever comes of it, the connection is at its end.
        let _ = Pin::new(&mut *transport).poll_write(cx, &self.gathered);
        let _ = Pin::new(transport).poll_flush(cx);
    }

    fn has_room_for(&self, len: usize) -> bool {
        self.gathered.len() + len <= GATHERED
    }
}
