//! What is done for origins beside requests: names are looked up again, health is checked.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, VecDeque},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures_util::FutureExt;
use landfall_model::PropertyId;
use pingora_core::{server::ShutdownWatch, services::background::BackgroundService};
use prometheus::IntCounter;
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

/// A chore that takes longer is broken off, as if it had panicked.
const LONGEST: Duration = Duration::from_secs(90);
/// When a chore that panicked is done again.
const AFTER_PANIC: Duration = Duration::from_secs(10);
/// Chores that may be added faster than they are taken up.
const WAITING: usize = 65_536;

/// Something to do again and again.
#[async_trait]
pub(super) trait Chore: Send + Sync + 'static {
    /// Does it once, and says when it is due again.
    async fn run(self: Arc<Self>) -> Next;

    /// Who it is done for; `None` where it is for all.
    fn owner(&self) -> Option<PropertyId>;
}

/// When a chore is due again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    After(Duration),
    Never,
}

/// Where chores are added.
#[derive(Clone)]
pub(super) struct Roster(mpsc::Sender<Arc<dyn Chore>>);

impl Roster {
    /// Has it done at once, and then as it says itself. Gives back whether there was room.
    pub(super) fn add(&self, chore: Arc<dyn Chore>) -> bool {
        self.0.try_send(chore).is_ok()
    }
}

/// Who does them, for as long as the edge runs.
pub(crate) struct Chores {
    work: Mutex<Work>,
    hands: Hands,
    panics: IntCounter,
}

/// How many are done at once: in all, and for one property. Chores of one whose names or origins
/// never answer wait for each other, not the others for them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hands {
    pub(super) all: usize,
    pub(super) own: usize,
}

/// What there is to do. Kept apart from who does it, who may be started again.
struct Work {
    added: mpsc::Receiver<Arc<dyn Chore>>,
    plan: Plan,
    running: JoinSet<(Arc<dyn Chore>, Next)>,
    owners: HashMap<PropertyId, Owner>,
}

/// What is done for a property now, and what is due but has to wait for that.
#[derive(Default)]
struct Owner {
    running: usize,
    waiting: VecDeque<Arc<dyn Chore>>,
}

/// The chores that wait for their time, the earliest first.
#[derive(Default)]
struct Plan {
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    chores: BTreeMap<u64, Arc<dyn Chore>>,
    last: u64,
}

impl Plan {
    fn add(&mut self, at: Instant, chore: Arc<dyn Chore>) {
        self.last = self.last.wrapping_add(1);
        self.due.push(Reverse((at, self.last)));
        self.chores.insert(self.last, chore);
    }

    fn earliest(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    fn take(&mut self) -> Option<Arc<dyn Chore>> {
        let Reverse((_, id)) = self.due.pop()?;
        self.chores.remove(&id)
    }
}

impl Chores {
    /// `panics` counts those that panic.
    pub(super) fn new(hands: Hands, panics: IntCounter) -> (Roster, Self) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let work = Work {
            added: receiver,
            plan: Plan::default(),
            running: JoinSet::new(),
            owners: HashMap::new(),
        };
        (Roster(sender), Self { work: Mutex::new(work), hands, panics })
    }

    async fn work(&self) {
        let work = &mut *self.work.lock().await;
        loop {
            let Work { added, plan, running, .. } = work;
            let has_hand = running.len() < self.hands.all;
            let earliest = plan.earliest();
            tokio::select! {
                chore = added.recv() => match chore {
                    Some(chore) => plan.add(Instant::now(), chore),
                    // Nobody is left to ask for anything.
                    None => return,
                },
                Some(done) = running.join_next() => {
                    if let Ok((chore, next)) = done {
                        work.ended(chore, next);
                    }
                }
                () = until(earliest), if has_hand && earliest.is_some() => {
                    work.begin(self.hands.own, &self.panics);
                }
            }
        }
    }
}

impl Work {
    /// Begins what is due, unless as much is done for its property as may be.
    fn begin(&mut self, most: usize, panics: &IntCounter) {
        let Some(chore) = self.plan.take() else { return };
        if let Some(property) = chore.owner() {
            let owner = self.owners.entry(property).or_default();
            if owner.running >= most {
                owner.waiting.push_back(chore);
                return;
            }
            owner.running += 1;
        }
        self.running.spawn(once(chore, panics.clone()));
    }

