//! What an operator does about CAs: revocations, accounts, and how long a batch takes.

use std::collections::BTreeMap;

use landfall_issuance::{acme::RevocationReason, forecast::Throughput, plan::WaitReason};
use landfall_model::{AuthorityName, HostPattern};
use serde::Serialize;
use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::{begin, finish};
use crate::{
    authority::Authorities,
    config::{AuthorityConfig, ControlConfig},
    error::ControlError,
    service::{Missing, ServiceError, agents::outlook::look_ahead, revocation},
    state,
    store::{self, audit::AuditEntry, errand::Purpose},
};

pub use crate::store::account::{AccountFailure, AccountState};

/// How many jobs an agent does at once, where nothing else is known.
const JOBS_OF_AN_AGENT: u32 = 8;
/// A PoP that was not seen for so long does no jobs.
const GONE_AFTER: Duration = Duration::minutes(10);

/// The reasons for a revocation, as RFC 5280 section 5.3.1 calls them.
pub const REVOCATION_REASONS: [&str; 5] = [
    RevocationReason::Unspecified.name(),
    RevocationReason::KeyCompromise.name(),
    RevocationReason::AffiliationChanged.name(),
    RevocationReason::Superseded.name(),
    RevocationReason::CessationOfOperation.name(),
];

/// Asks for a hostname's certificates of CAs to be revoked and replaced, and says how many there are.
///
/// # Errors
/// A hostname that nobody has, one without such a certificate, an unknown reason, and the state's own
/// errors.
pub async fn revoke_certificates(
    config: &ControlConfig,
    name: &HostPattern,
    reason: &str,
) -> Result<usize, ControlError> {
    let unknown = |what, name: &str| ControlError::Unknown { what, name: name.to_owned() };
    let reason = RevocationReason::from_name(reason)
        .ok_or_else(|| unknown("reason for a revocation", reason))?;
    let store = state::open_store(config).await?;
    let mut change = begin(&store).await?;
    let found = store::hostname::holder(change.on(), name).await.map_err(ControlError::Store)?;
    let hostname = found.ok_or_else(|| unknown("hostname", &name.to_string()))?;
    let revoked = revocation::revoke(&mut change, &hostname, reason).await;
    if let Err(ServiceError::Missing(Missing::IssuedCertificate)) = revoked {
        return Err(unknown("certificate of a CA", &name.to_string()));
    }
    let revoked = revoked.map_err(failed)?;
    finish(change, &store).await?;
    Ok(revoked)
}

/// Our accounts at CAs, without their keys.
///
/// # Errors
/// The state's own.
pub async fn list_accounts(config: &ControlConfig) -> Result<Vec<AccountState>, ControlError> {
    let store = state::open_store(config).await?;
    let mut connection = store.read().await.map_err(ControlError::Store)?;
    let accounts = store::account::list(&mut connection).await.map_err(ControlError::Store);
    drop(connection);
    store.close().await;
    accounts
}

/// Asks for the account at a CA to get a new key (RFC 8555 section 7.3.5).
///
/// # Errors
/// A CA that is not configured or has no account of ours, and the state's own errors.
pub async fn roll_over(
    config: &ControlConfig,
    authority: &AuthorityName,
) -> Result<(), ControlError> {
    let directory = &configured(config, authority)?.directory;
    let store = state::open_store(config).await?;
    let mut change = begin(&store).await?;
    let accounts = store::account::list(change.on()).await.map_err(ControlError::Store)?;
    let is_own = |own: &AccountState| {
        own.authority == *authority && own.directory == *directory && own.url.is_some()
    };
    if !accounts.iter().any(is_own) {
        return Err(no_account(authority, &accounts));
    }
    let now = change.now();
    let asked = store::errand::change_account(change.on(), authority, &Purpose::NewKey, now).await;
    asked.map_err(ControlError::Store)?;
    audit(&mut change, "issuance.rollover", authority).await?;
    finish(change, &store).await
}

/// Forgets the account at a CA: agents register another one.
///
/// # Errors
/// A CA that has no account of ours, and the state's own errors.
pub async fn forget_account(
    config: &ControlConfig,
    authority: &AuthorityName,
) -> Result<(), ControlError> {
    let store = state::open_store(config).await?;
    let mut change = begin(&store).await?;
    let before = change.now() + Duration::DAY;
    let forgotten = store::account::forget(change.on(), authority, before).await;
    if !forgotten.map_err(ControlError::Store)? {
        let accounts = store::account::list(change.on()).await.map_err(ControlError::Store)?;
        return Err(no_account(authority, &accounts));
    }
    audit(&mut change, "issuance.forget", authority).await?;
    finish(change, &store).await
}

/// Lets a CA be asked again at once, for what is on hold there or failed there last, and says how much
/// that is: certificates, revocations and changes of the account. Its limits stay as they are.
///
/// # Errors
/// A CA that is not configured, and the state's own errors.
pub async fn retry(config: &ControlConfig, authority: &AuthorityName) -> Result<u64, ControlError> {
    configured(config, authority)?;
    let store = state::open_store(config).await?;
    let mut change = begin(&store).await?;
    let now = change.now();
    store::budget::lift(change.on(), authority).await.map_err(ControlError::Store)?;
    let retried = store::job::retry(change.on(), authority, now).await;
    let retried = retried.map_err(ControlError::Store)?;
    let errands = store::errand::retry(change.on(), authority, now).await;
    let retried = retried + errands.map_err(ControlError::Store)?;
    audit(&mut change, "issuance.retry", authority).await?;
    finish(change, &store).await?;
    Ok(retried)
}

