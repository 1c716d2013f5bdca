//! One look at a hostname's addresses, by one resolver or one of its zone's servers.

use std::{collections::BTreeSet, net::IpAddr};

use hickory_resolver::proto::rr::{Name, RecordType};

use crate::{
    ask::Asker,
    evidence::LookupOutcome,
    names::shown,
    resolvers::Word,
    walk::{End, Walk, own_cname, walk},
    zone::addresses,
};

/// What a look showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    /// For A.
    pub(crate) v4: Seen,
    /// For AAAA.
    pub(crate) v6: Seen,
    /// Where the hostname's own CNAME leads.
    pub(crate) cname: Option<String>,
}

/// What was found for one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) outcome: LookupOutcome,
    /// The names that CNAME records led to.
    pub(crate) chain: Vec<String>,
    pub(crate) addresses: BTreeSet<IpAddr>,
}

impl Sight {
    pub(crate) fn both(&self) -> [&Seen; 2] {
        [&self.v4, &self.v6]
    }

    pub(crate) fn addresses(&self) -> BTreeSet<IpAddr> {
        &self.v4.addresses | &self.v6.addresses
    }

    /// The longer one, where the two types differ.
    pub(crate) fn chain(&self) -> &[String] {
        if self.v6.chain.len() > self.v4.chain.len() { &self.v6.chain } else { &self.v4.chain }
    }

    /// Whether it says nothing of the hostname itself for at least one type.
    pub(crate) fn is_partial(&self) -> bool {
        self.both().iter().any(|seen| seen.is_silent())
    }

    /// Addresses at the hostname itself, although it has a CNAME.
    pub(crate) fn beside_cname(&self) -> BTreeSet<IpAddr> {
        if self.cname.is_none() {
            return BTreeSet::new();
        }
        let direct = self.both().into_iter().filter(|seen| seen.chain.is_empty());
        direct.flat_map(|seen| seen.addresses.iter().copied()).collect()
    }
}

impl Word for Sight {
    fn is_silent(&self) -> bool {
        self.both().iter().all(|seen| seen.is_silent())
    }

    fn is_refused(&self) -> bool {
        let outcomes = self.both().map(|seen| seen.outcome);
        outcomes.contains(&LookupOutcome::NotAsked) || outcomes == [LookupOutcome::Refused; 2]
    }

    fn is_failure(&self) -> bool {
        let failures = [LookupOutcome::ServFail, LookupOutcome::Timeout];
        self.both().iter().any(|seen| failures.contains(&seen.outcome))
    }
}

impl Seen {
    /// Nothing, for this reason.
    pub(crate) fn nothing(outcome: LookupOutcome) -> Self {
        Self { outcome, chain: Vec::new(), addresses: BTreeSet::new() }
    }

    fn is_silent(&self) -> bool {
        self.outcome == LookupOutcome::Timeout && self.chain.is_empty()
    }
}

impl From<Walk> for Seen {
    fn from(walk: Walk) -> Self {
        let outcome = match &walk.end {
            End::Found(_) => LookupOutcome::Found,
            End::Missing(outcome) => *outcome,
        };
        let addresses = addresses(&walk).collect();
        Self { outcome, chain: walk.chain.iter().map(shown).collect(), addresses }
    }
}

/// Looks for the name's addresses.
pub(crate) async fn look(asker: &Asker<'_>, name: &Name) -> Sight {
    let (v4, v6, cname) = tokio::join!(
        walk(asker, name, RecordType::A),
        walk(asker, name, RecordType::AAAA),
        cname_of(asker, name)
    );
    let (v4, v6) = (Seen::from(v4), Seen::from(v6));
    let cname = cname.or_else(|| v4.chain.first().or(v6.chain.first()).cloned());
    Sight { v4, v6, cname }
}

/// The CNAME record that some servers have beside addresses. A resolver is not asked for it: what it
/// would say of such a zone depends on what it was asked for before.
async fn cname_of(asker: &Asker<'_>, name: &Name) -> Option<String> {
    match asker {
        Asker::Resolver(_) => None,
        Asker::Zones(_) => {
            let answer = asker.ask(name, RecordType::CNAME).await.ok()?;
            own_cname(&answer.message, name).as_ref().map(shown)
        }
    }
}
