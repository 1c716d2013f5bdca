//! What resolvers say. Two are asked at a time, so that one that is dead or lies does not decide
//! alone.

use std::{
    future::Future,
    net::SocketAddr,
    pin::pin,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use hickory_resolver::proto::{
    op::ResponseCode,
    rr::{Name, RecordType},
};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;

use crate::{
    ask::Resolver,
    exchange::{Role, ask},
};

/// How many resolvers are asked at a time.
const AT_A_TIME: usize = 2;

/// What one resolver says.
pub(crate) trait Word {
    /// Whether it is nothing.
    fn is_silent(&self) -> bool;
    /// Whether it is a refusal.
    fn is_refused(&self) -> bool;
    /// Whether it is a failure, which can be the resolver's own: one that is cut off fails at once.
    fn is_failure(&self) -> bool;
}

/// What resolvers said of a name.
#[derive(Debug)]
pub(crate) struct Heard<T> {
    /// Who was asked.
    pub(crate) asked: Vec<SocketAddr>,
    /// Who answered, and what.
    pub(crate) words: Vec<(SocketAddr, T)>,
    /// How many should have answered.
    pub(crate) wanted: usize,
    /// Whether one that has not is alive: then whom it asked is not.
    pub(crate) silence: SilentPart,
}

/// Who is silent where no resolver has an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SilentPart {
    /// The zone's servers: a resolver answers other questions.
    Zone,
    /// The resolvers.
    Resolvers,
}

/// What came of asking one resolver.
enum Voice<T> {
    Word(SocketAddr, T),
    /// It has nothing to say and is alive.
    Waiting,
    /// It is dead, or refuses.
    Dead,
}

/// A question and who may be asked.
struct Round<'a, F> {
    look: F,
    deadline: Instant,
    /// How long a resolver may be silent before it is asked whether it is alive, and how long it has
    /// for that.
    patience: Duration,
    /// How many are silent so far, and known to be alive.
    lively: AtomicUsize,
    spare: Mutex<std::slice::Iter<'a, SocketAddr>>,
    asked: Mutex<Vec<SocketAddr>>,
}

/// Asks resolvers by `look`.
pub(crate) async fn hear<T: Word, Fut: Future<Output = T>>(
    resolvers: &[SocketAddr],
    deadline: Instant,
    patience: Duration,
    look: impl Fn(Resolver) -> Fut,
) -> Heard<T> {
    let spare = Mutex::new(resolvers.iter());
    let (lively, asked) = (AtomicUsize::new(0), Mutex::default());
    let round = Round { look, deadline, patience, lively, spare, asked };
    let wanted = resolvers.len().min(AT_A_TIME);
    let mut voices: FuturesUnordered<_> = (0..wanted).map(|_| round.fill()).collect();
    let mut words = Vec::new();
    let mut silence = SilentPart::Resolvers;
    let mut until = deadline + patience;
    loop {
        match timeout_at(until, voices.next()).await {
            Ok(Some(Voice::Word(server, word))) => {
                words.push((server, word));
                // By then the other one has answered whether it is alive.
                until = until.min(Instant::now() + 2 * patience);
            }
            Ok(Some(Voice::Waiting)) => silence = SilentPart::Zone,
            Ok(Some(Voice::Dead)) => {}
            // One that is alive has all the time: the first to answer must not speak for both.
            Err(_) if until < deadline && round.lively.load(Ordering::Relaxed) > 0 => {
                until = deadline;
            }
            Ok(None) | Err(_) => break,
        }
    }
    drop(voices);
    let asked = round.asked.into_inner().unwrap_or_else(PoisonError::into_inner);
    Heard { asked, words, wanted, silence }
}

impl<T: Word, Fut: Future<Output = T>, F: Fn(Resolver) -> Fut> Round<'_, F> {
    /// Asks one resolver after the other until one is alive.
    async fn fill(&self) -> Voice<T> {
        while let Some(server) = self.next() {
            match self.listen(server).await {
                Voice::Dead => debug!(%server, "a resolver is dead or refuses"),
                voice @ (Voice::Word(..) | Voice::Waiting) => return voice,
            }
        }
        Voice::Dead
    }

    fn next(&self) -> Option<SocketAddr> {
        let server = *self.spare.lock().unwrap_or_else(PoisonError::into_inner).next()?;
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(server);
        Some(server)
    }

    fn has_spare(&self) -> bool {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).len() > 0
    }

    async fn listen(&self, server: SocketAddr) -> Voice<T> {
        let mut word = pin!((self.look)(Resolver { server, deadline: self.deadline }));
        let mut is_alive = false;
        let word = tokio::select! {
            word = &mut word => word,
            alive = self.is_alive_when_silent(server) => {
                is_alive = alive;
                if !alive && self.has_spare() {
                    return Voice::Dead;
                }
                let lively = usize::from(alive);
                self.lively.fetch_add(lively, Ordering::Relaxed);
                let word = word.await;
                self.lively.fetch_sub(lively, Ordering::Relaxed);
                word
            }
        };
        if word.is_failure() && !is_alive && !self.is_alive(server).await {
            return Voice::Dead;
        }
        if word.is_refused() || (word.is_silent() && !is_alive) {
            Voice::Dead
        } else if word.is_silent() {
            Voice::Waiting
        } else {
            Voice::Word(server, word)
        }
    }

    async fn is_alive_when_silent(&self, server: SocketAddr) -> bool {
        sleep(self.patience).await;
        self.is_alive(server).await
    }

    /// Whether it answers a question that every resolver knows the answer of.
    async fn is_alive(&self, server: SocketAddr) -> bool {
        let deadline = self.deadline.min(Instant::now() + self.patience);
        let answer = ask(server, &Name::root(), RecordType::NS, Role::Resolver, deadline).await;
        answer.is_ok_and(|message| message.metadata.response_code == ResponseCode::NoError)
    }
}
