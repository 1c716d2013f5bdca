//! Our accounts at CAs, as agents make and register them.

use landfall_issuance::{acme::UrlRule, ledger::Bucket};
use landfall_model::{AuthorityName, Thumbprint, issuance::Account};

use super::{Service, issued::MAX_SEALED};
use crate::{
    service::ServiceError,
    store::{self, Change},
};

impl Service {
    /// The account at a CA.
    pub(super) async fn account_of(
        &self,
        change: &mut Change,
        name: &AuthorityName,
    ) -> Result<Option<Account>, ServiceError> {
        let Some(authority) = self.authorities.find(name) else { return Ok(None) };
        Ok(store::account::find(change.on(), name, &authority.config.directory).await?)
    }

    /// Keeps an account whose key was made, unless there is another one than the unregistered one that it
    /// replaces, and answers the one that counts.
    pub(super) async fn keep_account(
        &self,
        change: &mut Change,
        name: &AuthorityName,
        (made, replaces): (&Account, Option<Thumbprint>),
    ) -> Result<Option<Account>, ServiceError> {
        let Some(authority) = self.authorities.find(name) else { return Ok(None) };
        let size = made.key.enc.len() + made.key.ciphertext.len();
        if made.key.key_id == self.group.id() && size <= MAX_SEALED {
            let place = (name, authority.config.directory.as_str());
            if let Some(old) = replaces {
                store::account::replace_unregistered(change.on(), place, (&old, made)).await?;
                tracing::warn!(authority = %name, "an agent can't open an account's key: another is made");
            }
            store::account::keep_first(change.on(), place, made).await?;
        }
        self.account_of(change, name).await
    }

    /// Keeps where a CA has an account that was not registered before.
    pub(super) async fn account_registered(
        &self,
        change: &mut Change,
        name: &AuthorityName,
        (thumbprint, url): (&Thumbprint, &str),
    ) -> Result<(), ServiceError> {
        let Some(authority) = self.authorities.find(name) else { return Ok(()) };
        let config = &authority.config;
        if !may_be_at(url, &config.directory) {
            tracing::warn!(authority = %name, "an agent reports an account's URL that can be none");
            return Ok(());
        }
        let (place, now) = ((name, config.directory.as_str(), thumbprint), change.now());
        let told = (url, config.contact.as_slice());
        if !store::account::keep_url(change.on(), place, told, now).await? {
            return Ok(());
        }
        let mut budgets = self.budgets(change.on(), &[String::new()]).await?;
        budgets.ledger.charge(name, &Bucket::NewAccounts, now);
        store::budget::keep_buckets(change.on(), &budgets.ledger.take_changes()).await?;
        tracing::info!(authority = %name, account = url, "registered with a CA");
        Ok(())
    }
}

/// Whether a CA with this directory may have something at this URL.
pub(super) fn may_be_at(url: &str, directory: &str) -> bool {
    UrlRule::of(directory).is_ok_and(|rule| rule.permits(url))
}
