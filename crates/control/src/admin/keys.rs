//! The keys that an operator replaces: the feed's signing key, and the fleet's group key as far as the
//! control plane can tell what is sealed to which.

use std::{collections::BTreeMap, time::Duration};

use landfall_feed::sign::VerifyingKey;
use landfall_model::HostnameId;
use time::OffsetDateTime;

use super::{audit_feed, begin, finish, issuance::failed};
use crate::{
    config::ControlConfig,
    error::ControlError,
    service::replacement::{self, Asked, Standing},
    state::{self, SigningKeys},
    store::{Change, Store, audit::AuditEntry, sealed},
};

pub use crate::{service::replacement::Replaced, store::sealed::Sealings};

/// The most hostnames that [`hostnames_sealed_to`] names.
pub const MOST_NAMED: u32 = 100;
/// The most hostnames that one transaction asks for certificates for.
const REPLACED_AT_ONCE: u32 = 250;
/// How long the server has the database for itself after each: it waits for it by looking again and again.
const BETWEEN: Duration = Duration::from_millis(25);

/// What is sealed to which group key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupKeyUse {
    /// The id of the key that new secrets are sealed to: that of `keys.group_public_key_file`.
    pub current: String,
    /// By the key's id, also where the current one has none yet.
    pub by_key: Vec<(String, Sealings)>,
}

/// Counts what is sealed to each group key. One that is not in the answer is of no use any more.
///
/// # Errors
/// The state's own.
pub async fn group_keys_in_use(config: &ControlConfig) -> Result<GroupKeyUse, ControlError> {
    let current = state::read_group_key(&config.group_public_key_file)?.id().to_owned();
    let store = state::open_store(config).await?;
    let mut connection = store.read_at_once().await.map_err(ControlError::Store)?;
    let counted = sealed::by_group_key(&mut connection).await.map_err(ControlError::Store);
    drop(connection);
    store.close().await;
    let mut by_key = counted?;
    by_key.entry(current.clone()).or_default();
    Ok(GroupKeyUse { current, by_key: by_key.into_iter().collect() })
}

/// Hostnames that go dark without a group key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedTo {
    /// The first [`MOST_NAMED`] of them, in the order in which they were added.
    pub hostnames: Vec<SealedHostname>,
    /// How many there are in all.
    pub all: u64,
}

/// A hostname with a certificate whose key is sealed to a group key that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedHostname {
    /// Its name.
    pub name: String,
    /// Where its certificates are from: a CA's name, `internal`, `uploaded` or `inherited`.
    pub issuers: Vec<String>,
    /// Whether others are on their way.
    pub next: String,
}

/// Names the hostnames that are served with a certificate whose key is sealed to a group key.
///
/// # Errors
/// The state's own.
pub async fn hostnames_sealed_to(
    config: &ControlConfig,
    key: &str,
) -> Result<SealedTo, ControlError> {
    let store = state::open_store(config).await?;
    let now = OffsetDateTime::now_utc();
    let mut connection = store.read_at_once().await.map_err(ControlError::Store)?;
    let on = &mut connection;
    let counted = sealed::by_group_key(on).await.map_err(ControlError::Store)?;
    let first = sealed::hostnames(on, (key, HostnameId(0)), MOST_NAMED).await;
    let mut hostnames = Vec::new();
    for id in first.map_err(ControlError::Store)? {
        let standing = replacement::standing(on, id, now).await.map_err(failed)?;
        let Standing { name, issuers, next } = standing;
        hostnames.push(SealedHostname { name, issuers, next });
    }
    drop(connection);
    store.close().await;
    Ok(SealedTo { hostnames, all: counted.get(key).map_or(0, |count| count.hostnames) })
}

/// What came of [`replace_certificates`], in hostnames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replacement {
    /// For which others were asked for.
    pub asked: u64,
    /// For which others were asked for before, and are not there yet.
    pub waiting: u64,
    /// For which there can be none at present: how many for which reason.
    pub left: BTreeMap<&'static str, u64>,
    /// Certificates that are to be revoked.
    pub revoked: u64,
}

