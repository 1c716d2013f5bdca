//! What edges are told of names that a CA is being shown to be their owner's.

use std::collections::BTreeSet;

use landfall_feed::record::{AlpnDigest, ValidationRecord};
use landfall_issuance::protocol::CHALLENGE_ZONE;
use landfall_model::{
    HostPattern, Hostname, JobId, Revision, Thumbprint,
    issuance::{ChallengeMethod, PublishedChallenge},
};
use time::Duration;

use super::{
    Service,
    stalled::{Stalled, addresses, applied},
};
use crate::{
    challenge_zone::record::{ChallengeLabel, TxtValue},
    hostname::ManagedHostname,
    service::ServiceError,
    store::{self, Change, lease::AgentJob, validation::Published},
};

/// For how long edges answer, if nobody ends it before.
const LONGEST: Duration = Duration::hours(1);
/// What is published anew when it is asked for again: it would end soon.
const SHORT: i64 = 30 * 60;

impl Service {
    /// Publishes that a hostname's names are being validated, in the place of what was said before, and
    /// says what does not show it yet: active PoPs, or the zone of challenges.
    pub(super) async fn begin_validation(
        &self,
        change: &mut Change,
        (job, hostname): (&AgentJob, &ManagedHostname),
        thumbprint: &Thumbprint,
        challenges: &[PublishedChallenge],
    ) -> Result<Vec<String>, ServiceError> {
        let by_dns = |one: &&PublishedChallenge| one.method == ChallengeMethod::Dns01;
        if !challenges.is_empty() && challenges.iter().all(|one| by_dns(&one)) {
            return self.publish_records(change, (job.id, hostname), challenges).await;
        }
        let names = hostname.names();
        let exact: BTreeSet<&Hostname> = names
            .iter()
            .filter(|name| matches!(name, HostPattern::Exact(_)))
            .map(HostPattern::base)
            .collect();
        let mut newest = Revision(0);
        for name in exact {
            let digest = challenges
                .iter()
                .find(|one| one.method == ChallengeMethod::TlsAlpn01 && one.name.base() == name);
            let digest = digest.and_then(|one| one.digest.as_slice().try_into().ok());
            let wanted = (name, thumbprint, digest.map(AlpnDigest));
            newest = newest.max(publish(change, job.id, wanted).await?);
        }
        let now = change.now();
        let fleet = self.fleet(change.on(), now).await?;
        let stalled = Stalled::of(&fleet, change.on()).await?;
        let mut leads_to = Vec::new();
        if stalled.parts(&job.history) {
            let seen = store::verification::find(change.on(), hostname.id).await?;
            leads_to = addresses(seen.and_then(|seen| seen.evidence).as_ref());
        }
        let mut behind = Vec::new();
        for pop in stalled.parted(&leads_to, &job.history).0 {
            if applied(&fleet, pop) < newest {
                stalled.wait_for(change.on(), pop, newest).await?;
                behind.push(pop.name.clone());
            }
        }
        Ok(behind)
    }

    /// Puts TXT records into the zone of challenges, and says whether that is done.
    async fn publish_records(
        &self,
        change: &mut Change,
        (job, hostname): (JobId, &ManagedHostname),
        challenges: &[PublishedChallenge],
    ) -> Result<Vec<String>, ServiceError> {
        let label = ChallengeLabel::parse(&hostname.public_id);
        let (Some(_), Some(label)) = (&self.challenge_zone, label) else { return Ok(Vec::new()) };
        let values = challenges.iter().filter_map(|one| TxtValue::of_digest(&one.digest));
        let values: Vec<TxtValue> = values.collect();
        let until = change.now() + LONGEST;
        store::dns_challenge::put(change.on(), (job, &label), &values, until).await?;
        let is_published = store::dns_challenge::is_published(change.on(), job).await?;
        Ok(if is_published { Vec::new() } else { vec![CHALLENGE_ZONE.to_owned()] })
    }

    /// Tells edges that what a job showed is no longer to be shown.
    pub(super) async fn end_validation(
        &self,
        change: &mut Change,
        job: JobId,
    ) -> Result<(), ServiceError> {
        for name in store::validation::end(change.on(), job).await? {
            change.retract_validation(&name).await?;
        }
        Ok(())
    }
}

/// Publishes what edges answer for a name, unless they have been told so, and says at which revision.
async fn publish(
    change: &mut Change,
    job: JobId,
    (name, thumbprint, alpn): (&Hostname, &Thumbprint, Option<AlpnDigest>),
) -> Result<Revision, ServiceError> {
    let now = change.now().unix_timestamp();
    let digest = alpn.map(|digest| data_encoding::BASE64.encode(&digest.0)).unwrap_or_default();
    let challenges = format!("{} {digest}", thumbprint.as_str());
    let known = store::validation::find(change.on(), name).await?;
    let is_told = |known: &&Published| {
        known.job == job && known.challenges == challenges && known.until > now + SHORT
    };
    if let Some(known) = known.as_ref().filter(is_told) {
        return Ok(known.revision);
    }
    let until = now + LONGEST.whole_seconds();
    let record = ValidationRecord {
        name: name.clone(),
        thumbprint: thumbprint.clone(),
        alpn,
        until: until.cast_unsigned(),
    };
    let revision = change.publish_validation(&record).await?;
    let published = Published { job, challenges, revision, until };
    store::validation::keep(change.on(), name, &published).await?;
    Ok(revision)
}
