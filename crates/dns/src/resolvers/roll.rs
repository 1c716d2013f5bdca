//! Where the questions to resolvers stand: whom to ask next, and when enough has been heard.

use std::net::SocketAddr;

use super::{Heard, SilentPart, Word};

/// How many resolvers are asked besides in place of those that are alive and have nothing to say.
const SPARES: usize = 2;

/// Who has been asked, and what came of it.
#[derive(Debug)]
pub(super) struct Roll<T> {
    /// How many are to answer.
    wanted: usize,
    asked: Vec<Asked<T>>,
}

#[derive(Debug)]
struct Asked<T> {
    server: SocketAddr,
    word: Option<T>,
    pulse: Pulse,
}

/// Whether a resolver is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pulse {
    /// Nobody has asked.
    Unknown,
    /// It is being asked.
    Sought,
    Alive,
    /// It is not, or refuses.
    Dead,
}

/// A resolver that is to be asked whether it is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suspect {
    pub(super) place: usize,
    pub(super) server: SocketAddr,
}

impl<T: Word> Asked<T> {
    /// It says something of the name.
    fn is_heard(&self) -> bool {
        self.word.as_ref().is_some_and(is_telling)
    }

    /// It fails for the name, and is alive: that can be the zone's fault.
    fn is_failing(&self) -> bool {
        let fails = |word: &T| !word.is_silent() && !is_telling(word);
        self.pulse == Pulse::Alive && self.word.as_ref().is_some_and(fails)
    }

    fn is_alive(&self) -> bool {
        self.is_heard() || self.pulse == Pulse::Alive
    }

    /// It may still say something soon.
    fn is_fresh(&self) -> bool {
        self.word.is_none() && self.pulse == Pulse::Unknown
    }

    /// Nothing more comes of it.
    fn is_over(&self) -> bool {
        self.is_heard() || (self.word.is_some() && self.pulse != Pulse::Sought)
    }

    fn suspect(&mut self, place: usize) -> Option<Suspect> {
        if self.pulse != Pulse::Unknown {
            return None;
        }
        self.pulse = Pulse::Sought;
        Some(Suspect { place, server: self.server })
    }
}

fn is_telling<T: Word>(word: &T) -> bool {
    !(word.is_silent() || word.is_refused() || word.is_failure())
}

impl<T: Word> Roll<T> {
    /// Nobody is asked yet.
    pub(super) fn new(wanted: usize) -> Self {
        Self { wanted, asked: Vec::new() }
    }

    /// Notes that a resolver is asked; its place.
    pub(super) fn ask(&mut self, server: SocketAddr) -> usize {
        self.asked.push(Asked { server, word: None, pulse: Pulse::Unknown });
        self.asked.len() - 1
    }

    /// Takes what a resolver says. One that fails is to show that it is alive; one that refuses, or takes
    /// no question, has no part in it.
    pub(super) fn hear(&mut self, place: usize, word: T) -> Option<Suspect> {
        let asked = self.asked.get_mut(place)?;
        let is_out = word.is_refused() || (word.is_silent() && asked.pulse == Pulse::Unknown);
        let fails = word.is_failure();
        asked.word = Some(word);
        if is_out {
            asked.pulse = Pulse::Dead;
        }
        if fails { asked.suspect(place) } else { None }
    }

    /// A resolver's patience is over: where it has been silent so far, it is to show that it is alive.
    pub(super) fn miss(&mut self, place: usize) -> Option<Suspect> {
        self.asked.get_mut(place).filter(|asked| asked.word.is_none())?.suspect(place)
    }

    /// Whether a resolver has shown that it is alive.
    pub(super) fn feel(&mut self, place: usize, is_alive: bool) {
        if let Some(asked) = self.asked.get_mut(place)
            && asked.pulse == Pulse::Sought
        {
            asked.pulse = if is_alive { Pulse::Alive } else { Pulse::Dead };
        }
    }

    /// Whether another resolver should be asked: in the place of each one that is silent or fails,
    /// before it is known whether it is dead.
    pub(super) fn wants_another(&self) -> bool {
        let open = self.count(|asked| asked.is_heard() || asked.is_fresh());
        let engaged = self.count(|asked| asked.is_heard() || asked.pulse != Pulse::Dead);
        open < self.wanted && engaged < self.wanted + SPARES
    }

    /// How many have said something that counts.
    pub(super) fn spoken(&self) -> usize {
        self.count(|asked| asked.is_heard() || asked.is_failing())
    }

    /// Whether one that is alive has still to answer.
    pub(super) fn is_waiting(&self) -> bool {
        self.asked.iter().any(|asked| asked.word.is_none() && asked.pulse == Pulse::Alive)
    }

    /// Whether enough is heard, or nothing more can be.
    pub(super) fn is_settled(&self) -> bool {
        self.count(Asked::is_heard) >= self.wanted || self.asked.iter().all(Asked::is_over)
    }

    fn count(&self, is_one: impl Fn(&Asked<T>) -> bool) -> usize {
        self.asked.iter().filter(|asked| is_one(asked)).count()
    }

    /// What came of it. Who fails has a word only where too few say more.
    pub(super) fn heard(self) -> Heard<T> {
        let Self { wanted, asked } = self;
        let alive = asked.iter().filter(|asked| asked.is_alive()).count();
        let lives = asked.iter().any(|asked| asked.pulse == Pulse::Alive);
        let servers = asked.iter().map(|asked| asked.server).collect();
        let mut failing = wanted.saturating_sub(asked.iter().filter(|own| own.is_heard()).count());
        let mut words = Vec::new();
        for own in asked {
            let counts = own.is_heard() || (own.is_failing() && failing > 0);
            failing = failing.saturating_sub(usize::from(own.is_failing()));
            if let Some(word) = own.word
                && counts
            {
                words.push((own.server, word));
            }
        }
        Heard {
            asked: servers,
            words,
            wanted,
            dead: wanted.saturating_sub(alive),
            silence: if lives { SilentPart::Zone } else { SilentPart::Resolvers },
        }
    }
}

#[cfg(test)]
mod tests;
