//! What resolvers say. Two are asked at a time, so that one that is dead or lies does not decide
//! alone.

mod roll;

use std::{
    future::Future,
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use hickory_resolver::proto::{
    op::ResponseCode,
    rr::{Name, RecordType},
};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;

use crate::{Verifier, exchange::Role, names::unasked};
use roll::{Roll, Suspect};

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

/// What happens while resolvers are asked, by the place of the one that it happens to.
enum Event<T> {
    Word(usize, T),
    /// Its patience is over.
    Silence(usize),
    /// Whether it has shown that it is alive.
    Pulse(usize, bool),
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
    pub(crate) async fn hear<T: Word + Send, Fut: Future<Output = T> + Send>(
        &self,
        deadline: Instant,
        look: impl Fn(SocketAddr) -> Fut,
    ) -> Heard<T> {
        let patience = self.patience();
        let mut listed = self.config.resolvers.iter();
        let mut roll = Roll::new(listed.len().min(AT_A_TIME));
        let mut events: FuturesUnordered<BoxFuture<'_, Event<T>>> = FuturesUnordered::new();
        let mut until = deadline + patience;
        loop {
            while roll.wants_another()
                && let Some(server) = listed.next()
            {
                let place = roll.ask(*server);
                events.push(look(*server).map(move |word| Event::Word(place, word)).boxed());
                events.push(sleep(patience).map(move |()| Event::Silence(place)).boxed());
                // It has as much time as the one that it stands in for had.
                until = until.max((Instant::now() + 2 * patience).min(deadline));
            }
            if roll.is_settled() {
                break;
            }
            let spoken = roll.spoken();
            let suspect = match timeout_at(until, events.next()).await {
                Ok(Some(Event::Word(place, word))) => roll.hear(place, word),
                Ok(Some(Event::Silence(place))) => roll.miss(place),
                Ok(Some(Event::Pulse(place, is_alive))) => {
                    roll.feel(place, is_alive);
                    None
                }
                // One that is alive has all the time: the first to answer must not speak for both.
                Err(_) if until < deadline && roll.is_waiting() => {
                    until = deadline;
                    None
                }
                Ok(None) | Err(_) => break,
            };
            if let Some(Suspect { place, server }) = suspect {
                let pulse = self.is_alive(server, deadline);
                events.push(pulse.map(move |is_alive| Event::Pulse(place, is_alive)).boxed());
            }
            if roll.spoken() > spoken {
                // By then the other one has answered whether it is alive.
                until = until.min(Instant::now() + 2 * patience);
            }
        }
        roll.heard()
    }

    /// Whether a resolver finds what it can't remember, or else the root's name servers.
    async fn is_alive(&self, server: SocketAddr, deadline: Instant) -> bool {
        let server = self.server(server, deadline.min(Instant::now() + self.patience()));
        // Keys of the system's randomness, which are never the same twice.
        let nonce = RandomState::new().hash_one(());
        let probe = self.config.probe.as_ref();
        let (name, kind) = match probe.and_then(|domain| unasked(domain, nonce)) {
            Some(name) => (name, RecordType::A),
            None => (Name::root(), RecordType::NS),
        };
        let answer = server.ask(&name, kind, Role::Resolver).await;
        let is_alive = answer.is_ok_and(|message| {
            matches!(message.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
        });
        if !is_alive {
            debug!(server = %server.address, "a resolver does not show that it is alive");
        }
        is_alive
    }
}
