//! What an operator does on the database by the command line, whether or not a server runs.

pub mod backup;
pub mod issuance;
pub mod keys;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use data_encoding::BASE64URL_NOPAD;
use landfall_feed::{record::PopRecord, seal::GroupKeyFiles, secret_file, sign::VerifyingKey};
use landfall_model::{AuthorityName, Epoch, Hostname, PropertyId, Revision};
use serde_json::{Value, json};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{
    api_key::PlainName,
    authority,
    call::{Actor, Call},
    config::ControlConfig,
    error::ControlError,
    service::keys::{self as api_keys, KeyError},
    state,
    store::{Change, Store, StoreError, audit::AuditEntry, change::PublishError},
    token::NewSecret,
};

pub use crate::{
    api_key::{ApiKey, Grant, Scope},
    store::pop::{Pop, PopAck, Traffic},
};

/// For how long [`allow_shrink`] holds.
pub const SHRINK_WINDOW: Duration = Duration::from_secs(3_600);
const MAX_ADDRESSES: usize = 16;

/// What a new PoP needs to read the feed.
pub struct PopEnrolment {
    /// Its token. It is kept nowhere.
    pub token: Zeroizing<String>,
    /// Who signs the feed.
    pub signing_key: VerifyingKey,
    /// Below which names have to lead to the PoPs.
    pub system_domain: Hostname,
}

/// Adds a PoP and publishes it.
///
/// # Errors
/// A name or a number of addresses that can't be, a name in use, and the state's own errors.
pub async fn add_pop(
    config: &ControlConfig,
    name: &str,
    addresses: &[IpAddr],
) -> Result<PopEnrolment, ControlError> {
    plain_name(name)?;
    if !(1..=MAX_ADDRESSES).contains(&addresses.len()) {
        return Err(ControlError::Addresses);
    }
    let (store, signing_key) = state::open_store_and_key(config).await?;
    let secret = NewSecret::generate().map_err(ControlError::Random)?;
    let mut change = begin(&store).await?;
    let now = change.now();
    let inserted =
        crate::store::pop::insert(change.on(), name, addresses, &secret.hash(), now).await;
    let id = inserted.map_err(|error| exists_or(error, "a PoP", name))?;
    let record = PopRecord { name: name.to_owned(), addresses: addresses.to_vec() };
    change.publish_pop(&record).await.map_err(|error| match error {
        PublishError::Store(error) => ControlError::Store(error),
        PublishError::TooLarge { .. } => ControlError::Addresses,
    })?;
    audit_pop(&mut change, "pop.add", name, json!({"addresses": addresses})).await?;
    finish(change, &store).await?;
    Ok(PopEnrolment {
        token: secret.token(&id),
        signing_key: signing_key.verifying_key(),
        system_domain: config.system_domain.clone(),
    })
}

/// Gives a PoP another token, in the place of the one it has, which is refused from then on. Until the PoP
/// has it, it serves what it last knew.
///
/// # Errors
/// An unknown name, and the state's own errors.
pub async fn renew_pop_token(
    config: &ControlConfig,
    name: &str,
) -> Result<Zeroizing<String>, ControlError> {
    let store = state::open_store(config).await?;
    let secret = NewSecret::generate().map_err(ControlError::Random)?;
    let mut change = begin(&store).await?;
    let id = crate::store::pop::set_token(change.on(), name, &secret.hash()).await;
    let unknown = || ControlError::Unknown { what: "PoP", name: name.to_owned() };
    let id = id.map_err(ControlError::Store)?.ok_or_else(unknown)?;
    audit_pop(&mut change, "pop.renew_token", name, json!({})).await?;
    finish(change, &store).await?;
    Ok(secret.token(&id))
}

/// Every PoP with what it said last, by name.
///
/// # Errors
/// The state's own.
pub async fn list_pops(config: &ControlConfig) -> Result<Vec<Pop>, ControlError> {
    let store = state::open_store(config).await?;
    let mut connection = store.read().await.map_err(ControlError::Store)?;
    let pops = crate::store::pop::list(&mut connection).await.map_err(ControlError::Store);
    drop(connection);
    store.close().await;
    pops
}

/// Where the feed is: what PoPs should have applied.
///
/// # Errors
/// The state's own.
pub async fn feed_head(config: &ControlConfig) -> Result<(Epoch, Revision), ControlError> {
    let store = state::open_store(config).await?;
    let head = store.refresh_head().await.map_err(ControlError::Store);
    store.close().await;
    let head = head?;
    Ok((head.epoch, head.revision))
}

