//! What a check needs to know of a hostname, and what its DNS should say.

use std::net::IpAddr;

use landfall_dns::{Activity, DelegationEvidence, Expectation, Pop};
use landfall_model::{Hostname, HostnameId, Origin, OriginHost};
use time::OffsetDateTime;

use super::super::{Service, ServiceError, hostnames::origins_of as origins_of_route};
use crate::{
    hostname::{ManagedHostname, deployment::Fleet},
    property::Property,
    store::{self, line::Line, pop::PopActivity},
    verification::{Progress, Standing},
};

/// A hostname that is to be checked.
pub(super) struct Subject {
    pub(super) hostname: ManagedHostname,
    pub(super) progress: Progress,
    pub(super) expectation: Expectation,
    /// Where `_acme-challenge` should lead, where that is looked at.
    pub(super) challenges_at: Option<String>,
    /// What was last seen of that.
    pub(super) delegation: Option<DelegationEvidence>,
}

impl Subject {
    pub(super) fn standing(&self) -> Standing {
        let (id, status) = (self.hostname.id, self.hostname.status);
        Standing { id, status, progress: self.progress }
    }
}

impl Service {
    /// Reads what a check needs. `None` where there is nothing to check: the hostname is gone, or is
    /// never verified.
    pub(super) async fn subject(
        &self,
        id: HostnameId,
        now: OffsetDateTime,
    ) -> Result<Option<Subject>, ServiceError> {
        let _turn = self.store.turn(Line::Checks).await;
        let mut connection = self.store.read_at_once().await?;
        let Some(hostname) = store::hostname::find(&mut connection, id).await? else {
            return Ok(None);
        };
        let Some(state) = store::verification::find(&mut connection, id).await? else {
            return Ok(None);
        };
        let owner = store::property::find(&mut connection, hostname.property).await?;
        let Some(owner) = owner else { return Ok(None) };
        let fleet = self.fleet(&mut connection, now).await?;
        let expectation = self.expectation(&owner, &hostname, &fleet)?;
        let challenges_at = self.delegation(&hostname).map(|record| record.target);
        let progress = state.progress();
        let delegation = state.evidence.and_then(|evidence| evidence.challenge);
        Ok(Some(Subject { hostname, progress, expectation, challenges_at, delegation }))
    }

    fn expectation(
        &self,
        owner: &Property,
        hostname: &ManagedHostname,
        fleet: &Fleet,
    ) -> Result<Expectation, ServiceError> {
        let pool = owner.spec.pool.origins.iter().map(|origin| &origin.url);
        let (names, addresses) = hosts_of(pool.chain(origins_of_route(&hostname.route)));
        Ok(Expectation {
            target: self.system_hostname(&owner.name)?,
            system_domain: self.system_domain.clone(),
            pops: fleet.pops.iter().map(|pop| as_dns(pop, fleet)).collect(),
            origin_names: names,
            origin_addresses: addresses,
            cas: self.verification.cas.clone(),
        })
    }
}

fn as_dns(pop: &store::pop::Pop, fleet: &Fleet) -> Pop {
    let activity = match (pop.activity(fleet.at, fleet.unhealthy_after), pop.seen_at) {
        (PopActivity::Active, _) => Activity::Active,
        (PopActivity::Off, _) => Activity::Off,
        (PopActivity::Unhealthy, _) if pop.is_refused() => Activity::TokenRefused,
        (PopActivity::Unhealthy, Some(since)) => Activity::Silent { since },
        (PopActivity::Unhealthy, None) => Activity::NeverSeen,
    };
    Pop { name: pop.name.clone(), addresses: pop.addresses.clone(), activity }
}

fn hosts_of<'a>(origins: impl Iterator<Item = &'a Origin>) -> (Vec<Hostname>, Vec<IpAddr>) {
    let (mut names, mut addresses) = (Vec::new(), Vec::new());
    for origin in origins {
        match origin.host() {
            OriginHost::Name(name) => names.push(name.clone()),
            OriginHost::Address(address) => addresses.push(*address),
        }
    }
    (names, addresses)
}
