//! The secrets that session tickets are encrypted under, and the rule which of them counts when.
//!
//! A secret is for a period. Tickets are made with the one whose period it is, and taken for one
//! period more; those of the next period are taken too, since clocks differ. Every edge gets the
//! same secrets over the feed, so that a session of one PoP resumes at another. While the feed has
//! none for the time, secrets of this process alone take their place.

mod sealed;
mod ticketer;

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use aws_lc_rs::{
    hkdf::{HKDF_SHA256, KeyType, Prk, Salt},
    rand,
};
use zeroize::Zeroizing;

pub(crate) use sealed::Binding;
pub(crate) use ticketer::{Ticketer, now};

/// How long a session may be resumed after the handshake that began it, in seconds, whatever
/// tickets it was given meanwhile: the bound on what a stolen secret opens, and on how old the
/// proof of a client's certificate may be.
const MAX_SESSION: u64 = 24 * 3_600;
/// The period of a secret of this process alone, in seconds.
const LOCAL_PERIOD: u64 = 12 * 3_600;
/// How long before there is no secret left another one is made, in seconds. It covers the pauses
/// between two rotations.
const LOCAL_AHEAD: u64 = 600;
/// The most secrets that are held of each source. Three are in use at a time.
const MAX_SECRETS: usize = 16;
const NAME_LEN: usize = 16;

/// A secret for the session tickets of a period.
pub struct TicketSecret {
    starts: u64,
    ends: u64,
    name: [u8; NAME_LEN],
    /// Erased when it is dropped, and not shown by its `Debug`.
    root: Prk,
}

/// Why a ticket secret can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketSecretError {
    /// Not 32 bytes.
    #[error("a ticket secret has {expected} bytes, got {0}", expected = TicketSecret::LEN)]
    Length(usize),
    /// For no time at all.
    #[error("a ticket secret ends after it starts")]
    Period,
    /// The system's cryptography failed.
    #[error("the cryptographic library refused a ticket secret")]
    Crypto,
}

impl TicketSecret {
    /// The length of a secret in bytes.
    pub const LEN: usize = 32;

    /// A secret with which tickets are made from `starts` to `ends`, in seconds since 1970.
    ///
    /// # Errors
    /// Every [`TicketSecretError`].
    pub fn new(starts: u64, ends: u64, secret: &[u8]) -> Result<Self, TicketSecretError> {
        if secret.len() != Self::LEN {
            return Err(TicketSecretError::Length(secret.len()));
        }
        if starts >= ends {
            return Err(TicketSecretError::Period);
        }
        let root = Salt::new(HKDF_SHA256, b"landfall session ticket v1").extract(secret);
        let mut name = [0; NAME_LEN];
        expand(&root, &[b"name"], &mut name).ok_or(TicketSecretError::Crypto)?;
        Ok(Self { starts, ends, name, root })
    }

    fn random(starts: u64, ends: u64) -> Result<Self, TicketSecretError> {
        let mut secret = Zeroizing::new([0; Self::LEN]);
        rand::fill(secret.as_mut_slice()).map_err(|_| TicketSecretError::Crypto)?;
        Self::new(starts, ends, secret.as_slice())
    }

    fn is_current(&self, now: u64) -> bool {
        (self.starts..self.ends).contains(&now)
    }

    /// Until when its tickets are taken.
    fn taken_until(&self) -> u64 {
        self.ends.saturating_add(self.ends - self.starts)
    }

    /// Whether its tickets are taken: from a period before it starts, for clocks that are behind,
    /// to a period after it ends.
    fn is_taken(&self, now: u64) -> bool {
        let from = self.starts.saturating_sub(self.ends - self.starts);
        (from..self.taken_until()).contains(&now)
    }
}

impl fmt::Debug for TicketSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketSecret({}..{})", self.starts, self.ends)
    }
}

/// The ticket secrets of a store. Handshakes load them and never wait; what changes them goes
/// through the store's one [`Publisher`](crate::Publisher).
pub struct TicketSecrets {
    secrets: ArcSwap<Secrets>,
}

