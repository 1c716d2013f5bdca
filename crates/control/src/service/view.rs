//! A hostname with all that belongs to it, as it is read and shown.

use std::{collections::HashMap, sync::Arc};

use landfall_dns::{RequiredRecord, required_record};
use landfall_model::{HostPattern, Hostname, HostnameId};
use time::OffsetDateTime;

use super::{Service, ServiceError};
use crate::{
    certificate::{CertificateIssuer, CertificateSummary},
    hostname::{
        ManagedHostname, Placement,
        certificate_state::{CertificateState, PublicStatus, Situation},
        delegation::DelegationRecord,
        deployment::{Deployment, Fleet, Publication, Published},
    },
    store::{
        self, Connection,
        hostname::PageIds,
        job::{JobStage, JobState},
        pop::Pop,
        verification::VerificationState,
    },
    watch::Finding,
};

/// A hostname with what belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct HostnameView {
    pub(crate) hostname: ManagedHostname,
    pub(crate) system_hostname: Hostname,
    pub(crate) certificates: Vec<CertificateSummary>,
    /// Where its verification stands; `None` where it is never verified.
    pub(crate) verification: Option<VerificationState>,
    /// Its newest job.
    pub(crate) job: Option<JobState>,
    /// What PoPs may have of it.
    pub(crate) published: Published,
    /// The record that leaves its DNS challenges to us, where there is a zone for them.
    pub(crate) delegation: Option<DelegationRecord>,
}

impl HostnameView {
    /// How far it has got. Without a certificate its handshakes are refused, wherever it is known.
    pub(crate) fn deployment(&self) -> Deployment {
        let deployment = self.published.deployment();
        let live = if self.certificates.is_empty() { 0 } else { deployment.live };
        Deployment { live, ..deployment }
    }

    /// Whether a PoP has been seen to serve its own certificates.
    pub(crate) fn is_shown_by(&self, pop: &Pop) -> bool {
        let is_shown = |own: &CertificateSummary| own.sighted.by.contains(pop.id);
        !self.certificates.is_empty() && self.certificates.iter().all(is_shown)
    }

    /// What a PoP showed in the place of a certificate when it was last looked at, if it was.
    pub(crate) fn miss_of(&self, pop: &Pop) -> Option<Finding> {
        let mut misses = self.certificates.iter().flat_map(|own| &own.sighted.misses);
        misses.find(|miss| miss.pop == pop.name).map(|miss| miss.finding)
    }

    /// On how many PoPs its certificates have been seen.
    pub(crate) fn shown(&self) -> u32 {
        let shown = self.published.fleet.pops.iter().filter(|pop| self.is_shown_by(pop));
        u32::try_from(shown.count()).unwrap_or(u32::MAX)
    }

    /// Whether all of its names have certificates of its own that last for more than the third of
    /// their time in which they are renewed, PoPs take them, and none is being issued.
    pub(crate) fn is_served_well(&self) -> bool {
        let now = self.published.fleet.at;
        let lasts = |own: &CertificateSummary| {
            own.issuer != CertificateIssuer::Inherited
                && own.not_after - now > (own.not_after - own.not_before) / 3
        };
        let is_served = |name: &HostPattern| {
            self.certificates.iter().any(|own| lasts(own) && own.serves.contains(name))
        };
        let is_idle = self.job.as_ref().is_none_or(|job| job.stage != JobStage::Open);
        let is_stuck = self.published.refusal().is_some()
            || (self.deployment().live == 0
                && self.certificate_state() == CertificateState::DeploymentTimedOut);
        is_idle && !is_stuck && self.hostname.names().iter().all(is_served)
    }

    /// What state its certificate is in.
    pub(crate) fn certificate_state(&self) -> CertificateState {
        let situation = Situation {
            status: self.hostname.status,
            title: self.hostname.title,
            left_at: self.left_at(),
            job: self.job.as_ref(),
            certificates: &self.certificates,
            deployment: self.deployment(),
            proof: self.published.fleet.proof,
            now: self.published.fleet.at,
        };
        situation.certificate_state()
    }

