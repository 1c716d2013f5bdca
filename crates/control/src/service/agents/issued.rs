//! Certificates that agents obtained: checked, kept, published, and the job done.

use landfall_feed::seal::sha256;
use landfall_issuance::{
    acme::CertificateId,
    chain::{self, Ordered},
    failure::Trouble,
    renewal::Certificate,
};
use landfall_model::{
    AuthorityName, ChallengeMethod, Fingerprint, HostPattern, HostnameId,
    issuance::IssuedCertificate,
};
use serde_json::json;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Service, questions::shown};
use crate::{
    certificate::{CertificateIssuer, SealedCertificate, SealedKey, Source, chain as leaf_chain},
    hostname::ManagedHostname,
    service::{ServiceError, publish},
    store::{
        self, Change,
        attempt::Attempt,
        event::EventKind,
        lease::{AgentJob, Grant, Hearing, Release},
        renewal::seed,
    },
};

/// The most bytes of a sealed key and of what it is sealed with.
pub(super) const MAX_SEALED: usize = 8 * 1024;

/// What certificates are checked against.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) hostname: HostnameId,
    pub(super) names: Vec<HostPattern>,
    pub(super) authority: AuthorityName,
    /// The id of the fleet's group key.
    pub(super) group: String,
    pub(super) now: OffsetDateTime,
}

/// Checks what was issued: one certificate of a type of key, each a whole chain for exactly the names, with
/// its key sealed for each of them.
pub(super) fn check(
    issued: &[IssuedCertificate],
    expected: &Expected,
) -> Result<Vec<SealedCertificate>, Trouble> {
    let bad = |detail: String| Trouble::BadChain { detail: detail.into() };
    let checked: Vec<SealedCertificate> =
        issued.iter().map(|one| check_one(one, expected)).collect::<Result<_, _>>()?;
    match checked.as_slice() {
        [_] => Ok(checked),
        [one, other] if one.key_type != other.key_type => Ok(checked),
        _ => {
            Err(bad(format!("{} certificates where one of each type of key is due", issued.len())))
        }
    }
}

fn check_one(
    issued: &IssuedCertificate,
    expected: &Expected,
) -> Result<SealedCertificate, Trouble> {
    let bad = |detail: String| Trouble::BadChain { detail: detail.into() };
    let unreadable = || bad("the certificate can't be read".to_owned());
    let leaf = issued.chain.first().ok_or_else(unreadable)?;
    let (_, parsed) = X509Certificate::from_der(&leaf.0).map_err(|_| unreadable())?;
    let key_type = leaf_chain::key_type(&parsed).map_err(|error| bad(error.to_string()))?;
    let public_key = parsed.public_key().raw;
    let ordered = Ordered { names: &expected.names, key_type, public_key };
    let validity = chain::check(&issued.chain, ordered, expected.now)
        .map_err(|error| bad(error.to_string()))?;
    leaf_chain::check_loadable(&leaf.0).map_err(|error| bad(error.to_string()))?;
    let fingerprint = sha256(&leaf.0);
    let served = Certificate {
        hostname: expected.hostname,
        seed: seed(&fingerprint),
        not_before: validity.not_before,
        not_after: validity.not_after,
        issued_at: expected.now,
        advice: issued.renewal.as_ref(),
    };
    let ari_id = CertificateId::of(leaf).map(|id| id.to_string());
    let last_poll = issued.renewal.as_ref().map(|_| expected.now);
    Ok(SealedCertificate {
        key_type,
        issuer: CertificateIssuer::Authority,
        fingerprint: Fingerprint(fingerprint),
        not_before: validity.not_before,
        not_after: validity.not_after,
        renew_at: Some(served.renew_at().max(served.settled_at())),
        chain: issued.chain.clone(),
        spki_sha256: sha256(public_key),
        keys: check_keys(issued, expected)?,
        source: Some(Source {
            authority: expected.authority.clone(),
            urgent_at: served.urgent_at(),
            poll_at: ari_id.as_ref().map(|_| served.poll_at(expected.now, last_poll)),
            ari_id,
            advice: issued.renewal.clone().map(shown),
        }),
    })
}

