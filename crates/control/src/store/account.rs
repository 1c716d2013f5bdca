//! Our accounts at CAs. Whoever makes a key first has it used by all.

use landfall_model::{AuthorityName, Sealed, Thumbprint, issuance::Account};
use sqlx::{Row, sqlite::SqliteRow};
use time::OffsetDateTime;

use super::{Connection, StoreError, from_json, time_from_sql, to_json};

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
    row.as_ref().map(account).transpose()
}

/// Reads a thumbprint, the key that has it, and the account's URL.
fn account(row: &SqliteRow) -> Result<Account, StoreError> {
    let thumbprint: &str = row.get(0);
    Ok(Account {
        thumbprint: thumbprint.parse().map_err(|_| StoreError::Corrupt("thumbprint"))?,
        key: Sealed { key_id: row.get(1), enc: row.get(2), ciphertext: row.get(3) },
        url: row.get(4),
    })
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

/// Puts a new account in the place of one that is not registered.
pub(crate) async fn replace_unregistered(
    on: &mut Connection,
    (authority, directory): (&AuthorityName, &str),
    (old, account): (&Thumbprint, &Account),
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE account SET thumbprint = ?, seal_key_id = ?, seal_enc = ?, seal_cipher = ? \
         WHERE authority = ? AND directory = ? AND thumbprint = ? AND url IS NULL",
    )
    .bind(account.thumbprint.as_str())
    .bind(&account.key.key_id)
    .bind(&account.key.enc)
    .bind(&account.key.ciphertext)
    .bind(authority.as_str())
    .bind(directory)
    .bind(old.as_str())
    .execute(on)
    .await
    .map_err(StoreError::on("replace an account"))?;
    Ok(())
}

/// Keeps the same key of an account sealed to another group key, and says whether there is that account.
/// What is sealed to that group key already stays as it is.
pub(crate) async fn reseal(
    on: &mut Connection,
    (authority, directory): (&AuthorityName, &str),
    account: &Account,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE account SET seal_key_id = ?1, seal_enc = ?2, seal_cipher = ?3 \
         WHERE authority = ?4 AND directory = ?5 AND thumbprint = ?6 AND seal_key_id <> ?1",
    )
    .bind(&account.key.key_id)
    .bind(&account.key.enc)
    .bind(&account.key.ciphertext)
    .bind(authority.as_str())
    .bind(directory)
    .bind(account.thumbprint.as_str())
    .execute(on)
    .await
    .map_err(StoreError::on("seal an account anew"))?;
    Ok(done.rows_affected() > 0)
}

/// Keeps where the CA has an account that was not registered, and what it was told of it; and says whether
/// there was such a one.
pub(crate) async fn keep_url(
    on: &mut Connection,
    (authority, directory, thumbprint): (&AuthorityName, &str, &Thumbprint),
    (url, contact): (&str, &[String]),
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let query = "UPDATE account SET url = ?, contact = ?, registered_at = ? \
                 WHERE authority = ? AND directory = ? AND thumbprint = ? AND url IS NULL";
    let done = sqlx::query(query)
        .bind(url)
        .bind(to_json(&contact)?)
        .bind(now.unix_timestamp())
        .bind(authority.as_str())
        .bind(directory)
        .bind(thumbprint.as_str())
        .execute(on)
        .await
        .map_err(StoreError::on("keep an account's URL"))?;
    Ok(done.rows_affected() > 0)
}

/// An account as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountState {
    /// The CA.
    pub authority: AuthorityName,
    /// The URL of its directory.
    pub directory: String,
    /// Of the public key.
    pub thumbprint: Thumbprint,
    /// Where the CA keeps it; none: it is not registered.
    pub url: Option<String>,
    /// When it was registered.
    pub registered_at: Option<OffsetDateTime>,
    /// Whom the CA was told that it may write to.
    pub contact: Vec<String>,
    /// Of the key that is to take the place of its own.
    pub successor: Option<Thumbprint>,
    /// What the last change of it failed at, unless it was done since.
    pub failure: Option<AccountFailure>,
}

/// What a change of an account failed at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountFailure {
    /// In the CA's own words, where it said any.
    pub error: String,
    /// How many attempts failed.
    pub attempts: u32,
    /// When it is attempted again; none: not by itself.
    pub next_at: Option<OffsetDateTime>,
}

/// Every account.
pub(crate) async fn list(on: &mut Connection) -> Result<Vec<AccountState>, StoreError> {
    let rows = sqlx::query(
        "SELECT account.authority, directory, thumbprint, url, registered_at, contact, \
             next_thumbprint, error, attempts, iif(state = 0, next_at, NULL) \
         FROM account LEFT JOIN errand ON errand.id = (SELECT id FROM errand AS own \
             WHERE own.authority = account.authority AND kind > 0 ORDER BY state <> 0, id DESC LIMIT 1) \
         ORDER BY account.authority, directory",
    );
    let rows = rows.fetch_all(on).await.map_err(StoreError::on("read accounts"))?;
    rows.iter().map(read_state).collect()
}

