//! What the service manager is told, by systemd's protocol (sd_notify(3)). Without one that asks for
//! it, nothing.

use std::{io, time::Duration};

use sd_notify::NotifyState;
use tokio::time::timeout;

/// How long the service manager may take to have a message.
const TELL_TIMEOUT: Duration = Duration::from_secs(1);

/// The process serves, and what.
pub(crate) async fn ready(status: String) {
    tell(move || sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&status)])).await;
}

/// What the process does.
pub(crate) async fn status(status: String) {
    tell(move || sd_notify::notify(&[NotifyState::Status(&status)])).await;
}

/// The process stops.
pub(crate) async fn stopping() {
    let status = NotifyState::Status("draining: open connections are served to their end");
    tell(|| sd_notify::notify(&[NotifyState::Stopping, status])).await;
}

/// The service is from now on what the process `id` does.
pub(crate) async fn main_process(id: u32) {
    tell(move || sd_notify::notify(&[NotifyState::MainPid(id)])).await;
}

/// The process is alive.
pub(crate) async fn alive() {
    tell(|| sd_notify::notify(&[NotifyState::Watchdog])).await;
}

/// After how long without a sign of life the process is started anew, if it is at all.
pub(crate) fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero())
}

/// Sends a message. Whoever does not take it keeps nobody waiting.
async fn tell(send: impl FnOnce() -> io::Result<()> + Send + 'static) {
    match timeout(TELL_TIMEOUT, tokio::task::spawn_blocking(send)).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => tracing::warn!(%error, "the service manager can't be told"),
        Ok(Err(error)) => tracing::error!(%error, "telling the service manager panicked"),
        Err(_) => tracing::warn!("the service manager does not take messages"),
    }
}
