//! Checks and attempts that are due later than they should be.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use landfall_issuance::schedule;
use time::OffsetDateTime;

use super::super::{Service, ServiceError, jobs::LONGEST_RETRY};
use crate::{
    call::Call,
    store::{
        self,
        job::JobIssuer,
        verification::queue::{Overlong, count_overlong, hasten},
    },
    verification::{Lane, longest_wait},
};

/// How many checks may become due in a second, so that they come one after the other.
const PER_SECOND: u64 = 50;
/// Over what time they become due at most.
const AT_MOST: Duration = Duration::from_secs(60);
/// How many one transaction brings forward: others wait for it.
const AT_ONCE: u32 = 1_000;

impl Service {
    /// The addresses of the PoPs that hostnames may lead to.
    pub(crate) async fn active_addresses(
        &self,
        now: OffsetDateTime,
    ) -> Result<BTreeSet<IpAddr>, ServiceError> {
        let mut connection = self.store.read_at_once().await?;
        let fleet = self.fleet(&mut connection, now).await?;
        Ok(fleet.active_pops().flat_map(|pop| pop.addresses.iter().copied()).collect())
    }

    /// Makes hostnames due, within a minute, whose last check could not tell for want of an active PoP;
    /// says how many.
    pub(crate) async fn hasten_awaiting_pops(
        &self,
        now: OffsetDateTime,
    ) -> Result<u64, ServiceError> {
        self.hasten(now, Overlong::AwaitingPop).await
    }

    /// Makes due what waits for longer than any schedule says; says how much that is.
    pub(crate) async fn hasten_misdated(&self, now: OffsetDateTime) -> Result<u64, ServiceError> {
        let mut hastened = 0;
        for lane in Lane::ALL {
            let longest = longest_wait(lane, &self.verification.schedule);
            hastened += self.hasten(now, |after| Overlong::Misdated(lane, after + longest)).await?;
        }
        let latest = now + LONGEST_RETRY;
        let mut connection = self.store.read().await?;
        let internal = JobIssuer::Internal;
        let mut jobs = store::job::due_after(&mut connection, internal, latest, AT_ONCE).await?;
        let latest = now + schedule::LONGEST;
        let agents = JobIssuer::Agents;
        jobs.extend(store::job::due_after(&mut connection, agents, latest, AT_ONCE).await?);
        drop(connection);
        if !jobs.is_empty() {
            let mut change = self.store.change(Call::system(now)).await?;
            for job in &jobs {
                store::job::hasten(change.on(), *job, now).await?;
            }
            change.commit().await?;
        }
        Ok(hastened + jobs.len() as u64)
    }

    /// Brings forward, within a minute, what `overlong` says is due too late after some time.
    async fn hasten(
        &self,
        now: OffsetDateTime,
        overlong: impl Fn(OffsetDateTime) -> Overlong,
    ) -> Result<u64, ServiceError> {
        let count = count_overlong(&mut *self.store.read().await?, overlong(now)).await?;
        if count == 0 {
            return Ok(0);
        }
        let over = Duration::from_secs((count / PER_SECOND).max(1)).min(AT_MOST);
        let mut hastened = 0;
        loop {
            let mut change = self.store.change(Call::system(now)).await?;
            let done = hasten(change.on(), overlong(now + over), (now, over), AT_ONCE).await?;
            change.commit().await?;
            hastened += done;
            if done < u64::from(AT_ONCE) {
                return Ok(hastened);
            }
        }
    }
}
