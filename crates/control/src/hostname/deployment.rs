//! On which PoPs a hostname is live: they take traffic, are healthy, and have acknowledged it as it
//! stands.

use std::{sync::Arc, time::Duration};

use landfall_feed::protocol::{MAX_ACK_REJECTED, Rejected};
use landfall_model::{Epoch, Revision};
use time::OffsetDateTime;

use crate::store::pop::{Pop, PopAck, PopActivity};

/// Every PoP and what each has acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    /// When it was read.
    pub(crate) at: OffsetDateTime,
    /// The feed's.
    pub(crate) epoch: Epoch,
    pub(crate) pops: Vec<Pop>,
    /// How long a PoP may ask for nothing before it is unhealthy.
    pub(crate) unhealthy_after: Duration,
    pub(crate) proof: Proof,
}

/// What it takes for a certificate to count as served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// That every active PoP has acknowledged it.
    Acknowledgement,
    /// That besides a handshake with one has shown it.
    Handshake,
}

impl Fleet {
    /// The PoPs that hostnames may lead to.
    pub(crate) fn active_pops(&self) -> impl Iterator<Item = &Pop> {
        self.pops.iter().filter(|pop| self.is_active(pop))
    }

    /// Whether hostnames may lead to a PoP.
    pub(crate) fn is_active(&self, pop: &Pop) -> bool {
        pop.activity(self.at, self.unhealthy_after) == PopActivity::Active
    }
}

/// A feed record of a hostname.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publication {
    pub(crate) id: String,
    pub(crate) revision: Revision,
    pub(crate) at: OffsetDateTime,
}

/// How far a hostname has got at one PoP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach<'a> {
    /// The PoP has it as it stands.
    Live,
    /// It has not got so far yet.
    Behind(Revision),
    /// It could not use it, and keeps what it had.
    Rejected(&'a str),
    /// It has acknowledged nothing in the feed's epoch.
    Unknown,
}

/// How far a hostname has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deployment {
    /// On how many PoPs it is live.
    pub(crate) live: u32,
    /// How many PoPs there are.
    pub(crate) total: u32,
    /// Whether it is live wherever traffic arrives.
    pub(crate) extent: Extent,
}

/// Whether a hostname is live wherever traffic arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// It is not published: nobody can have it.
    Unpublished,
    /// No PoP is active.
    NoActivePop,
    /// An active PoP does not have it as it has stood since then.
    Partial(OffsetDateTime),
    /// Every active PoP has it as it stands.
    Everywhere,
}

/// A hostname's records and the PoPs that may have them.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) fleet: Arc<Fleet>,
    /// One for each name that the hostname has.
    pub(crate) records: Vec<Publication>,
}

impl Published {
    /// How far the hostname has got at each PoP.
    pub(crate) fn reaches(&self) -> impl Iterator<Item = (&Pop, PopActivity, Reach<'_>)> {
        let Fleet { at, pops, unhealthy_after, .. } = &*self.fleet;
        pops.iter().map(move |pop| (pop, pop.activity(*at, *unhealthy_after), self.reach(pop)))
    }

    /// How far all records taken together have got at `pop`.
    fn reach<'a>(&'a self, pop: &'a Pop) -> Reach<'a> {
        let ack = pop.ack.as_ref().filter(|ack| ack.epoch == self.fleet.epoch);
        let Some(ack) = ack.filter(|_| !self.records.is_empty()) else {
            return Reach::Unknown;
        };
        let is_ours = |own: &&Rejected| self.records.iter().any(|record| record.id == own.id);
        if let Some(rejected) = ack.rejected.iter().find(is_ours) {
            return Reach::Rejected(&rejected.reason);
        }
        match self.records.iter().all(|record| record.revision <= ack.applied) {
            true => Reach::Live,
            false => Reach::Behind(ack.applied),
        }
    }

