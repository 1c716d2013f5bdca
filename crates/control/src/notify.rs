//! What the service manager is told, by systemd's protocol (sd_notify(3)): that the server is ready, that it
//! stops, and that it is alive. Without a service manager that asks for it, nothing.

use std::{future::Future, io, time::Duration};

use sd_notify::NotifyState;
use tokio::time::timeout;

use crate::{
    api::problem::chain,
    store::{Store, StoreError},
    tasks,
};

/// How long the service manager may take to have a message.
const TELL_TIMEOUT: Duration = Duration::from_secs(1);
/// The parts of the watchdog's interval: at each the database is asked, and two in a row may fail before the
/// interval is over.
const PARTS: u32 = 4;

/// Tells that the server serves, and what.
pub(crate) async fn ready(status: String) {
    tell(move || sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&status)])).await;
}

/// Tells that the server stops.
pub(crate) async fn stopping() {
    let status = NotifyState::Status("requests in progress end");
    tell(|| sd_notify::notify(&[NotifyState::Stopping, status])).await;
}

/// Tells that the server is alive.
pub(crate) async fn alive() {
    tell(|| sd_notify::notify(&[NotifyState::Watchdog])).await;
}

/// After how long without a sign of life the service manager starts the server anew, if it does at all.
pub(crate) fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero())
}

/// Gives a sign of life by `alive` for as long as the runtime runs tasks and the database answers who reads: a
/// server that can't read can do nothing, and a new one opens the database anew. Never ends.
pub(crate) async fn keep_alive<F: Future<Output = ()>>(
    store: Store,
    interval: Duration,
    alive: impl Fn() -> F,
) {
    let part = interval / PARTS;
    let mut ticks = tasks::every(part);
    loop {
        ticks.tick().await;
        match timeout(part, store.refresh_head()).await {
            Ok(Ok(_)) => alive().await,
            Ok(Err(error)) => no_sign(&error),
            Err(_) => {
                tracing::warn!("the database does not answer: no sign of life for the watchdog")
            }
        }
    }
}

fn no_sign(error: &StoreError) {
    tracing::warn!(error = %chain(error), "the database can't be read: no sign of life for the watchdog");
}

/// Sends a message. Whoever does not take it keeps nobody waiting: it goes out from a thread for what blocks.
async fn tell(send: impl FnOnce() -> io::Result<()> + Send + 'static) {
    match timeout(TELL_TIMEOUT, tokio::task::spawn_blocking(send)).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => tracing::warn!(%error, "the service manager can't be told"),
        Ok(Err(error)) => tracing::error!(%error, "telling the service manager panicked"),
        Err(_) => tracing::warn!("the service manager does not take messages"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn gives_no_sign_of_life_while_nobody_can_read_the_database() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let store = Store::open(file.path()).await.unwrap();
        let mut readers = Vec::new();
        while let Ok(Ok(reader)) = timeout(Duration::from_millis(100), store.read()).await {
            readers.push(reader);
        }
        let (sign, mut signs) = mpsc::unbounded_channel();
        let alive = move || {
            sign.send(()).unwrap();
            std::future::ready(())
        };
        let task = tokio::spawn(keep_alive(store, Duration::from_millis(60), alive));

        let within = timeout(Duration::from_millis(300), signs.recv()).await;
        assert!(within.is_err(), "a sign of life without a reader");

        drop(readers);
        timeout(Duration::from_secs(20), signs.recv()).await.unwrap().unwrap();
        task.abort();
    }
}
