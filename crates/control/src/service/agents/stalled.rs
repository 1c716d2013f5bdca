//! PoPs that ask for what they are to serve and don't apply it, or can't be reached: no job of a name that
//! does not lead to them waits for them for long.

use std::{collections::BTreeMap, net::IpAddr};

use landfall_dns::Evidence;
use landfall_issuance::schedule::History;
use landfall_model::Revision;
use time::{Duration, OffsetDateTime};

use super::Service;
use crate::{
    hostname::deployment::Fleet,
    service::ServiceError,
    store::{
        self, Connection,
        pop::{Awaited, Pop},
    },
    token::PopId,
};

/// How long a PoP may take for what jobs wait for, before they wait for it no more.
const PATIENCE: Duration = Duration::minutes(2);
/// After so many attempts in a row that failed by what passes, a job needs only the PoPs that its name leads
/// to.
const IN_VAIN: u32 = 2;

/// Which PoPs have stalled.
#[derive(Debug)]
pub(super) struct Stalled<'a> {
    fleet: &'a Fleet,
    awaited: BTreeMap<PopId, Awaited>,
}

impl<'a> Stalled<'a> {
    pub(super) async fn of(fleet: &'a Fleet, on: &mut Connection) -> Result<Self, ServiceError> {
        Ok(Self { fleet, awaited: store::pop::awaited(on).await? })
    }

    /// Whether a PoP has stalled.
    fn has(&self, pop: &Pop) -> bool {
        let now = self.fleet.at;
        self.unmet(pop).is_some_and(|awaited| awaited.since + PATIENCE <= now)
    }

    /// What a PoP has been waited for and has not applied. What was kept while the clock was ahead is
    /// nothing.
    fn unmet(&self, pop: &Pop) -> Option<&Awaited> {
        let awaited = self.awaited.get(&pop.id).filter(|own| own.since <= self.fleet.at)?;
        (applied(self.fleet, pop) < awaited.revision).then_some(awaited)
    }

    /// Whether it matters to a job where its name leads.
    pub(super) fn parts(&self, history: &History) -> bool {
        history.hitches >= IN_VAIN || self.fleet.active_pops().any(|pop| self.has(pop))
    }

    /// The active PoPs that must answer for a name that leads to these addresses, and those that it does
    /// not lead to and that have stalled, or that its job has waited for in vain. Where that leaves none,
    /// all must.
    pub(super) fn parted(
        &self,
        leads_to: &[IpAddr],
        history: &History,
    ) -> (Vec<&'a Pop>, Vec<&'a Pop>) {
        let is_led_to = |pop: &Pop| pop.addresses.iter().any(|address| leads_to.contains(address));
        let in_vain = history.hitches >= IN_VAIN;
        let is_needed = |pop: &&Pop| is_led_to(pop) || !(in_vain || self.has(pop));
        let (needed, others): (Vec<_>, Vec<_>) = self.fleet.active_pops().partition(is_needed);
        if needed.is_empty() { (others, needed) } else { (needed, others) }
    }

    /// Keeps that jobs wait for a PoP to apply `revision`, unless they have waited for it already.
    pub(super) async fn wait_for(
        &self,
        on: &mut Connection,
        pop: &Pop,
        revision: Revision,
    ) -> Result<(), ServiceError> {
        if self.unmet(pop).is_none() {
            let awaited = Awaited { revision, since: self.fleet.at };
            store::pop::keep_awaited(on, pop.id, &awaited).await?;
        }
        Ok(())
    }
}

impl Service {
    /// How many active PoPs have stalled.
    pub(crate) async fn stalled_pops(
        &self,
        on: &mut Connection,
        now: OffsetDateTime,
    ) -> Result<usize, ServiceError> {
        let fleet = self.fleet(on, now).await?;
        let stalled = Stalled::of(&fleet, on).await?;
        Ok(fleet.active_pops().filter(|pop| stalled.has(pop)).count())
    }
}

/// What a PoP has applied in the feed's epoch.
pub(super) fn applied(fleet: &Fleet, pop: &Pop) -> Revision {
    let ack = pop.ack.as_ref().filter(|ack| ack.epoch == fleet.epoch);
    ack.map_or(Revision(0), |ack| ack.applied)
}

