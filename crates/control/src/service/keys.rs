//! Keys to the API: made, listed and revoked.

use landfall_model::PropertyId;
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use zeroize::Zeroizing;

use super::{Missing, Service, ServiceError};
use crate::{
    api_key::{ApiKey, Grant, PlainName},
    call::Call,
    store::{self, Change, StoreError, audit::AuditEntry},
    token::{ApiKeyId, NewSecret, RandomError},
};

/// Why a key was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("the key's name is in use")]
    NameTaken,
    #[error("the property has {most} keys already")]
    TooMany { most: u32 },
    #[error("there is no such property")]
    NoProperty,
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error("no randomness")]
    Random(#[from] RandomError),
}

/// A key that was just made.
pub(crate) struct NewApiKey {
    pub(crate) key: ApiKey,
    /// What its holder shows. It is kept nowhere.
    pub(crate) token: Zeroizing<String>,
}

impl Service {
    /// Makes a key.
    pub(crate) async fn add_key(
        &self,
        call: Call,
        name: &PlainName,
        grant: &Grant,
    ) -> Result<NewApiKey, ServiceError> {
        let mut change = self.store.change(call).await?;
        let added = add(&mut change, name, grant, self.keys_per_property).await?;
        change.commit().await?;
        Ok(added)
    }

    /// Finds a key of one property, or of any.
    pub(crate) async fn key(
        &self,
        property: Option<PropertyId>,
        id: ApiKeyId,
    ) -> Result<ApiKey, ServiceError> {
        let found = store::api_key::find(&mut *self.store.read().await?, id).await?;
        visible(found, property)
    }

    /// At most `limit` keys with ids above `after`: those of one property, or all.
    pub(crate) async fn keys(
        &self,
        property: Option<PropertyId>,
        after: i64,
        limit: u32,
    ) -> Result<Vec<ApiKey>, ServiceError> {
        let mut connection = self.store.read().await?;
        Ok(store::api_key::list(&mut connection, property, after, limit).await?)
    }

    /// Revokes a key of one property, or of any. Its row stays, so that the audit log can be read.
    pub(crate) async fn revoke_key(
        &self,
        call: Call,
        property: Option<PropertyId>,
        id: ApiKeyId,
    ) -> Result<(), ServiceError> {
        let mut change = self.store.change(call).await?;
        let key = visible(store::api_key::find(change.on(), id).await?, property)?;
        if revoke(&mut change, &key).await? {
            change.commit().await?;
        }
        Ok(())
    }

    /// Keeps when keys were last used.
    pub(crate) async fn note_key_uses(
        &self,
        uses: &[(ApiKeyId, OffsetDateTime)],
        now: OffsetDateTime,
    ) -> Result<(), ServiceError> {
        let mut change = self.store.change(Call::system(now)).await?;
        for (id, at) in uses {
            store::api_key::note_use(change.on(), *id, *at).await?;
        }
        change.commit().await?;
        Ok(())
    }
}

/// Adds a key, of which a property may have `most` that are valid.
pub(crate) async fn add(
    change: &mut Change,
    name: &PlainName,
    grant: &Grant,
    most: u32,
) -> Result<NewApiKey, KeyError> {
    let now = change.now();
    if let Some(property) = grant.property {
        store::property::find(change.on(), property).await?.ok_or(KeyError::NoProperty)?;
        if store::api_key::count_valid(change.on(), property, now).await? >= u64::from(most) {
            return Err(KeyError::TooMany { most });
        }
    }
    let secret = NewSecret::generate()?;
    let inserted = store::api_key::insert(change.on(), name, grant, &secret.hash(), now).await;
    let id = inserted.map_err(|error| match error.is_unique_violation() {
        true => KeyError::NameTaken,
        false => KeyError::Store(error),
    })?;
    let expires_at = grant.expires_at.and_then(|at| at.format(&Rfc3339).ok());
    let detail = json!({"keyId": id.0, "scope": grant.scope, "expiresAt": expires_at});
    let (property, object) = (grant.property, name.as_str());
    change.audit(&AuditEntry { action: "key.create", property, object, detail }).await?;
    let key = store::api_key::find(change.on(), id).await?;
    let key = key.ok_or(StoreError::Corrupt("API key"))?;
    Ok(NewApiKey { key, token: secret.token(&id) })
}

/// Revokes a key, and says whether it was not revoked before.
pub(crate) async fn revoke(change: &mut Change, key: &ApiKey) -> Result<bool, StoreError> {
    let now = change.now();
    if !store::api_key::revoke(change.on(), ApiKeyId(key.id), now).await? {
        return Ok(false);
    }
    let (property, object, detail) = (key.grant.property, &key.name, json!({"keyId": key.id}));
    change.audit(&AuditEntry { action: "key.revoke", property, object, detail }).await?;
    Ok(true)
}

impl From<KeyError> for ServiceError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::NameTaken => Self::KeyNameTaken,
            KeyError::TooMany { most } => Self::TooManyKeys { most },
            KeyError::NoProperty => Self::Missing(Missing::Property),
            KeyError::Store(error) => Self::Store(error),
            KeyError::Random(error) => Self::Random(error),
        }
    }
}

/// A key of another property is as unknown as none.
fn visible(key: Option<ApiKey>, property: Option<PropertyId>) -> Result<ApiKey, ServiceError> {
    key.filter(|key| property.is_none() || key.grant.property == property)
        .ok_or(ServiceError::Missing(Missing::Key))
}
