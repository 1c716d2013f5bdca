//! The secrets that edges encrypt session tickets under: which there are, and when.
//!
//! Each is for one period and is published before it starts, so that every edge has it when the
//! first client comes back to another PoP. Nobody but the holders of the group's private key can
//! open it: here it is forgotten once it is sealed.

use aws_lc_rs::rand;
use landfall_feed::record::{Body, TicketRecord, WireRecord};
use landfall_model::SealContext;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{Service, ServiceError};
use crate::{
    call::Call,
    store::{self, Change, StoreError},
    token::RandomError,
};

/// For how long tickets are made with one secret, in seconds. Tickets are taken for as long again.
const PERIOD: u64 = 12 * 60 * 60;
const SECRET_LEN: usize = 32;

/// A secret that is in the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    /// When its period starts, in seconds since 1970.
    starts: u64,
    /// Which group key it is sealed to; none where the record can't be read.
    key_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// Make the secret of the period that starts then.
    Publish { starts: u64 },
    /// Take the one of that period back.
    Retract { starts: u64 },
}

impl Service {
    /// Publishes the secrets of this period and of the next where they are missing, and takes back
    /// what no edge needs any more. Says how many records changed.
    pub(crate) async fn rotate_tickets(&self, now: OffsetDateTime) -> Result<usize, ServiceError> {
        let seconds = u64::try_from(now.unix_timestamp()).unwrap_or_default();
        let held = held(&mut *self.store.read().await?).await?;
        let actions = plan(seconds, &held, self.group.id());
        if actions.is_empty() {
            return Ok(0);
        }
        // Only one server runs, and nothing else writes these records: the plan still holds.
        let mut change = self.store.change(Call::system(now)).await?;
        for action in &actions {
            match *action {
                Action::Publish { starts } => self.publish_tickets(&mut change, starts).await?,
                Action::Retract { starts } => change.retract_tickets(starts).await?,
            }
        }
        let revision = change.commit().await?.revision.0;
        tracing::info!(changed = actions.len(), revision, "secrets of session tickets rotated");
        Ok(actions.len())
    }

    async fn publish_tickets(&self, change: &mut Change, starts: u64) -> Result<(), ServiceError> {
        let ends = starts.saturating_add(PERIOD);
        let mut secret = Zeroizing::new([0; SECRET_LEN]);
        rand::fill(secret.as_mut()).map_err(|_| RandomError)?;
        let context = SealContext::TicketSecret { starts, ends };
        let secret = self.group.seal(context, secret.as_ref()).map_err(ServiceError::Seal)?;
        let record = TicketRecord { starts, ends, secret };
        change.publish_tickets(&record).await.map_err(ServiceError::from)
    }
}

async fn held(on: &mut store::Connection) -> Result<Vec<Held>, StoreError> {
    let read = |(starts, encoded): (u64, Vec<u8>)| {
        let record = WireRecord::read(&encoded).and_then(|record| record.decode());
        let key_id = record.ok().and_then(|record| match record.body {
            Body::Tickets(tickets) => Some(tickets.secret.key_id),
            Body::Hostname(_)
            | Body::Property(_)
            | Body::Pop(_)
            | Body::Validation(_)
            | Body::Tombstone
            | Body::Unknown => None,
        });
        Held { starts, key_id }
    };
    Ok(store::feed::tickets(on).await?.into_iter().map(read).collect())
}