#[derive(Clone, Debug, Default)]
struct Secrets {
    /// In order of their start.
    feed: Vec<Arc<TicketSecret>>,
    /// In order of their start.
    local: Vec<Arc<TicketSecret>>,
}

impl TicketSecrets {
    /// Starts with a secret of this process alone. `now` is in seconds since 1970.
    pub(crate) fn new(now: u64) -> Self {
        let secrets = Self { secrets: ArcSwap::default() };
        secrets.rotate(now);
        secrets
    }

    /// Puts a secret in, or replaces the one that starts at the same time.
    pub fn insert(&self, secret: TicketSecret) {
        self.edit(|secrets| {
            secrets.feed.retain(|own| own.starts != secret.starts);
            put(&mut secrets.feed, secret);
        });
    }

    /// Takes the secret out that starts at `starts`.
    pub fn remove(&self, starts: u64) {
        self.edit(|secrets| secrets.feed.retain(|own| own.starts != starts));
    }

    /// Puts these in the place of all that were put in.
    pub fn replace(&self, feed: Vec<TicketSecret>) {
        self.edit(|secrets| {
            secrets.feed.clear();
            feed.into_iter().for_each(|secret| put(&mut secrets.feed, secret));
        });
    }

    /// Drops the secrets whose time is over at `now` (seconds since 1970), and sees to it that
    /// there is one to make tickets with. To be called every few minutes at least. Answers with
    /// the starts of those that were put in and are dropped.
    pub fn rotate(&self, now: u64) -> Vec<u64> {
        let held = self.secrets.load();
        let is_over = |own: &Arc<TicketSecret>| own.taken_until() <= now;
        let over: Vec<u64> =
            held.feed.iter().filter(|own| is_over(own)).map(|own| own.starts).collect();
        let is_covered = held.current(now.saturating_add(LOCAL_AHEAD)).is_some();
        if over.is_empty() && is_covered && !held.local.iter().any(is_over) {
            return over;
        }
        self.edit(|secrets| {
            secrets.feed.retain(|own| !is_over(own));
            secrets.local.retain(|own| !is_over(own));
            // Without randomness there are no tickets, and everything else goes on.
            let made = TicketSecret::random(now, now.saturating_add(LOCAL_PERIOD));
            if let (false, Ok(secret)) = (is_covered, made) {
                put(&mut secrets.local, secret);
            }
        });
        over
    }

    /// How many are held that were put in.
    pub(crate) fn count(&self) -> usize {
        self.secrets.load().feed.len()
    }

    /// Only the one writer calls this.
    fn edit(&self, edit: impl FnOnce(&mut Secrets)) {
        let mut secrets = Secrets::clone(&self.secrets.load());
        edit(&mut secrets);
        self.secrets.store(Arc::new(secrets));
    }
}

impl Secrets {
    /// What tickets are made with: the feed's where there is one.
    fn current(&self, now: u64) -> Option<&TicketSecret> {
        let mut held = self.feed.iter().rev().chain(self.local.iter().rev());
        held.find(|own| own.is_current(now)).map(Arc::as_ref)
    }

    /// What a ticket of this name was made with, while it is taken.
    fn named(&self, name: &[u8], now: u64) -> Option<&TicketSecret> {
        let mut held = self.feed.iter().chain(&self.local);
        held.find(|own| own.name == name && own.is_taken(now)).map(Arc::as_ref)
    }
}

fn put(held: &mut Vec<Arc<TicketSecret>>, secret: TicketSecret) {
    held.push(Arc::new(secret));
    held.sort_by_key(|own| own.starts);
    held.truncate(MAX_SECRETS);
}

/// HKDF-Expand (RFC 5869 section 2.3). `None` where the library fails.
fn expand(root: &Prk, info: &[&[u8]], out: &mut [u8]) -> Option<()> {
    struct Length(usize);

    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }

    root.expand(info, Length(out.len())).ok()?.fill(out).ok()
}

#[cfg(test)]
mod tests;