fn read_state(row: &SqliteRow) -> Result<AccountState, StoreError> {
    let thumbprint = |text: &str| text.parse().map_err(|_| StoreError::Corrupt("thumbprint"));
    let contact: Option<&str> = row.get(5);
    Ok(AccountState {
        authority: row.get::<&str, _>(0).parse().map_err(|_| StoreError::Corrupt("CA's name"))?,
        directory: row.get(1),
        thumbprint: thumbprint(row.get(2))?,
        url: row.get(3),
        registered_at: row.get::<Option<i64>, _>(4).map(time_from_sql).transpose()?,
        contact: contact.map(|text| from_json(text, "contact")).transpose()?.unwrap_or_default(),
        successor: row.get::<Option<&str>, _>(6).map(thumbprint).transpose()?,
        failure: row.get::<Option<String>, _>(7).map(|error| failure(error, row)).transpose()?,
    })
}

fn failure(error: String, row: &SqliteRow) -> Result<AccountFailure, StoreError> {
    Ok(AccountFailure {
        error,
        attempts: u32::try_from(row.get::<i64, _>(8)).map_err(|_| StoreError::Corrupt("count"))?,
        next_at: row.get::<Option<i64>, _>(9).map(time_from_sql).transpose()?,
    })
}

/// The account with the key that is to take the place of its own.
pub(crate) async fn successor(
    on: &mut Connection,
    authority: &AuthorityName,
    directory: &str,
) -> Result<Option<Account>, StoreError> {
    let row = sqlx::query(
        "SELECT next_thumbprint, next_seal_key_id, next_seal_enc, next_seal_cipher, url \
         FROM account WHERE authority = ? AND directory = ? AND next_thumbprint IS NOT NULL",
    )
    .bind(authority.as_str())
    .bind(directory)
    .fetch_optional(on)
    .await
    .map_err(StoreError::on("read an account's next key"))?;
    row.as_ref().map(account).transpose()
}

/// Keeps a key that is to take the place of an account's, unless there is one.
pub(crate) async fn keep_successor(
    on: &mut Connection,
    (authority, directory): (&AuthorityName, &str),
    made: &Account,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE account SET next_thumbprint = ?, next_seal_key_id = ?, next_seal_enc = ?, \
         next_seal_cipher = ? WHERE authority = ? AND directory = ? AND next_thumbprint IS NULL",
    )
    .bind(made.thumbprint.as_str())
    .bind(&made.key.key_id)
    .bind(&made.key.enc)
    .bind(&made.key.ciphertext)
    .bind(authority.as_str())
    .bind(directory)
    .execute(on)
    .await
    .map_err(StoreError::on("keep an account's next key"))?;
    Ok(())
}

/// Puts a key in the place of an account's, which the CA knows by it now.
pub(crate) async fn promote(
    on: &mut Connection,
    (authority, directory): (&AuthorityName, &str),
    thumbprint: &Thumbprint,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE account SET thumbprint = next_thumbprint, seal_key_id = next_seal_key_id, \
         seal_enc = next_seal_enc, seal_cipher = next_seal_cipher, next_thumbprint = NULL, \
         next_seal_key_id = NULL, next_seal_enc = NULL, next_seal_cipher = NULL \
         WHERE authority = ? AND directory = ? AND next_thumbprint = ?",
    )
    .bind(authority.as_str())
    .bind(directory)
    .bind(thumbprint.as_str())
    .execute(on)
    .await
    .map_err(StoreError::on("replace an account's key"))?;
    Ok(())
}

/// Keeps whom a CA was told that it may write to.
pub(crate) async fn keep_contact(
    on: &mut Connection,
    (authority, directory): (&AuthorityName, &str),
    contact: &[String],
) -> Result<(), StoreError> {
    sqlx::query("UPDATE account SET contact = ? WHERE authority = ? AND directory = ?")
        .bind(to_json(&contact)?)
        .bind(authority.as_str())
        .bind(directory)
        .execute(on)
        .await
        .map_err(StoreError::on("keep an account's contact"))?;
    Ok(())
}

/// Forgets the accounts at a CA that were registered before `before`, and says whether there was one.
pub(crate) async fn forget(
    on: &mut Connection,
    authority: &AuthorityName,
    before: OffsetDateTime,
) -> Result<bool, StoreError> {
    let done =
        sqlx::query("DELETE FROM account WHERE authority = ? AND ifnull(registered_at, 0) < ?")
            .bind(authority.as_str())
            .bind(before.unix_timestamp())
            .execute(on)
            .await
            .map_err(StoreError::on("forget an account"))?;
    Ok(done.rows_affected() > 0)
}