/// What to do at `now`, in seconds since 1970. Depends on nothing but the clock and what is there,
/// so that whatever the two have been through, one round puts things right.
fn plan(now: u64, held: &[Held], key_id: &str) -> Vec<Action> {
    let current = now - now % PERIOD;
    let next = current.saturating_add(PERIOD);
    let is_held = |starts: u64| {
        let opens = |own: &Held| own.starts == starts && own.key_id.as_deref() == Some(key_id);
        held.iter().any(opens)
    };
    let missing = [current, next].into_iter().filter(|starts| !is_held(*starts));
    // Ahead of the next: made while the clock was.
    let is_over = |own: &&Held| own.starts > next || own.starts.saturating_add(2 * PERIOD) <= now;
    let over = held.iter().filter(is_over);
    let publish = missing.map(|starts| Action::Publish { starts });
    publish.chain(over.map(|own| Action::Retract { starts: own.starts })).collect()
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use landfall_feed::seal::{GroupKeyFiles, GroupPublicKey};

    use super::*;
    use crate::{
        authority::Authorities,
        ca::InternalCa,
        config::{IssuancePolicy, IssuanceScope, OriginPolicy, RawControlConfig},
        metrics::{Metrics, watch::WatchMetrics},
        service::{AgentRules, Verification, verification::results::Results},
        watch::Watch,
    };

    const START: u64 = 40_000 * PERIOD;
    const KEY: &str = "k1";

    /// The starts of what is in the feed after a round, in periods from [`START`].
    fn round(held: &mut Vec<Held>, now: u64) -> Vec<i64> {
        for action in plan(now, held, KEY) {
            match action {
                Action::Publish { starts } => {
                    held.retain(|own| own.starts != starts);
                    held.push(Held { starts, key_id: Some(KEY.to_owned()) });
                }
                Action::Retract { starts } => held.retain(|own| own.starts != starts),
            }
        }
        assert_eq!(plan(now, held, KEY), [], "a round leaves nothing to do");
        let period =
            |own: &Held| (own.starts.cast_signed() - START.cast_signed()) / PERIOD.cast_signed();
        let mut periods: Vec<i64> = held.iter().map(period).collect();
        periods.sort_unstable();
        periods
    }

    #[test]
    fn this_periods_secret_and_the_next_are_there_at_once() {
        assert_eq!(round(&mut Vec::new(), START), [0, 1]);
        assert_eq!(round(&mut Vec::new(), START + PERIOD - 1), [0, 1]);
    }

    #[test]
    fn a_secret_is_there_a_period_ahead_and_goes_after_two() {
        let mut held = Vec::new();
        let mut seen = |now| round(&mut held, now);
        assert_eq!(seen(START + 7), [0, 1]);
        assert_eq!(seen(START + PERIOD - 1), [0, 1]);
        assert_eq!(seen(START + PERIOD), [0, 1, 2]);
        assert_eq!(seen(START + 2 * PERIOD - 1), [0, 1, 2]);
        assert_eq!(seen(START + 2 * PERIOD), [1, 2, 3]);
    }

    #[test]
    fn a_clock_that_jumps_or_an_old_database_leaves_what_the_time_needs() {
        let year = 730 * PERIOD;
        let mut held = Vec::new();
        round(&mut held, START);
        assert_eq!(round(&mut held, START + year), [730, 731]);
        assert_eq!(round(&mut held, START), [0, 1]);
        assert_eq!(round(&mut held, START - 2 * PERIOD), [-2, -1]);
        assert_eq!(round(&mut held, START), [-1, 0, 1]);
        assert_eq!(plan(0, &[], KEY).len(), 2);
        assert_eq!(plan(u64::MAX, &[], KEY).len(), 2);
    }

    #[test]
    fn a_secret_that_edges_can_not_open_is_made_anew() {
        let starts = START;
        for key_id in [None, Some("k0".to_owned())] {
            let held = [Held { starts, key_id }];
            let expected =
                [Action::Publish { starts }, Action::Publish { starts: starts + PERIOD }];
            assert_eq!(plan(starts, &held, KEY), expected);
        }
    }

    async fn service(folder: &std::path::Path) -> Service {
        let now = OffsetDateTime::UNIX_EPOCH;
        let path = folder.join("control.db");
        std::fs::File::create(&path).unwrap();
        let key = InternalCa::generate_key().unwrap();
        let root = InternalCa::generate_root(&key, now).unwrap();
        let files = GroupKeyFiles::generate().unwrap();
        let scope = IssuanceScope::SystemDomain;
        let raw: RawControlConfig = serde_json::from_value(serde_json::json!({
            "system_domain": "edge.test",
            "state": {"directory": "state"},
            "keys": {"group_public_key_file": "group.pub"},
            "dns": {"resolvers": ["127.0.0.1"]},
        }))
        .unwrap();
        let config = raw.check(folder).unwrap();
        let metrics = Metrics::new().unwrap();
        let watch = WatchMetrics::register(metrics.registry()).unwrap();
        let (results, _) = Results::channel();
        let verification = Verification::new(
            &config.verification,
            (scope, &config.agents),
            results,
            metrics.verification,
        );
        let group = GroupPublicKey::parse(&files.public).unwrap();
        Service {
            limits: config.limits,
            verification: verification.unwrap(),
            store: store::Store::open(&path).await.unwrap(),
            ca: Arc::new(InternalCa::parse(&key, &root).unwrap()),
            authorities: Arc::new(Authorities::load(&config.agents, &group).unwrap()),
            agents: Arc::new(AgentRules::of(&config.agents, metrics.issuance)),
            watch: Arc::new(Watch::new(config.watch, watch)),
            group,
            system_domain: "edge.test".parse().unwrap(),
            challenge_zone: None,
            issuance: IssuancePolicy { scope, lifetime: Duration::from_secs(3_600) },
            origins: OriginPolicy::default(),
            pop_unhealthy_after: std::time::Duration::from_secs(120),
            keys_per_property: 100,
        }
    }

    #[tokio::test]
    async fn rounds_publish_and_retract_in_the_feed_and_are_quiet_between() {
        let folder = tempfile::tempdir().unwrap();
        let mut service = service(folder.path()).await;
        let at = |periods: u64| {
            let seconds = START + periods * PERIOD + 5;
            OffsetDateTime::from_unix_timestamp(seconds.cast_signed()).unwrap()
        };
        let starts = async |service: &Service| {
            let held = held(&mut service.store.read().await.unwrap()).await.unwrap();
            held.into_iter().map(|own| (own.starts - START) / PERIOD).collect::<Vec<_>>()
        };
        assert_eq!(service.rotate_tickets(at(0)).await.unwrap(), 2);
        assert_eq!(service.rotate_tickets(at(0)).await.unwrap(), 0);
        assert_eq!(starts(&service).await, [0, 1]);
        assert_eq!(service.rotate_tickets(at(1)).await.unwrap(), 1);
        assert_eq!(service.rotate_tickets(at(2)).await.unwrap(), 2);
        assert_eq!(starts(&service).await, [1, 2, 3]);
        // As a database that comes back from a backup after a year, and a clock that was wrong.
        assert_eq!(service.rotate_tickets(at(730)).await.unwrap(), 5);
        assert_eq!(service.rotate_tickets(at(2)).await.unwrap(), 4);
        assert_eq!(starts(&service).await, [2, 3]);
        let files = GroupKeyFiles::generate().unwrap();
        service.group = GroupPublicKey::parse(&files.public).unwrap();
        assert_eq!(service.rotate_tickets(at(2)).await.unwrap(), 2);
        assert_eq!(service.rotate_tickets(at(2)).await.unwrap(), 0);
    }
}