    /// Plans it anew, and what waited for its end.
    fn ended(&mut self, chore: Arc<dyn Chore>, next: Next) {
        if let Some(property) = chore.owner()
            && let Some(owner) = self.owners.get_mut(&property)
        {
            owner.running = owner.running.saturating_sub(1);
            let waiting = owner.waiting.pop_front();
            if owner.running == 0 && waiting.is_none() {
                self.owners.remove(&property);
            }
            if let Some(waiting) = waiting {
                self.plan.add(Instant::now(), waiting);
            }
        }
        if let Next::After(time) = next {
            self.plan.add(Instant::now() + time, chore);
        }
    }
}

async fn until(earliest: Option<Instant>) {
    if let Some(earliest) = earliest {
        sleep_until(earliest).await;
    }
}

async fn once(chore: Arc<dyn Chore>, panics: IntCounter) -> (Arc<dyn Chore>, Next) {
    let run = AssertUnwindSafe(Arc::clone(&chore).run()).catch_unwind();
    if let Ok(Ok(next)) = timeout(LONGEST, run).await {
        return (chore, next);
    }
    panics.inc();
    tracing::error!("a chore for an origin panicked or hung; it is done again");
    (chore, Next::After(AFTER_PANIC))
}

#[async_trait]
impl BackgroundService for Chores {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let stop = async {
            // An error is a sender that is gone: a shutdown too.
            let _ = shutdown.wait_for(|stop| *stop).await;
        };
        tokio::select! {
            () = stop => {}
            () = self.work() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    struct Counting {
        runs: AtomicUsize,
        enough: Notify,
    }

    #[async_trait]
    impl Chore for Counting {
        async fn run(self: Arc<Self>) -> Next {
            match self.runs.fetch_add(1, Ordering::Relaxed) {
                0 => panic!("the first run fails"),
                1 => Next::After(Duration::from_secs(3_600)),
                _ => {
                    self.enough.notify_one();
                    Next::Never
                }
            }
        }

        fn owner(&self) -> Option<PropertyId> {
            None
        }
    }

    struct Endless(PropertyId);

    #[async_trait]
    impl Chore for Endless {
        async fn run(self: Arc<Self>) -> Next {
            std::future::pending().await
        }

        fn owner(&self) -> Option<PropertyId> {
            Some(self.0)
        }
    }

    struct Short(PropertyId, Notify);

    #[async_trait]
    impl Chore for Short {
        async fn run(self: Arc<Self>) -> Next {
            self.1.notify_one();
            Next::Never
        }

        fn owner(&self) -> Option<PropertyId> {
            Some(self.0)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn chores_of_one_property_that_never_end_delay_its_own_alone() {
        let panics = IntCounter::new("panics", "panics").unwrap();
        let (roster, chores) = Chores::new(Hands { all: 4, own: 2 }, panics.clone());
        for _ in 0..100 {
            assert!(roster.add(Arc::new(Endless(PropertyId(1)))));
        }
        let start = Instant::now();
        for (property, least) in [(2, Duration::ZERO), (1, LONGEST)] {
            let short = Arc::new(Short(PropertyId(property), Notify::new()));
            assert!(roster.add(Arc::clone(&short) as Arc<dyn Chore>));
            tokio::select! {
                () = chores.work() => panic!("it works for as long as somebody may ask"),
                () = short.1.notified() => {}
            }
            assert!(start.elapsed() >= least);
            assert!(!least.is_zero() || start.elapsed() < LONGEST);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_chore_is_done_again_when_it_says_so_and_after_a_panic() {
        let panics = IntCounter::new("panics", "panics").unwrap();
        let (roster, chores) = Chores::new(Hands { all: 1, own: 1 }, panics.clone());
        let counting = Arc::new(Counting { runs: AtomicUsize::new(0), enough: Notify::new() });
        assert!(roster.add(Arc::clone(&counting) as Arc<dyn Chore>));
        let start = Instant::now();
        tokio::select! {
            () = chores.work() => panic!("it works for as long as somebody may ask"),
            () = counting.enough.notified() => {}
        }
        assert_eq!((counting.runs.load(Ordering::Relaxed), panics.get()), (3, 1));
        assert!(start.elapsed() >= AFTER_PANIC + Duration::from_secs(3_600));
    }
}
