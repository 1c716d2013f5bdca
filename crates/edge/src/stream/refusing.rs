//! The last words to a client whose request is refused before anybody else has seen it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{http1::Fault, timer::Timer};
use crate::{refusal::Refusal, request_id::RequestId};

/// How long all of it may take.
const TIME: Duration = Duration::from_secs(2);
/// What is still read of the client, in bytes. Closed with bytes unread, the connection would be
/// reset, and many clients lose the answer with it (RFC 9112 section 9.6).
const LINGER: usize = 256 << 10;

/// Answers, closes our side, and reads on for a little while.
#[derive(Debug)]
pub(super) struct Refusing {
    answer: Vec<u8>,
    written: usize,
    stage: Stage,
    deadline: Instant,
    timer: Timer,
}

#[derive(Debug)]
enum Stage {
    Write,
    Flush,
    Close,
    Linger { left: usize },
}

impl Refusing {
    pub(super) fn new(fault: Fault, now: Instant) -> Self {
        Self {
            answer: answer(fault),
            written: 0,
            stage: Stage::Write,
            deadline: now + TIME,
            timer: Timer::default(),
        }
    }

    /// Ready once there is nothing left to do, in whatever way it ended.
    pub(super) fn poll<T>(&mut self, transport: &mut T, cx: &mut Context<'_>) -> Poll<()>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        match self.poll_stages(transport, cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => self.timer.poll(self.deadline, cx),
        }
    }

    fn poll_stages<T>(&mut self, transport: &mut T, cx: &mut Context<'_>) -> Poll<()>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let mut transport = Pin::new(transport);
        loop {
            self.stage = match self.stage {
                Stage::Write => match self.answer.get(self.written..).unwrap_or_default() {
                    [] => Stage::Flush,
                    rest => match ready!(transport.as_mut().poll_write(cx, rest)) {
                        Ok(written @ 1..) => {
                            self.written += written;
                            Stage::Write
                        }
                        Ok(0) | Err(_) => return Poll::Ready(()),
                    },
                },
                Stage::Flush => match ready!(transport.as_mut().poll_flush(cx)) {
                    Ok(()) => Stage::Close,
                    Err(_) => return Poll::Ready(()),
                },
                Stage::Close => match ready!(transport.as_mut().poll_shutdown(cx)) {
                    Ok(()) => Stage::Linger { left: LINGER },
                    Err(_) => return Poll::Ready(()),
                },
                Stage::Linger { left } => {
                    let mut scratch = [0; 1024];
                    let mut buffer = ReadBuf::new(&mut scratch);
                    let read = ready!(transport.as_mut().poll_read(cx, &mut buffer));
                    let count = buffer.filled().len();
                    if read.is_err() || count == 0 || count >= left {
                        return Poll::Ready(());
                    }
                    Stage::Linger { left: left - count }
                }
            };
        }
    }
}

/// Nothing is known of the request, not even in which form its client takes an answer.
fn answer(fault: Fault) -> Vec<u8> {
    let refusal = match fault {
        Fault::Malformed | Fault::Framing => Refusal::BadRequest,
        Fault::HeaderTooLarge => Refusal::HeaderTooLarge,
    };
    let (status, id) = (refusal.status(), RequestId::random());
    let body = refusal.plain(&id);
    let header = format!(
        "HTTP/1.1 {status}\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Cache-Control: no-store\r\n\
         X-Request-Id: {id}\r\n\
         Content-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    (header + &body).into_bytes()
}