/// The keys, one for each name, as our group's edges can open them.
fn check_keys(issued: &IssuedCertificate, expected: &Expected) -> Result<Vec<SealedKey>, Trouble> {
    let refused = |detail: &str| Trouble::Upload { detail: detail.into() };
    let key_for = |name: &HostPattern| {
        let key = issued.keys.iter().find(|key| key.name == *name);
        let sealed = key.ok_or_else(|| refused("a name has no sealed key"))?.key.clone();
        if sealed.key_id != expected.group {
            return Err(refused("a key is sealed to another group key than the control plane's"));
        }
        if sealed.ciphertext.is_empty() || sealed.ciphertext.len() + sealed.enc.len() > MAX_SEALED {
            return Err(refused("a sealed key is empty or too large"));
        }
        Ok(SealedKey { name: name.clone(), sealed })
    };
    expected.names.iter().map(key_for).collect()
}

impl Service {
    /// Keeps what was issued, publishes it, and ends the job.
    pub(super) async fn keep_authorities(
        &self,
        change: &mut Change,
        (job, grant, method): (&AgentJob, &Grant, Option<ChallengeMethod>),
        hostname: &ManagedHostname,
        certificates: &[SealedCertificate],
    ) -> Result<(), ServiceError> {
        let now = change.now();
        store::predecessor::retire(change.on(), hostname.id, now).await?;
        for issuer in [CertificateIssuer::Inherited, CertificateIssuer::Authority] {
            store::certificate::remove(change.on(), hostname.id, issuer).await?;
        }
        for certificate in certificates {
            store::certificate::put(change.on(), hostname.id, certificate, now).await?;
            let detail = json!({
                "job": job.id.0,
                "authority": grant.authority.as_str(),
                "fingerprint": certificate.fingerprint.to_string(),
            });
            change.event(hostname.id, EventKind::CertificateIssued, &detail).await?;
        }
        store::job::finish(change.on(), job.id, now).await?;
        publish(change, hostname.id).await?;
        self.end_validation(change, job.id).await?;
        self.tell_success(change, (job, grant, method), hostname).await?;
        let age = (now - job.created_at).as_seconds_f64().max(0.0);
        self.agents.metrics.issuance_seconds.observe(age);
        let (name, authority, pop) = (&hostname.name, &grant.authority, &grant.pop);
        tracing::info!(hostname = %name, %authority, pop, "certificate issued");
        Ok(())
    }

    /// Keeps that a rehearsal passed: the CA itself is asked next.
    pub(super) async fn keep_rehearsal(
        &self,
        change: &mut Change,
        (job, grant, method): (&AgentJob, &Grant, Option<ChallengeMethod>),
        hostname: &ManagedHostname,
    ) -> Result<(), ServiceError> {
        let release = Release {
            history: job.history.after_rehearsal(),
            failed_methods: &job.failed_methods,
            replacing: job.replacing,
            order: None,
            next_at: change.now(),
            failed: None,
            asked_at: None,
            hearing: Hearing::Again,
        };
        store::lease::release(change.on(), job.id, &release).await?;
        self.end_validation(change, job.id).await?;
        self.tell_success(change, (job, grant, method), hostname).await?;
        change.wake_jobs();
        Ok(())
    }

    async fn tell_success(
        &self,
        change: &mut Change,
        (job, grant, method): (&AgentJob, &Grant, Option<ChallengeMethod>),
        hostname: &ManagedHostname,
    ) -> Result<(), ServiceError> {
        store::budget::keep_outages(change.on(), &grant.authority, 0).await?;
        let attempt = Attempt {
            job: job.id,
            at: change.now(),
            authority: grant.authority.to_string(),
            pop: grant.pop.clone(),
            method,
            class: None,
            words: None,
            owner: None,
            operator: None,
            next_at: None,
        };
        store::attempt::add(change.on(), hostname.id, &attempt).await?;
        let labels = [grant.authority.as_str(), "none"];
        self.agents.metrics.attempts.with_label_values(&labels).inc();
        Ok(())
    }
}