/// Where a name was last seen to lead.
pub(super) fn addresses(evidence: Option<&Evidence>) -> Vec<IpAddr> {
    let lookups = evidence.into_iter().flat_map(|evidence| [&evidence.ipv4, &evidence.ipv6]);
    lookups.flat_map(|lookup| lookup.addresses.iter().map(|found| found.address)).collect()
}

#[cfg(test)]
mod tests {
    use landfall_feed::protocol::AckState;
    use landfall_model::Epoch;

    use super::*;
    use crate::{
        hostname::deployment::Proof,
        store::pop::{PopAck, Traffic},
    };

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000 + seconds).unwrap()
    }

    fn pop(id: i64, applied: u64) -> Pop {
        Pop {
            id: PopId(id),
            name: id.to_string(),
            addresses: vec![format!("192.0.2.{id}").parse().unwrap()],
            traffic: Traffic::On,
            seen_at: Some(at(0)),
            refused_at: None,
            created_at: at(-9_000),
            ack: Some(PopAck {
                epoch: Epoch(3),
                applied: Revision(applied),
                state: AckState::Behind,
                rejected: Vec::new(),
                seen_at: at(0),
            }),
        }
    }

    fn needed(
        pops: Vec<Pop>,
        waits: &[(i64, u64, i64)],
        leads_to: &[&str],
        hitches: u32,
    ) -> Vec<i64> {
        let (unhealthy_after, proof) = (std::time::Duration::from_secs(60), Proof::Acknowledgement);
        let fleet = Fleet { at: at(0), epoch: Epoch(3), pops, unhealthy_after, proof };
        let awaited = waits.iter().map(|(id, revision, since)| {
            let awaited = Awaited { revision: Revision(*revision), since: at(*since) };
            (PopId(*id), awaited)
        });
        let stalled = Stalled { fleet: &fleet, awaited: awaited.collect() };
        let leads_to: Vec<IpAddr> = leads_to.iter().map(|text| text.parse().unwrap()).collect();
        let (needed, others) =
            stalled.parted(&leads_to, &History { hitches, ..History::default() });
        assert_eq!(needed.len() + others.len(), fleet.pops.len());
        needed.iter().map(|pop| pop.id.0).collect()
    }

    #[test]
    fn one_that_does_not_apply_is_waited_for_for_two_minutes_or_where_the_name_leads_to_it() {
        let pops = || vec![pop(1, 9), pop(2, 7)];
        let table = [
            (vec![], vec![], vec![1, 2]),
            (vec![(2, 8, -119)], vec![], vec![1, 2]),
            (vec![(2, 8, -120)], vec![], vec![1]),
            (vec![(2, 8, -120)], vec!["192.0.2.1", "192.0.2.2"], vec![1, 2]),
            // It has applied what was waited for.
            (vec![(2, 7, -999)], vec![], vec![1, 2]),
            // The clock was ahead.
            (vec![(2, 8, 999)], vec![], vec![1, 2]),
            // All have stalled.
            (vec![(1, 10, -999), (2, 8, -999)], vec![], vec![1, 2]),
        ];
        for (waits, leads_to, expected) in table {
            assert_eq!(needed(pops(), &waits, &leads_to, 1), expected, "{waits:?} {leads_to:?}");
        }
    }

    #[test]
    fn a_job_that_waited_in_vain_twice_needs_only_where_its_name_leads() {
        let pops = || vec![pop(1, 9), pop(2, 9)];
        let table = [
            (1, vec!["192.0.2.1"], vec![1, 2]),
            (2, vec!["192.0.2.1"], vec![1]),
            (9, vec!["192.0.2.1"], vec![1]),
            // It leads to none of ours, or nobody knows where.
            (9, vec!["198.51.100.1"], vec![1, 2]),
            (9, vec![], vec![1, 2]),
        ];
        for (hitches, leads_to, expected) in table {
            assert_eq!(needed(pops(), &[], &leads_to, hitches), expected, "{hitches} {leads_to:?}");
        }
    }
}