/// Asks for another certificate for every hostname that is served with one whose key is sealed to a group key
/// that is no longer the current one. What is served stays until it is there. A page at a time, each in a
/// transaction: whoever ends it in the middle runs it again.
///
/// # Errors
/// The current key, one that the control plane has not taken into use yet, and the state's own errors.
pub async fn replace_certificates(
    config: &ControlConfig,
    key: &str,
    replaced: Replaced,
) -> Result<Replacement, ControlError> {
    let current = state::read_group_key(&config.group_public_key_file)?.id().to_owned();
    if key == current {
        return Err(ControlError::GroupKeyCurrent { key: current });
    }
    let store = state::open_store(config).await?;
    check_taken(&store, current).await?;
    let mut change = begin(&store).await?;
    audit_replacement(&mut change, key, replaced).await?;
    let mut done = Replacement::default();
    let mut after = HostnameId(0);
    loop {
        let page = sealed::hostnames(change.on(), (key, after), REPLACED_AT_ONCE).await;
        let page = page.map_err(ControlError::Store)?;
        for id in &page {
            let (asked, revoked) =
                replacement::replace(&mut change, *id, replaced).await.map_err(failed)?;
            done.add(asked, revoked);
        }
        let Some(last) = page.last().filter(|_| page.len() == REPLACED_AT_ONCE as usize) else {
            break;
        };
        after = *last;
        change.commit().await.map_err(ControlError::Store)?;
        tokio::time::sleep(BETWEEN).await;
        change = begin(&store).await?;
    }
    finish(change, &store).await?;
    Ok(done)
}

impl Replacement {
    fn add(&mut self, asked: Asked, revoked: usize) {
        match asked {
            Asked::Now => self.asked += 1,
            Asked::Before => self.waiting += 1,
            Asked::Not(reason) => *self.left.entry(reason.name()).or_default() += 1,
            Asked::Unreadable => *self.left.entry("unreadable").or_default() += 1,
        }
        self.revoked += u64::try_from(revoked).unwrap_or_default();
    }
}

/// A server reads the key at its start, and seals secrets of session tickets to it at once: where there are
/// none, it would seal new certificates' keys to the former one.
async fn check_taken(store: &Store, current: String) -> Result<(), ControlError> {
    let mut connection = store.read_at_once().await.map_err(ControlError::Store)?;
    let keys = sealed::ticket_keys(&mut connection).await.map_err(ControlError::Store)?;
    match keys.contains(&current) {
        true => Ok(()),
        false => Err(ControlError::GroupKeyUntaken { current }),
    }
}

async fn audit_replacement(
    change: &mut Change,
    key: &str,
    replaced: Replaced,
) -> Result<(), ControlError> {
    let detail = serde_json::json!({"revoked": replaced == Replaced::Revoked});
    let entry = AuditEntry { action: "keys.replace", property: None, object: key, detail };
    change.audit(&entry).await.map_err(ControlError::Store)
}

/// Makes the key that is to sign the feed next, and says its public half, and that of the one that signs
/// now. The same again until [`switch_signing_key`] takes it into use.
///
/// # Errors
/// The state's own.
pub async fn prepare_signing_key(
    config: &ControlConfig,
) -> Result<(VerifyingKey, VerifyingKey), ControlError> {
    let (store, keys) = state::open_store_and_signing_keys(config).await?;
    let (next, made) = keys.prepare()?;
    if made {
        let mut change = begin(&store).await?;
        let detail = serde_json::json!({"key": next.to_string()});
        audit_feed(&mut change, "feed.prepare_signing_key", detail).await?;
        finish(change, &store).await?;
    } else {
        store.close().await;
    }
    Ok((next, keys.current()?))
}

/// Puts the prepared key in the place of the one that signed the feed so far, which is gone then. No
/// server may run meanwhile: it reads its key at its start.
///
/// # Errors
/// Where none is prepared or a server runs, and the state's own errors.
pub async fn switch_signing_key(config: &ControlConfig) -> Result<VerifyingKey, ControlError> {
    let _lock = state::lock_for_server(&config.state_directory)?;
    let (store, keys): (_, SigningKeys) = state::open_store_and_signing_keys(config).await?;
    let key = keys.switch()?;
    let mut change = begin(&store).await?;
    let detail = serde_json::json!({"key": key.to_string()});
    audit_feed(&mut change, "feed.switch_signing_key", detail).await?;
    finish(change, &store).await?;
    Ok(key)
}