/// Removes a PoP: its token ends at once.
///
/// # Errors
/// An unknown name, and the state's own errors.
pub async fn remove_pop(config: &ControlConfig, name: &str) -> Result<(), ControlError> {
    let store = state::open_store(config).await?;
    let mut change = begin(&store).await?;
    if !crate::store::pop::delete(change.on(), name).await.map_err(ControlError::Store)? {
        return Err(ControlError::Unknown { what: "PoP", name: name.to_owned() });
    }
    change.retract_pop(name).await.map_err(ControlError::Store)?;
    audit_pop(&mut change, "pop.remove", name, json!({})).await?;
    finish(change, &store).await
}

/// Sets whether hostnames may lead to a PoP. Without traffic it serves whoever comes, and hostnames
/// that lead to it alone are not verified.
///
/// # Errors
/// An unknown name, and the state's own errors.
pub async fn set_pop_traffic(
    config: &ControlConfig,
    name: &str,
    traffic: Traffic,
) -> Result<(), ControlError> {
    let store = state::open_store(config).await?;
    let mut change = begin(&store).await?;
    let set = crate::store::pop::set_traffic(change.on(), name, traffic).await;
    if !set.map_err(ControlError::Store)? {
        return Err(ControlError::Unknown { what: "PoP", name: name.to_owned() });
    }
    let word = match traffic {
        Traffic::On => "on",
        Traffic::Off => "off",
    };
    audit_pop(&mut change, "pop.traffic", name, json!({"traffic": word})).await?;
    finish(change, &store).await
}

/// Makes a key to the API. It is kept nowhere.
///
/// # Errors
/// A name that can't be or is in use, and the state's own errors.
pub async fn add_api_key(
    config: &ControlConfig,
    name: &str,
    grant: Grant,
) -> Result<Zeroizing<String>, ControlError> {
    let parsed = plain_name(name)?;
    let store = state::open_store(config).await?;
    let mut change = begin(&store).await?;
    let added = api_keys::add(&mut change, &parsed, &grant, config.api.keys_per_property).await;
    let added = added.map_err(|error| key_error(error, name, grant.property))?;
    finish(change, &store).await?;
    Ok(added.token)
}

/// Every key to the API, by name, without its secret.
///
/// # Errors
/// The state's own.
pub async fn list_api_keys(config: &ControlConfig) -> Result<Vec<ApiKey>, ControlError> {
    let store = state::open_store(config).await?;
    let mut connection = store.read().await.map_err(ControlError::Store)?;
    let keys = crate::store::api_key::list(&mut connection, None, 0, u32::MAX).await;
    drop(connection);
    store.close().await;
    let mut keys = keys.map_err(ControlError::Store)?;
    keys.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(keys)
}

/// Ends a key to the API at once: one for all properties, or for `property`. Its name stays taken.
///
/// # Errors
/// An unknown or already revoked name, and the state's own errors.
pub async fn revoke_api_key(
    config: &ControlConfig,
    name: &str,
    property: Option<PropertyId>,
) -> Result<(), ControlError> {
    let unknown = || ControlError::Unknown { what: "valid API key", name: name.to_owned() };
    let store = state::open_store(config).await?;
    let mut change = begin(&store).await?;
    let found = crate::store::api_key::find_by_name(change.on(), name, property).await;
    let key = found.map_err(ControlError::Store)?.ok_or_else(unknown)?;
    let revoked = api_keys::revoke(&mut change, &key).await;
    if !revoked.map_err(ControlError::Store)? {
        return Err(unknown());
    }
    finish(change, &store).await
}

/// Starts a higher epoch, after the database was restored from a backup: edges then take a
/// snapshot instead of taking old revisions for new ones.
///
/// # Errors
/// The state's own.
pub async fn new_epoch(config: &ControlConfig) -> Result<Epoch, ControlError> {
    let store = state::open_store(config).await?;
    let mut change = begin(&store).await?;
    let epoch = change.start_epoch().await.map_err(ControlError::Store)?;
    audit_feed(&mut change, "feed.new_epoch", json!({"epoch": epoch})).await?;
    finish(change, &store).await?;
    Ok(epoch)
}

