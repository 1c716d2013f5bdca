//! Whose turn it is: of two processes of a hand-over, one asks the feed, leases jobs and writes the
//! state.

use std::{future::Future, mem, sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, OwnedMutexGuard, watch},
    time::{error::Elapsed, timeout},
};

/// Whether this process is the one that changes anything beyond itself.
#[derive(Debug)]
pub struct Duty {
    is_on: watch::Sender<bool>,
    /// Held by each write of the state, and for as long as there are to be none.
    writing: Arc<Mutex<()>>,
}

/// No duty for as long as it lives, unless it is [for good](Rest::for_good): nothing is written.
#[derive(Debug)]
pub(crate) struct Rest {
    duty: Arc<Duty>,
    _no_writes: OwnedMutexGuard<()>,
}

/// Allows one write.
#[derive(Debug)]
pub(crate) struct WriteTurn(#[expect(dead_code, reason = "is held")] OwnedMutexGuard<()>);

impl Duty {
    /// A process that nobody else is beside.
    pub fn on() -> Arc<Self> {
        Arc::new(Self { is_on: watch::Sender::new(true), writing: Arc::default() })
    }

    /// A successor, until it has taken over.
    pub fn off() -> Arc<Self> {
        Arc::new(Self { is_on: watch::Sender::new(false), writing: Arc::default() })
    }

    /// The turn has come.
    pub(crate) fn begin(&self) {
        self.is_on.send_replace(true);
    }

    /// Says when it changes.
    pub(crate) fn watch(&self) -> watch::Receiver<bool> {
        self.is_on.subscribe()
    }

    /// Ends the duty for now, once the write in progress has ended.
    ///
    /// # Errors
    /// Where it hasn't within `limit`: the duty goes on.
    pub(crate) async fn rest(self: &Arc<Self>, limit: Duration) -> Result<Rest, Elapsed> {
        self.is_on.send_replace(false);
        match timeout(limit, Arc::clone(&self.writing).lock_owned()).await {
            Ok(no_writes) => Ok(Rest { duty: Arc::clone(self), _no_writes: no_writes }),
            Err(elapsed) => {
                self.begin();
                Err(elapsed)
            }
        }
    }

    /// To be had before anything is written, and held until it is.
    pub(crate) async fn write(&self) -> WriteTurn {
        WriteTurn(Arc::clone(&self.writing).lock_owned().await)
    }

    /// Does what `make` makes while on duty: drops it when the duty ends, and makes it anew when it
    /// begins again. Ends when it does.
    pub(crate) async fn work<T: Future<Output = ()>>(&self, make: impl Fn() -> T) {
        let mut is_on = self.watch();
        loop {
            // The sender is this one's own.
            let _ = is_on.wait_for(|is_on| *is_on).await;
            tokio::select! {
                () = make() => return,
                _ = is_on.wait_for(|is_on| !*is_on) => {}
            }
        }
    }
}

impl Rest {
    /// Another process has the duty now.
    pub(crate) fn for_good(self) {
        mem::forget(self);
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.duty.begin();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_rest_waits_for_the_write_in_progress_and_keeps_others_from_beginning() {
        let duty = Duty::on();
        let write = duty.write().await;
        assert!(duty.rest(SHORT).await.is_err());
        assert!(*duty.watch().borrow(), "the duty went on");
        drop(write);
        let rest = duty.rest(LONG).await.unwrap();
        assert!(timeout(SHORT, duty.write()).await.is_err());
        drop(rest);
        assert!(*duty.watch().borrow());
        timeout(LONG, duty.write()).await.unwrap();
    }

    #[tokio::test]
    async fn work_is_given_up_at_a_rest_and_begun_anew_after_it() {
        let (duty, begun) = (Duty::off(), Arc::new(AtomicU32::new(0)));
        let (working, count) = (Arc::clone(&duty), Arc::clone(&begun));
        let alive = Arc::new(());
        let given = Arc::clone(&alive);
        let work = tokio::spawn(async move {
            working
                .work(|| async {
                    let _alive = Arc::clone(&given);
                    if count.fetch_add(1, Ordering::Relaxed) == 0 {
                        std::future::pending::<()>().await;
                    }
                })
                .await;
        });
        let has_begun = async |times: u32| {
            while begun.load(Ordering::Relaxed) != times {
                tokio::task::yield_now().await;
            }
        };
        assert_eq!(begun.load(Ordering::Relaxed), 0);
        duty.begin();
        timeout(LONG, has_begun(1)).await.unwrap();
        let rest = duty.rest(LONG).await.unwrap();
        let is_given_up = async {
            while Arc::strong_count(&alive) > 2 {
                tokio::task::yield_now().await;
            }
        };
        timeout(LONG, is_given_up).await.unwrap();
        drop(rest);
        timeout(LONG, work).await.unwrap().unwrap();
        assert_eq!(begun.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_rest_for_good_never_ends() {
        let duty = Duty::on();
        duty.rest(LONG).await.unwrap().for_good();
        assert!(!*duty.watch().borrow());
        assert!(timeout(SHORT, duty.write()).await.is_err());
    }
}
