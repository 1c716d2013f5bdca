//! The services' runtimes, and whether they run anything.

use std::time::Duration;

use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, timeout_at},
};

/// The runtimes of the services that have started, by the service's name.
#[derive(Debug, Default)]
pub(super) struct Runtimes {
    started: watch::Sender<Vec<(&'static str, Handle)>>,
}

impl Runtimes {
    /// A service starts on the runtime that this is called on.
    pub(super) fn started(&self, service: &'static str) {
        self.started.send_modify(|started| started.push((service, Handle::current())));
    }

    /// Ready once so many have started.
    pub(super) async fn all_started(&self, services: usize) {
        // The sender is this one's own.
        let _ = self.started.subscribe().wait_for(|started| started.len() >= services).await;
    }

    /// Has every runtime run something within `limit`.
    ///
    /// # Errors
    /// The service whose runtime did not.
    pub(super) async fn answer(&self, limit: Duration) -> Result<(), &'static str> {
        let started = self.started.borrow().clone();
        let asked: Vec<_> = started
            .into_iter()
            .map(|(service, runtime)| (service, runtime.spawn(std::future::ready(()))))
            .collect();
        let until = Instant::now() + limit;
        for (service, answer) in asked {
            // A runtime that has shut down answers with an error.
            if !matches!(timeout_at(until, answer).await, Ok(Ok(()))) {
                return Err(service);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn a_runtime_that_is_stuck_is_noticed_and_one_that_goes_on_again_too() {
        let runtimes = Runtimes::default();
        let services = ["https", "http"].map(|service| {
            let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
            let _inside = runtime.enter();
            runtimes.started(service);
            runtime
        });
        let own = Builder::new_current_thread().enable_time().build().unwrap();
        let ask = |limit| own.block_on(runtimes.answer(Duration::from_millis(limit)));
        own.block_on(runtimes.all_started(2));
        assert_eq!(ask(20_000), Ok(()));

        let (go_on, stuck) = mpsc::channel::<()>();
        services[1].spawn(async move { stuck.recv() });
        assert_eq!(ask(100), Err("http"));

        go_on.send(()).unwrap();
        assert_eq!(ask(20_000), Ok(()));
    }
}
