//! The account that orders: made and registered once, by whoever comes first.

use std::sync::Arc;

use landfall_model::{
    SealContext, Thumbprint,
    issuance::{Account, Authority, ExternalAccount},
};

use super::{
    lease::{Lease, Stop},
    surroundings::{ControlPlane, Vault, VaultError},
};
use crate::{
    acme::{AccountKey, AcmeError, Binding, Connection, KeyError, Registration, Session},
    failure::Trouble,
    protocol::News,
};

/// An account with which orders can be made.
pub(super) struct Customer {
    pub(super) session: Session,
    pub(super) thumbprint: Thumbprint,
}

/// Opens the CA's account; makes and registers it where nobody has yet. What is made is kept by the
/// control plane before the CA hears of it, so that no account is lost.
pub(super) async fn open<C: ControlPlane, V: Vault>(
    authority: &Authority,
    connection: &Connection,
    lease: &Lease<'_, C>,
    vault: &V,
) -> Result<Customer, Stop> {
    let (account, key) = counting(authority, lease, vault).await?;
    let url = match account.url {
        Some(url) => url,
        None => {
            let binding = authority.external_account.as_ref();
            let binding = binding.map(|external| bound(authority, external, vault)).transpose()?;
            let registration =
                Registration { contact: &authority.contact, binding: binding.as_ref() };
            let url = connection.register(&key, registration).await?;
            lease
                .report(News::AccountRegistered {
                    authority: authority.name.clone(),
                    thumbprint: account.thumbprint.clone(),
                    url: url.clone(),
                })
                .await?;
            tracing::info!(authority = %authority.name, url, "registered an account");
            url
        }
    };
    let session = Session::begin(connection, Arc::new(key), &url).await?;
    Ok(Customer { session, thumbprint: account.thumbprint })
}

/// The account that counts, and its key. One that is not registered and can't be opened is replaced:
/// nothing is lost with it.
async fn counting<C: ControlPlane, V: Vault>(
    authority: &Authority,
    lease: &Lease<'_, C>,
    vault: &V,
) -> Result<(Account, AccountKey), Stop> {
    let account = match &authority.account {
        Some(account) if account.url.is_some() || opened(authority, account, vault).is_ok() => {
            account.clone()
        }
        Some(account) => make(authority, Some(account.thumbprint.clone()), (lease, vault)).await?,
        None => make(authority, None, (lease, vault)).await?,
    };
    let key = usable(authority, &account, lease, vault).await?;
    Ok((account, key))
}

/// The account that is there already.
pub(super) async fn known<C: ControlPlane, V: Vault>(
    authority: &Authority,
    connection: &Connection,
    lease: &Lease<'_, C>,
    vault: &V,
) -> Result<Session, Stop> {
    let account = authority.account.as_ref().ok_or(Trouble::Unknown)?;
    let url = account.url.as_ref().ok_or(Trouble::Unknown)?;
    let key = usable(authority, account, lease, vault).await?;
    Ok(Session::begin(connection, Arc::new(key), url).await?)
}

/// Fails where what is obtained could not be sealed as it is to be: before a CA is asked for it.
pub(super) fn check_group_key<V: Vault>(authority: &Authority, vault: &V) -> Result<(), Trouble> {
    match vault.holds(&authority.group_key) {
        true => Ok(()),
        false => Err(Trouble::NoGroupKey { key_id: authority.group_key.as_str().into() }),
    }
}

/// The key of an account. One that is sealed to an older group key is handed back, sealed to the one that
/// is used now: the older one is to be taken away some day.
pub(super) async fn usable<C: ControlPlane, V: Vault>(
    authority: &Authority,
    account: &Account,
    lease: &Lease<'_, C>,
    vault: &V,
) -> Result<AccountKey, Stop> {
    let key = opened(authority, account, vault)?;
    if account.key.key_id != authority.group_key && vault.holds(&authority.group_key) {
        let thumbprint = account.thumbprint.as_str();
        let context = SealContext::AccountKey { authority: &authority.name, thumbprint };
        let sealed = vault.seal(&authority.group_key, context, key.pkcs8());
        let sealed = sealed.map_err(|error| unusable(&error))?;
        let account = Account { key: sealed, ..account.clone() };
        lease.report(News::AccountResealed { authority: authority.name.clone(), account }).await?;
        tracing::info!(authority = %authority.name, "sealed an account's key to the new group key");
    }
    Ok(key)
}

async fn make<C: ControlPlane, V: Vault>(
    authority: &Authority,
    replaces: Option<Thumbprint>,
    (lease, vault): (&Lease<'_, C>, &V),
) -> Result<Account, Stop> {
    let account = new_key(authority, vault)?;
    let made = News::AccountMade { authority: authority.name.clone(), account, replaces };
    let reply = lease.report(made).await?;
    reply.account.ok_or_else(|| Trouble::Unknown.into())
}

/// A key of an account, made and sealed.
pub(super) fn new_key<V: Vault>(authority: &Authority, vault: &V) -> Result<Account, Trouble> {
    let key = AccountKey::generate().map_err(|error| AcmeError::from(error).trouble())?;
    let thumbprint: Thumbprint = key.thumbprint().parse().map_err(|_| Trouble::Unknown)?;
    let context =
        SealContext::AccountKey { authority: &authority.name, thumbprint: thumbprint.as_str() };
    let sealed =
        vault.seal(&authority.group_key, context, key.pkcs8()).map_err(|error| unusable(&error))?;
    Ok(Account { key: sealed, thumbprint, url: None })
}

/// The key of an account.
pub(super) fn opened<V: Vault>(
    authority: &Authority,
    account: &Account,
    vault: &V,
) -> Result<AccountKey, Trouble> {
    let thumbprint = account.thumbprint.as_str();
    let context = SealContext::AccountKey { authority: &authority.name, thumbprint };
    if !vault.holds(&account.key.key_id) {
        return Err(Trouble::AccountSealed { key_id: account.key.key_id.as_str().into() });
    }
    let secret = vault.open(&account.key, context).map_err(|error| unusable(&error))?;
    let key = AccountKey::from_pkcs8(&secret).map_err(unreadable)?;
    // The challenges are answered by the thumbprint.
    if key.thumbprint() == thumbprint {
        return Ok(key);
    }
    Err(Trouble::AccountUnusable { detail: "the account's key is another one".into() })
}

fn bound<V: Vault>(
    authority: &Authority,
    external: &ExternalAccount,
    vault: &V,
) -> Result<Binding, Trouble> {
    let ExternalAccount { key_id, hmac_key } = external;
    let context = SealContext::ExternalAccountKey { authority: &authority.name, key_id };
    let secret = vault.open(hmac_key, context).map_err(|error| unusable(&error))?;
    Binding::new(key_id, &secret).map_err(unreadable)
}

fn unreadable(error: KeyError) -> Trouble {
    tracing::error!(%error, "an account's secret can't be used");
    Trouble::AccountUnusable { detail: "the account's secret can't be read".into() }
}

fn unusable(error: &VaultError) -> Trouble {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    tracing::error!(source, "an account's secret can't be sealed or opened");
    Trouble::AccountUnusable { detail: "the account's secret can't be sealed or opened".into() }
}