    /// Why an active PoP refuses what is published now, where one does.
    pub(crate) fn refusal(&self) -> Option<&str> {
        let is_current = |own: &&Rejected| {
            self.records.iter().any(|record| record.id == own.id && record.revision <= own.revision)
        };
        let acks = self.fleet.active_pops().filter_map(|pop| pop.ack.as_ref());
        let mut current = acks.filter(|ack| ack.epoch == self.fleet.epoch);
        let refused = current.find_map(|ack| ack.rejected.iter().find(is_current));
        refused.map(|own| own.reason.as_str())
    }

    /// Whether every active PoP has it as it stands and is known to refuse none of it. A PoP names the newest
    /// records that it refuses, [`MAX_ACK_REJECTED`] at most: of older ones it then says nothing.
    pub(crate) fn is_taken_everywhere(&self) -> bool {
        let oldest = self.records.iter().map(|record| record.revision).min();
        let is_told = |ack: &PopAck| {
            let named = ack.rejected.iter().map(|own| own.revision).min();
            ack.rejected.len() < MAX_ACK_REJECTED || named <= oldest
        };
        self.deployment().extent == Extent::Everywhere
            && self.fleet.active_pops().all(|pop| pop.ack.as_ref().is_some_and(is_told))
    }

    /// How far it has got.
    pub(crate) fn deployment(&self) -> Deployment {
        let (mut live, mut total, mut active, mut missing) = (0, 0, 0_u32, 0_u32);
        for (_, activity, reach) in self.reaches() {
            let is_live = reach == Reach::Live;
            total += 1;
            live += u32::from(is_live);
            active += u32::from(activity == PopActivity::Active);
            missing += u32::from(activity == PopActivity::Active && !is_live);
        }
        let since = self.records.iter().map(|record| record.at).max();
        let extent = match (since, active, missing) {
            (None, _, _) => Extent::Unpublished,
            (Some(_), 0, _) => Extent::NoActivePop,
            (Some(_), _, 0) => Extent::Everywhere,
            (Some(since), _, _) => Extent::Partial(since),
        };
        Deployment { live, total, extent }
    }
}

#[cfg(test)]
mod tests {
    use landfall_feed::protocol::AckState;

    use super::*;
    use crate::{
        store::pop::{PopAck, Traffic},
        token::PopId,
    };