/// When what waits will be issued, if each attempt succeeds and nothing is added.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outlook {
    /// When it was looked.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// How many jobs wait.
    pub waiting: usize,
    /// How many jobs agents have.
    pub running: u64,
    /// How many are too many to be looked at.
    pub left_out: u64,
    /// How many jobs agents are taken to do at once.
    pub at_once: u32,
    /// How long each is taken to take, in seconds.
    pub seconds: u32,
    /// When half of those that wait are issued.
    #[serde(with = "time::serde::rfc3339::option")]
    pub half_done_at: Option<OffsetDateTime>,
    /// When all of them are; none where some never are.
    #[serde(with = "time::serde::rfc3339::option")]
    pub done_at: Option<OffsetDateTime>,
    /// How many no end is seen of.
    pub never: usize,
    /// How many each CA issues.
    pub by_authority: BTreeMap<AuthorityName, u32>,
    /// What they wait for at present, the most frequent first.
    pub waits: Vec<WaitCount>,
}

/// How many jobs wait for the same.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitCount {
    /// What for, as `waitingFor` of a job has it.
    pub reason: &'static str,
    /// Which CA's limit or hold it is.
    pub authority: Option<AuthorityName>,
    /// What the limit or hold is for: a name, a registered domain, or empty for all.
    pub subject: Option<String>,
    /// Why there is a hold.
    pub class: Option<&'static str>,
    /// How many.
    pub jobs: u32,
}

/// Looks ahead, with so many jobs at once, by default what the agents of PoPs that were seen of late do,
/// and so many seconds for each.
///
/// # Errors
/// The state's own.
pub async fn forecast(
    config: &ControlConfig,
    at_once: Option<u32>,
    seconds: u32,
) -> Result<Outlook, ControlError> {
    let group = state::read_group_key(&config.group_public_key_file)?;
    let authorities = Authorities::load(&config.agents, &group)?;
    let store = state::open_store(config).await?;
    let now = OffsetDateTime::now_utc();
    let mut connection = store.read().await.map_err(ControlError::Store)?;
    let pops = store::pop::list(&mut connection).await.map_err(ControlError::Store)?;
    let seen = pops.iter().filter(|pop| pop.seen_at.is_some_and(|at| now - at < GONE_AFTER));
    let agents = u32::try_from(seen.count()).unwrap_or(u32::MAX).max(1);
    let at_once = at_once.unwrap_or_else(|| agents.saturating_mul(JOBS_OF_AN_AGENT));
    let throughput = Throughput { at_once, seconds };
    let own = (&authorities, &config.agents);
    let ahead = look_ahead(&mut connection, own, throughput, now).await;
    drop(connection);
    store.close().await;
    let ahead = ahead.map_err(failed)?;
    let forecast = ahead.forecast;
    let half = forecast.done.get(ahead.waiting.div_ceil(2).saturating_sub(1));
    let mut waits: Vec<WaitCount> = forecast.waiting.iter().map(counted).collect();
    waits.sort_by_key(|wait| std::cmp::Reverse(wait.jobs));
    Ok(Outlook {
        at: now,
        waiting: ahead.waiting,
        running: ahead.running,
        left_out: ahead.left_out,
        at_once,
        seconds,
        half_done_at: half.map(|(_, at)| *at),
        done_at: forecast.done_at(),
        never: forecast.never.len(),
        by_authority: forecast.by_authority,
        waits,
    })
}

fn counted((reason, jobs): (&WaitReason, &u32)) -> WaitCount {
    let (authority, subject, class) = match reason {
        WaitReason::NotDue | WaitReason::Capacity | WaitReason::NoAuthority => (None, None, None),
        WaitReason::InFlight(authority) | WaitReason::Probe(authority) => {
            (Some(authority.clone()), None, None)
        }
        WaitReason::Limit(authority, bucket) => {
            (Some(authority.clone()), Some(bucket.subject()), None)
        }
        WaitReason::Hold(authority, held, class) => {
            (Some(authority.clone()), Some(held.subject()), Some(class.name()))
        }
    };
    WaitCount { reason: reason.name(), authority, subject, class, jobs: *jobs }
}

fn configured<'a>(
    config: &'a ControlConfig,
    authority: &AuthorityName,
) -> Result<&'a AuthorityConfig, ControlError> {
    let all = &config.agents.authorities;
    all.get(authority).ok_or_else(|| ControlError::UnknownAuthority {
        what: "configured CA",
        name: authority.to_string(),
        known: all.keys().map(AuthorityName::to_string).collect(),
    })
}

async fn audit(
    change: &mut store::Change,
    action: &'static str,
    authority: &AuthorityName,
) -> Result<(), ControlError> {
    let entry =
        AuditEntry { action, property: None, object: authority.as_str(), detail: json!({}) };
    change.audit(&entry).await.map_err(ControlError::Store)
}

fn no_account(authority: &AuthorityName, accounts: &[AccountState]) -> ControlError {
    ControlError::UnknownAuthority {
        what: "account at a CA",
        name: authority.to_string(),
        known: accounts.iter().map(|account| account.authority.to_string()).collect(),
    }
}

pub(super) fn failed(error: ServiceError) -> ControlError {
    if let ServiceError::Store(error) = error {
        return ControlError::Store(error);
    }
    ControlError::Failed(Box::new(error))
}
