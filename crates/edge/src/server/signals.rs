//! The process's signals, from its first moment on.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::{
    runtime::Builder,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use super::shutdown::Asked;

/// Signals that wait to be heard. More of them would ask for nothing else.
const MAX_WAITING: usize = 16;
/// For the log's last lines, which another thread writes.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// SIGTERM, SIGINT and SIGHUP, none of which has the system's default effect from here on: that of SIGHUP
/// would end a process that is starting, and the first process of a container has none for SIGTERM.
///
/// Until the server hears them, SIGTERM and SIGINT end the process at once, and SIGHUP changes nothing:
/// what is being started reads the config as it is.
pub struct Signals {
    asked: mpsc::Receiver<Asked>,
    is_heard: Arc<AtomicBool>,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// The system's, where it lets nobody listen.
    pub fn listen() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let inside = runtime.enter();
        let mut own = Own::new()?;
        drop(inside);
        let (pass_on, asked) = mpsc::channel(MAX_WAITING);
        let is_heard = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&is_heard);
        let passing_on = async move {
            while !pass_on.is_closed() {
                let wish = own.next().await;
                match heard.load(Ordering::Acquire) {
                    // Where it is full, the same has been asked for already.
                    true => drop(pass_on.try_send(wish)),
                    false => while_starting(wish),
                }
            }
        };
        // Should it end, who hears the signals is told so.
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(passing_on))?;
        Ok(Self { asked, is_heard })
    }

    /// What is asked for, one after the other.
    pub(super) fn heard(self) -> BoxStream<'static, Asked> {
        self.is_heard.store(true, Ordering::Release);
        let next = |mut asked: mpsc::Receiver<Asked>| async { Some((asked.recv().await?, asked)) };
        stream::unfold(self.asked, next).boxed()
    }
}

fn while_starting(wish: Asked) {
    match wish {
        Asked::HandOver => {
            tracing::warn!(
                "asked to hand over while it starts: it starts with the config as it is"
            );
        }
        Asked::Drain | Asked::End => {
            tracing::warn!("told to stop while it starts: ending at once");
            thread::sleep(LAST_WORDS);
            std::process::exit(0);
        }
    }
}

/// The signals that count.
struct Own {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Own {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Drain,
            _ = self.interrupt.recv() => Asked::End,
            _ = self.hangup.recv() => Asked::HandOver,
        }
    }
}
