//! What is looked at before anything is asked of a CA that it counts.

use std::{collections::BTreeSet, sync::Arc};

use landfall_dns::{
    Activity, AddressOwner, CaaAnswer, Expectation, Issuer, Pop, Verdict, Verifier,
};
use landfall_model::{
    ChallengeMethod, HostPattern,
    issuance::{Assignment, TxtRecord, TxtRecords},
};
use time::{Duration, OffsetDateTime};

use crate::{
    acme::Connection,
    failure::{Precheck, Trouble},
};

/// The most that our clock and the control plane's may be apart.
const CLOCK_TOLERANCE: Duration = Duration::minutes(5);

/// Whether the hostname leads to PoPs now, and to which that are not active. A wildcard beside it need not: it is proven by DNS, and
/// stands for names that lead here one by one.
pub(super) async fn dns(
    verifier: &Verifier,
    job: &Assignment,
) -> Result<BTreeSet<String>, Trouble> {
    let mut inactive = BTreeSet::new();
    let expected = expectation(job);
    for name in job.names.iter().take(1) {
        let evidence = verifier.verify(name, &expected, OffsetDateTime::now_utc()).await;
        for found in evidence.ipv4.addresses.iter().chain(&evidence.ipv6.addresses) {
            if let AddressOwner::InactivePop(pop) = &found.owner {
                inactive.insert(pop.clone());
            }
        }
        match evidence.verdict() {
            Verdict::Passed => {}
            Verdict::Failed => {
                return Err(Precheck::Dns { advice: evidence.advice.into() }.into());
            }
            // Nothing speaks against it: our own resolvers say nothing.
            Verdict::Inconclusive => {
                tracing::debug!(
                    hostname = %name, finding = evidence.finding.name(),
                    "the DNS can't be told; going on"
                );
            }
        }
    }
    Ok(inactive)
}

/// Whether the CA finds an active PoP wherever it goes: it may go to any address of the name, and one where
/// nobody answers would cost an order, which its owner could not help.
pub(super) fn reachable(
    job: &Assignment,
    method: ChallengeMethod,
    inactive: &BTreeSet<String>,
) -> Result<(), Trouble> {
    let by_dns = matches!(method, ChallengeMethod::Dns01 | ChallengeMethod::DnsPersist01);
    if by_dns || inactive.is_empty() {
        return Ok(());
    }
    // The name leads to active ones too, or there would be none at all.
    let asked = inactive.len() + job.pops.len().max(1);
    Err(Trouble::Precheck(Precheck::Challenge {
        method,
        failed: inactive.iter().map(|pop| pop.as_str().into()).collect(),
        asked: u32::try_from(asked).unwrap_or(u32::MAX),
        detail: "the name leads to PoPs that are not active".into(),
    }))
}

/// Whether our clock is the control plane's, which is `ahead` of it: it says what is due, and what its
/// records and limits mean.
pub(super) fn control_clock(ahead: Duration) -> Result<(), Trouble> {
    if ahead.abs() <= CLOCK_TOLERANCE {
        return Ok(());
    }
    let ours = OffsetDateTime::now_utc();
    Err(Trouble::ControlClockOff { ours, theirs: ours.saturating_add(ahead) })
}

fn expectation(job: &Assignment) -> Expectation {
    let active = job.pops.iter().chain(&job.stalled_pops).map(|pop| (pop, Activity::Active));
    let inactive = job.inactive_pops.iter().map(|pop| (pop, Activity::Untold));
    let pops = active.chain(inactive).map(|(pop, activity)| Pop {
        name: pop.name.clone(),
        addresses: pop.addresses.clone(),
        activity,
    });
    Expectation {
        target: job.target.clone(),
        system_domain: job.system_domain.clone(),
        pops: pops.collect(),
        origin_names: Vec::new(),
        origin_addresses: Vec::new(),
        // Judged by itself: the account and the method count too.
        cas: Arc::default(),
    }
}

/// The first of the job's methods that CAA records of all names leave (RFC 8657).
pub(super) async fn method(
    verifier: &Verifier,
    job: &Assignment,
    domains: &[String],
    account: &str,
) -> Result<ChallengeMethod, Trouble> {
    let mut methods = job.methods.clone();
    let place = methods.iter().position(|method| *method == ChallengeMethod::Dns01);
    if let (Some(place), Some(record)) = (place, lasting_record(job, domains, account))
        && verifier.challenge_txt(&record.name, &record.value).await.found
    {
        methods.insert(place, ChallengeMethod::DnsPersist01);
    }
    for name in &job.names {
        let issuer = Issuer { domains, account, methods: &methods };
        methods = match verifier.may_issue(name, issuer).await {
            CaaAnswer::Permitted(methods) => methods,
            CaaAnswer::Forbidden { at } => {
                let identity = domains.first().map(|own| own.as_str().into()).unwrap_or_default();
                return Err(Precheck::Caa { at: at.into(), identity }.into());
            }
            CaaAnswer::Failed { at } => return Err(Precheck::CaaLookup { at: at.into() }.into()),
        };
    }
    let wildcard = job.names.iter().any(|name| matches!(name, HostPattern::Wildcard(_)));
    let by_dns = [ChallengeMethod::Dns01, ChallengeMethod::DnsPersist01];
    let usable = |method: &ChallengeMethod| !wildcard || by_dns.contains(method);
    methods.into_iter().find(usable).ok_or_else(|| {
        let detail = "none of the methods that may be used can prove these names".into();
        Precheck::NoMethod { detail }.into()
    })
}

/// The TXT record that lets a CA issue for a job's names by our account for as long as it stands
/// (draft-ietf-acme-dns-persist), where the owner is to make one.
pub(super) fn lasting_record(
    job: &Assignment,
    domains: &[String],
    account: &str,
) -> Option<TxtRecord> {
    let (TxtRecords::ByOwner, Some(name)) = (&job.records, job.names.first()) else { return None };
    let issuer = domains.first()?;
    let wildcard = job.names.iter().any(|name| matches!(name, HostPattern::Wildcard(_)));
    let policy = if wildcard { "; policy=wildcard" } else { "" };
    Some(TxtRecord {
        name: format!("_validation-persist.{}", name.base()),
        value: format!("{issuer}; accounturi={account}{policy}"),
    })
}

/// Whether our clock is right, as far as the CA knows.
pub(super) fn clock(connection: &Connection) -> Result<(), Trouble> {
    let Some(offset) = connection.clock_off() else { return Ok(()) };
    let ours = OffsetDateTime::now_utc();
    Err(Trouble::ClockOff { ours, theirs: ours.saturating_add(offset) })
}

impl From<Precheck> for Trouble {
    fn from(precheck: Precheck) -> Self {
        Self::Precheck(precheck)
    }
}