    const NOW: i64 = 1_800_000_000;

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(seconds).unwrap()
    }

    fn pop(traffic: Traffic, seen_ago: Option<i64>, ack: Option<(u64, u64, &str)>) -> Pop {
        let rejected = |id: &str| Rejected {
            id: id.to_owned(),
            revision: Revision(7),
            reason: "the key does not open".to_owned(),
        };
        Pop {
            id: PopId(1),
            name: "pop".to_owned(),
            addresses: Vec::new(),
            traffic,
            seen_at: seen_ago.map(|ago| at(NOW - ago)),
            refused_at: None,
            created_at: at(0),
            ack: ack.map(|(epoch, applied, id)| PopAck {
                epoch: Epoch(epoch),
                applied: Revision(applied),
                state: AckState::InSync,
                rejected: vec![rejected(id)],
                seen_at: at(NOW),
            }),
        }
    }

    fn published(pops: Vec<Pop>, revisions: &[u64]) -> Published {
        let unhealthy_after = Duration::from_secs(120);
        let record = |(index, revision): (usize, &u64)| Publication {
            id: format!("hostname/{index}"),
            revision: Revision(*revision),
            at: at(NOW - 60 + index as i64),
        };
        let (at_now, proof) = (at(NOW), Proof::Acknowledgement);
        let fleet = Arc::new(Fleet { at: at_now, epoch: Epoch(3), pops, unhealthy_after, proof });
        Published { fleet, records: revisions.iter().enumerate().map(record).collect() }
    }

    #[test]
    fn a_pop_is_active_while_it_takes_traffic_and_asks() {
        let table = [
            (Traffic::On, Some(119), PopActivity::Active),
            (Traffic::On, Some(120), PopActivity::Unhealthy),
            (Traffic::On, None, PopActivity::Unhealthy),
            (Traffic::Off, Some(0), PopActivity::Off),
        ];
        for (traffic, seen_ago, expected) in table {
            let activity = pop(traffic, seen_ago, None).activity(at(NOW), Duration::from_secs(120));
            assert_eq!(activity, expected, "{traffic:?} {seen_ago:?}");
        }
    }

    #[test]
    fn a_hostname_is_live_where_all_of_its_records_were_acknowledged_in_this_epoch() {
        let reason = "the key does not open";
        let table = [
            (Some((3, 9, "other")), &[8, 9][..], Reach::Live),
            (Some((3, 8, "other")), &[8, 9], Reach::Behind(Revision(8))),
            (Some((3, 9, "hostname/1")), &[8, 9], Reach::Rejected(reason)),
            (Some((2, 9, "other")), &[8, 9], Reach::Unknown),
            (None, &[8], Reach::Unknown),
            (Some((3, 9, "other")), &[], Reach::Unknown),
        ];
        for (ack, revisions, expected) in table {
            let published = published(vec![pop(Traffic::On, Some(0), ack)], revisions);
            let (_, _, reach) = published.reaches().next().unwrap();
            assert_eq!(reach, expected, "{ack:?} {revisions:?}");
        }
    }

    #[test]
    fn a_refusal_is_of_what_is_published_now_by_a_pop_that_is_active() {
        let refused = Some((3, 9, "hostname/0"));
        let table = [
            (Traffic::On, refused, &[7][..], true),
            (Traffic::On, refused, &[8], false),
            (Traffic::Off, refused, &[7], false),
            (Traffic::On, Some((2, 9, "hostname/0")), &[7], false),
            (Traffic::On, Some((3, 9, "other")), &[7], false),
        ];
        for (traffic, ack, revisions, expected) in table {
            let published = published(vec![pop(traffic, Some(0), ack)], revisions);
            assert_eq!(
                published.refusal().is_some(),
                expected,
                "{traffic:?} {ack:?} {revisions:?}"
            );
        }
    }

    #[test]
    fn a_pop_that_names_as_much_as_it_may_says_nothing_of_what_is_older() {
        // How many records, from which revision on; those of the hostname; whether it is known to be taken.
        let table = [
            (99_u64, 50, &[9][..], true),
            (100, 50, &[50], true),
            (100, 50, &[60, 49], false),
            (100, 9, &[9, 60], true),
        ];
        for (count, from, revisions, expected) in table {
            let mut pop = pop(Traffic::On, Some(0), Some((3, 200, "other")));
            let named = |index| Rejected {
                id: format!("hostname/other-{index}"),
                revision: Revision(from + index),
                reason: "the key does not open".to_owned(),
            };
            pop.ack.as_mut().unwrap().rejected = (0..count).rev().map(named).collect();
            let published = published(vec![pop], revisions);
            assert_eq!(published.is_taken_everywhere(), expected, "{count} {from} {revisions:?}");
        }
    }

    #[test]
    fn only_active_pops_decide_whether_it_is_everywhere() {
        let live = || pop(Traffic::On, Some(0), Some((3, 9, "other")));
        let behind = || pop(Traffic::On, Some(0), Some((3, 1, "other")));
        let silent = || pop(Traffic::On, Some(1_000), Some((3, 1, "other")));
        let off = || pop(Traffic::Off, Some(0), Some((3, 1, "other")));
        let partial = Extent::Partial(at(NOW - 60));
        let table = [
            (vec![live(), silent(), off()], &[9][..], 1, Extent::Everywhere),
            (vec![live(), behind()], &[9], 1, partial),
            (vec![silent(), off()], &[9], 0, Extent::NoActivePop),
            (vec![], &[9], 0, Extent::NoActivePop),
            (vec![live()], &[], 0, Extent::Unpublished),
        ];
        for (pops, revisions, expected_live, extent) in table {
            let expected = Deployment { live: expected_live, total: pops.len() as u32, extent };
            assert_eq!(published(pops, revisions).deployment(), expected);
        }
    }
}