    /// Its status in the Cloudflare-compatible API.
    pub(crate) fn public_status(&self) -> PublicStatus {
        PublicStatus::of(self.hostname.status, self.left_at())
    }

    /// The record that makes it lead here; `None` for names under the system domain, which do.
    pub(crate) fn required_record(&self) -> Option<RequiredRecord> {
        let (_, system_domain) = self.system_hostname.as_str().split_once('.')?;
        let name = &self.hostname.name;
        if Placement::of(name, &system_domain.parse().ok()?) != Placement::External {
            return None;
        }
        let addresses = self.published.fleet.active_pops().flat_map(|pop| &pop.addresses);
        Some(required_record(name, &self.system_hostname, addresses.copied()))
    }

    /// When its DNS was found to have left.
    pub(crate) fn left_at(&self) -> Option<OffsetDateTime> {
        self.verification.as_ref().and_then(|state| state.left_at)
    }
}

impl Service {
    /// Every PoP and what each has acknowledged. `at` is now.
    pub(crate) async fn fleet(
        &self,
        on: &mut Connection,
        at: OffsetDateTime,
    ) -> Result<Arc<Fleet>, ServiceError> {
        let epoch = store::feed::state(on).await?.epoch;
        let pops = store::pop::list(on).await?;
        let (unhealthy_after, proof) = (self.pop_unhealthy_after, self.watch.proof());
        Ok(Arc::new(Fleet { at, epoch, pops, unhealthy_after, proof }))
    }

    /// Reads what belongs to a hostname.
    pub(super) async fn view_of(
        &self,
        on: &mut Connection,
        hostname: ManagedHostname,
        system_hostname: Hostname,
        now: OffsetDateTime,
    ) -> Result<HostnameView, ServiceError> {
        let fleet = self.fleet(on, now).await?;
        let id = hostname.id;
        let certificates = store::certificate::summaries(on, id).await?;
        let verification = store::verification::find(on, id).await?;
        let job = store::job::newest(on, id).await?;
        let records = store::held_name::publications(on, id).await?;
        Ok(HostnameView {
            delegation: self.delegation(&hostname),
            hostname,
            system_hostname,
            certificates,
            verification,
            job,
            published: Published { fleet, records },
        })
    }

    /// Reads what belongs to the hostnames of a page.
    pub(super) async fn views_of_page(
        &self,
        on: &mut Connection,
        system_hostname: &Hostname,
        hostnames: Vec<ManagedHostname>,
    ) -> Result<Vec<HostnameView>, ServiceError> {
        let page = &PageIds::of(&hostnames);
        let certificates = store::certificate::summaries_of_page(on, page).await?;
        let mut certificates = grouped(certificates, |own| own.hostname);
        let found = store::verification::of_page(on, page).await?;
        let mut verifications: HashMap<_, _> = found.into_iter().collect();
        let jobs = store::job::newest_of_page(on, page).await?;
        let mut jobs: HashMap<_, _> = jobs.into_iter().map(|job| (job.hostname, job)).collect();
        let records = store::held_name::publications_of_page(on, page).await?;
        let mut records = grouped(records, |(hostname, _)| *hostname);
        let fleet = self.fleet(on, OffsetDateTime::now_utc()).await?;
        let view = |hostname: ManagedHostname| {
            let records = records.remove(&hostname.id).unwrap_or_default();
            let records: Vec<Publication> = records.into_iter().map(|(_, record)| record).collect();
            HostnameView {
                system_hostname: system_hostname.clone(),
                certificates: certificates.remove(&hostname.id).unwrap_or_default(),
                verification: verifications.remove(&hostname.id),
                job: jobs.remove(&hostname.id),
                published: Published { fleet: Arc::clone(&fleet), records },
                delegation: self.delegation(&hostname),
                hostname,
            }
        };
        Ok(hostnames.into_iter().map(view).collect())
    }
}

fn grouped<T>(rows: Vec<T>, key: impl Fn(&T) -> HostnameId) -> HashMap<HostnameId, Vec<T>> {
    let mut groups: HashMap<HostnameId, Vec<T>> = HashMap::new();
    for row in rows {
        groups.entry(key(&row)).or_default().push(row);
    }
    groups
}
