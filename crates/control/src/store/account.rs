//! Our accounts at CAs. Whoever makes a key first has it used by all.

use landfall_model::{AuthorityName, Sealed, Thumbprint, issuance::Account};
use sqlx::Row;

use super::{Connection, StoreError};

/// The account at the CA of this name that has this directory.
pub(crate) async fn find(
    on: &mut Connection,
    authority: &AuthorityName,
    directory: &str,
) -> Result<Option<Account>, StoreError> {
    let row = sqlx::query(
        "SELECT thumbprint, seal_key_id, seal_enc, seal_cipher, url FROM account \
         WHERE authority = ? AND directory = ?",
    )
    .bind(authority.as_str())
    .bind(directory)
    .fetch_optional(on)
    .await
    .map_err(StoreError::on("read an account"))?;
    let Some(row) = row else { return Ok(None) };
    let thumbprint: &str = row.get(0);
    Ok(Some(Account {
        thumbprint: thumbprint.parse().map_err(|_| StoreError::Corrupt("thumbprint"))?,
        key: Sealed { key_id: row.get(1), enc: row.get(2), ciphertext: row.get(3) },
        url: row.get(4),
    }))
}

/// Keeps a new account, unless there is one or its key is sealed to a key that is no longer in use.
pub(crate) async fn keep_first(
    on: &mut Connection,
    (authority, directory): (&AuthorityName, &str),
    account: &Account,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO account \
         (authority, directory, thumbprint, seal_key_id, seal_enc, seal_cipher) \
         VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(authority.as_str())
    .bind(directory)
    .bind(account.thumbprint.as_str())
    .bind(&account.key.key_id)
    .bind(&account.key.enc)
    .bind(&account.key.ciphertext)
    .execute(on)
    .await
    .map_err(StoreError::on("keep an account"))?;
    Ok(())
}

/// Keeps where the CA has an account.
pub(crate) async fn keep_url(
    on: &mut Connection,
    authority: &AuthorityName,
    thumbprint: &Thumbprint,
    url: &str,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE account SET url = ? WHERE authority = ? AND thumbprint = ?")
        .bind(url)
        .bind(authority.as_str())
        .bind(thumbprint.as_str())
        .execute(on)
        .await
        .map_err(StoreError::on("keep an account's URL"))?;
    Ok(())
}
