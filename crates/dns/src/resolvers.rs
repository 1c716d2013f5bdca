//! What resolvers say. Two are asked at a time, so that one that is dead or lies does not decide
//! alone.

use std::{
    future::Future,
    hash::{BuildHasher, RandomState},
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
use landfall_model::Hostname;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;

use crate::{
    Verifier,
    exchange::{Role, Server},
    names::unasked,
    sockets::Sockets,
};

/// How many resolvers are asked at a time.
const AT_A_TIME: usize = 2;

/// What one resolver says.
pub(crate) trait Word {
    /// Whether it is nothing.
    fn is_silent(&self) -> bool;
    /// Whether the resolver refused, or could not be asked.
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
    /// How many of those are dead, with nobody left to take their place.
    pub(crate) dead: usize,
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
    sockets: &'a Sockets,
    probe: Option<&'a Hostname>,
    /// How long a resolver may be silent before it is asked whether it is alive, and how long it has
    /// for that.
    patience: Duration,
    /// How many are silent so far, and known to be alive.
    lively: AtomicUsize,
    spare: Mutex<std::slice::Iter<'a, SocketAddr>>,
    asked: Mutex<Vec<SocketAddr>>,
}

impl<T> Heard<T> {
    /// How many are to answer with more than a failure for what they say to count: all that are alive.
    pub(crate) fn quorum(&self) -> usize {
        self.wanted.saturating_sub(self.dead).max(1)
    }

    /// What each one who answered has to say in the end: what it was told by the zone's own servers,
    /// where it has found them, and otherwise its own word. So each is a witness by itself, and where
    /// one finds no server another does not speak for it.
    pub(crate) fn testimonies<'a>(
        &'a self,
        zone: &'a [Option<T>],
    ) -> impl Iterator<Item = Testimony<'a, T>> {
        let told = zone.iter().map(Option::as_ref).chain(std::iter::repeat(None));
        self.words.iter().zip(told).map(|((server, word), told)| Testimony {
            server: *server,
            word: told.unwrap_or(word),
            source: if told.is_some() { Source::Zone } else { Source::Resolver },
        })
    }
}

/// What one resolver has to say in the end.
#[derive(Debug)]
pub(crate) struct Testimony<'a, T> {
    pub(crate) server: SocketAddr,
    pub(crate) word: &'a T,
    pub(crate) source: Source,
}

/// Whose word it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The resolver's.
    Resolver,
    /// The zone's servers', as the resolver has found them.
    Zone,
}

impl Verifier {
    /// Asks resolvers by `look`.
    pub(crate) async fn hear<T: Word, Fut: Future<Output = T>>(
        &self,
        deadline: Instant,
        look: impl Fn(SocketAddr) -> Fut,
    ) -> Heard<T> {
        let resolvers = &self.config.resolvers;
        let round = Round {
            look,
            deadline,
            sockets: &self.sockets,
            probe: self.config.probe.as_ref(),
            patience: self.patience(),
            lively: AtomicUsize::new(0),
            spare: Mutex::new(resolvers.iter()),
            asked: Mutex::default(),
        };
        hear(round, resolvers.len().min(AT_A_TIME)).await
    }
}

async fn hear<T: Word, Fut: Future<Output = T>, F: Fn(SocketAddr) -> Fut>(
    round: Round<'_, F>,
    wanted: usize,
) -> Heard<T> {
    let (deadline, patience) = (round.deadline, round.patience);
    let mut voices: FuturesUnordered<_> = (0..wanted).map(|_| round.fill()).collect();
    let mut words = Vec::new();
    let mut silence = SilentPart::Resolvers;
    // Who has said nothing when the time is over is dead, unless it is known to be alive.
    let mut dead = wanted;
    let mut until = deadline + patience;
    loop {
        match timeout_at(until, voices.next()).await {
            Ok(Some(Voice::Word(server, word))) => {
                words.push((server, word));
                dead -= 1;
                // By then the other one has answered whether it is alive.
                until = until.min(Instant::now() + 2 * patience);
            }
            Ok(Some(Voice::Waiting)) => {
                silence = SilentPart::Zone;
                dead -= 1;
            }
            Ok(Some(Voice::Dead)) => {}
            // One that is alive has all the time: the first to answer must not speak for both.
            Err(_) if until < deadline && round.lively.load(Ordering::Relaxed) > 0 => {
                until = deadline;
            }
            Ok(None) | Err(_) => break,
        }
    }
    dead = dead.saturating_sub(round.lively.load(Ordering::Relaxed));
    drop(voices);
    let asked = round.asked.into_inner().unwrap_or_else(PoisonError::into_inner);
    Heard { asked, words, wanted, dead, silence }
}

impl<T: Word, Fut: Future<Output = T>, F: Fn(SocketAddr) -> Fut> Round<'_, F> {
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
        let mut word = pin!((self.look)(server));
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

    /// Whether it finds what it can't remember, or else the root's name servers.
    async fn is_alive(&self, server: SocketAddr) -> bool {
        let deadline = self.deadline.min(Instant::now() + self.patience);
        let server = Server { address: server, deadline, sockets: self.sockets };
        // Keys of the system's randomness, which are never the same twice.
        let nonce = RandomState::new().hash_one(());
        let (name, kind) = match self.probe.and_then(|domain| unasked(domain, nonce)) {
            Some(name) => (name, RecordType::A),
            None => (Name::root(), RecordType::NS),
        };
        let answer = server.ask(&name, kind, Role::Resolver).await;
        answer.is_ok_and(|message| {
            matches!(message.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
        })
    }
}