/// Lets the snapshots of the next [`SHRINK_WINDOW`] drop more than a tenth of the hostnames.
///
/// # Errors
/// The state's own.
pub async fn allow_shrink(config: &ControlConfig) -> Result<(), ControlError> {
    let store = state::open_store(config).await?;
    let mut change = begin(&store).await?;
    let until = change.now() + SHRINK_WINDOW;
    change.allow_shrink(until).await.map_err(ControlError::Store)?;
    let detail = json!({"until": until.unix_timestamp()});
    audit_feed(&mut change, "feed.allow_shrink", detail).await?;
    finish(change, &store).await
}

/// Where a new group key was written.
#[derive(Clone, Debug)]
pub struct GroupKeyPaths {
    /// The key's id.
    pub id: String,
    /// For the PoPs alone.
    pub private: PathBuf,
    /// For the control plane.
    pub public: PathBuf,
}

/// Writes a new group key to `group.key` (0600) and `group.pub` in `directory`.
///
/// # Errors
/// Where one of the files exists or can't be written.
pub fn init_group_keys(directory: &Path) -> Result<GroupKeyPaths, ControlError> {
    let (private, public) = (directory.join("group.key"), directory.join("group.pub"));
    let failed = |source| ControlError::File { operation: "create", path: public.clone(), source };
    if public.exists() {
        return Err(failed(std::io::ErrorKind::AlreadyExists.into()));
    }
    let files = GroupKeyFiles::generate().map_err(ControlError::MakeGroupKey)?;
    secret_file::create(&private, &files.private).map_err(ControlError::Secret)?;
    state::write_whole(&public, files.public.as_bytes()).map_err(failed)?;
    Ok(GroupKeyPaths { id: files.id, private, public })
}

/// Seals the HMAC key of an external account at a CA, so that agents alone can open it: the text of the
/// file that `issuance.authority.<name>.external_account.hmac_key_file` names. `secret` is as the CA shows
/// it, in base64url.
///
/// # Errors
/// Where the group's public key can't be read, or the secret is no base64url.
pub fn seal_external_account(
    (authority, key_id): (&AuthorityName, &str),
    secret: &Zeroizing<String>,
    group_public_key: &Path,
) -> Result<String, ControlError> {
    let group = state::read_group_key(group_public_key)?;
    let text = secret.trim().trim_end_matches('=');
    let decoded = BASE64URL_NOPAD.decode(text.as_bytes());
    let decoded = Zeroizing::new(decoded.map_err(|_| ControlError::ExternalAccountKey)?);
    if decoded.is_empty() {
        return Err(ControlError::ExternalAccountKey);
    }
    let sealed = authority::seal_external_account((authority, key_id), &decoded, &group);
    sealed.map_err(ControlError::MakeGroupKey)
}

async fn audit_feed(
    change: &mut Change,
    action: &'static str,
    detail: Value,
) -> Result<(), ControlError> {
    let entry = AuditEntry { action, property: None, object: "feed", detail };
    change.audit(&entry).await.map_err(ControlError::Store)
}

async fn audit_pop(
    change: &mut Change,
    action: &'static str,
    name: &str,
    detail: Value,
) -> Result<(), ControlError> {
    let entry = AuditEntry { action, property: None, object: name, detail };
    change.audit(&entry).await.map_err(ControlError::Store)
}

async fn begin(store: &Store) -> Result<Change, ControlError> {
    let call = Call::by(Actor::Operator, OffsetDateTime::now_utc());
    store.change(call).await.map_err(ControlError::Store)
}

async fn finish(change: Change, store: &Store) -> Result<(), ControlError> {
    change.commit().await.map_err(ControlError::Store)?;
    store.close().await;
    Ok(())
}

fn exists_or(error: StoreError, what: &'static str, name: &str) -> ControlError {
    match error.is_unique_violation() {
        true => ControlError::Exists { what, name: name.to_owned() },
        false => ControlError::Store(error),
    }
}

fn key_error(error: KeyError, name: &str, property: Option<PropertyId>) -> ControlError {
    match error {
        KeyError::NameTaken => ControlError::Exists { what: "an API key", name: name.to_owned() },
        KeyError::TooMany { most } => ControlError::TooManyKeys { most },
        KeyError::NoProperty => ControlError::Unknown {
            what: "property",
            name: property.map_or_else(String::new, |property| property.0.to_string()),
        },
        KeyError::Store(error) => ControlError::Store(error),
        KeyError::Random(error) => ControlError::Random(error),
    }
}

fn plain_name(name: &str) -> Result<PlainName, ControlError> {
    name.parse().map_err(|_| ControlError::Name(name.to_owned()))
}
