//! From a name along its CNAME records to the records of one type, one name at a time: what a
//! resolver makes of a chain that is broken hides where it is broken.

use hickory_resolver::proto::{
    op::{Message, ResponseCode},
    rr::{DNSClass, Name, RData, Record, RecordType},
};

use crate::{ask::Asker, evidence::LookupOutcome, exchange::NoAnswer};

/// How many CNAME records are followed.
pub(crate) const MAX_HOPS: usize = 16;

/// Where a walk led.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    /// The CNAME records' targets.
    pub(crate) chain: Vec<Name>,
    /// How it ended.
    pub(crate) end: End,
}

/// How a walk ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    /// At records of the type.
    Found(Vec<RData>),
    /// Without.
    Missing(LookupOutcome),
}

/// What one server said, and how far it can be believed.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) message: Message,
    pub(crate) extent: Extent,
}

/// How far along a chain an answer can be believed.
#[derive(Debug)]
pub(crate) enum Extent {
    /// A resolver has followed the chain.
    Everything,
    /// A zone's server knows its own zone.
    Zone(Name),
}

impl Extent {
    fn covers(&self, name: &Name) -> bool {
        match self {
            Self::Everything => true,
            Self::Zone(zone) => zone.zone_of(name),
        }
    }
}

/// What follows from an answer.
#[derive(Debug, PartialEq)]
enum Step {
    Ended(End),
    /// The chain goes on, and the answer does not.
    Onwards,
    /// SERVFAIL for all of it.
    Failed,
}

/// The way so far.
#[derive(Debug)]
struct Trail {
    start: Name,
    chain: Vec<Name>,
}

impl Trail {
    fn here(&self) -> &Name {
        self.chain.last().unwrap_or(&self.start)
    }

    /// Takes one hop, or says why it can't be taken.
    fn hop(&mut self, target: Name) -> Result<(), End> {
        if self.chain.len() == MAX_HOPS {
            return Err(End::Missing(LookupOutcome::TooManyHops));
        }
        let circle = target == self.start || self.chain.contains(&target);
        self.chain.push(target);
        if circle { Err(End::Missing(LookupOutcome::Loop)) } else { Ok(()) }
    }

    fn ended(self, end: End) -> Walk {
        Walk { chain: self.chain, end }
    }
}

/// Follows `start`'s CNAME records to records of `kind`.
pub(crate) async fn walk(asker: &Asker<'_>, start: &Name, kind: RecordType) -> Walk {
    let mut trail = Trail { start: start.clone(), chain: Vec::new() };
    // Each round but the last takes a hop, so that hops bound the rounds.
    loop {
        let answer = match asker.ask(trail.here(), kind).await {
            Ok(answer) => answer,
            Err(reason) => return trail.ended(End::Missing(without_answer(reason))),
        };
        match follow(&mut trail, &answer, kind) {
            Step::Ended(end) => return trail.ended(end),
            Step::Onwards => {}
            Step::Failed => match past_failure(asker, trail.here(), kind).await {
                Ok(target) => {
                    if let Err(end) = trail.hop(target) {
                        return trail.ended(end);
                    }
                }
                Err(end) => return trail.ended(end),
            },
        }
    }
}

const fn without_answer(reason: NoAnswer) -> LookupOutcome {
    match reason {
        NoAnswer::Silence => LookupOutcome::Timeout,
        NoAnswer::Unreadable => LookupOutcome::ServFail,
        NoAnswer::NotAsked => LookupOutcome::NotAsked,
    }
}

fn follow(trail: &mut Trail, answer: &Answer, kind: RecordType) -> Step {
    let asked = trail.here().clone();
    let message = &answer.message;
    loop {
        let here = trail.here().clone();
        if !answer.extent.covers(&here) {
            return Step::Onwards;
        }
        let at_name = || message.answers.iter().filter(|record| is_at(record, &here));
        let found: Vec<RData> = at_name()
            .filter(|record| record.record_type() == kind)
            .map(|record| record.data.clone())
            .collect();
        if !found.is_empty() {
            return Step::Ended(End::Found(found));
        }
        let Some(target) = at_name().find_map(|record| cname(&record.data)) else { break };
        let target = target.clone();
        if let Err(end) = trail.hop(target) {
            return Step::Ended(end);
        }
    }
    without_records(message, &asked, trail.here())
}

/// Whether a record is of the Internet's class, and this name's.
pub(crate) fn is_at(record: &Record, name: &Name) -> bool {
    record.dns_class == DNSClass::IN && record.name == *name
}

/// What an answer without records for the last name of its chain means.
fn without_records(message: &Message, asked: &Name, last: &Name) -> Step {
    // RFC 2308 section 2: the SOA says whose "there is none" it is.
    let is_whole = asked == last
        || message
            .authorities
            .iter()
            .any(|record| record.record_type() == RecordType::SOA && record.name.zone_of(last));
    let missing = |outcome| Step::Ended(End::Missing(outcome));
    let code = message.metadata.response_code;
    if code == ResponseCode::NXDomain {
        // RFC 6604 section 3: the code is the last name's.
        missing(LookupOutcome::NxDomain)
    } else if code == ResponseCode::NoError && is_whole {
        missing(LookupOutcome::NoData)
    } else if asked != last {
        Step::Onwards
    } else if code == ResponseCode::ServFail {
        Step::Failed
    } else {
        missing(LookupOutcome::Refused)
    }
}

/// A resolver says SERVFAIL for a whole chain. Where the CNAME by itself can be had, the failure is
/// further along; where anything can be had without validation, it is DNSSEC's.
async fn past_failure(asker: &Asker<'_>, here: &Name, kind: RecordType) -> Result<Name, End> {
    let alone = asker.ask(here, RecordType::CNAME).await;
    let target = alone.ok().and_then(|answer| own_cname(&answer.message, here));
    match target {
        Some(target) => Ok(target),
        None if asker.answers_unchecked(here, kind).await => {
            Err(End::Missing(LookupOutcome::DnssecFails))
        }
        None => Err(End::Missing(LookupOutcome::ServFail)),
    }
}

/// The target of the name's own CNAME record.
pub(crate) fn own_cname(message: &Message, name: &Name) -> Option<Name> {
    let mut own = message.answers.iter().filter(|record| is_at(record, name));
    own.find_map(|record| cname(&record.data)).cloned()
}

const fn cname(data: &RData) -> Option<&Name> {
    if let RData::CNAME(target) = data { Some(&target.0) } else { None }
}

#[cfg(test)]
mod tests;
