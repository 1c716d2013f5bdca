//! Accounts. Every call here is made with a key that was kept before, so that a reply that is lost
//! loses no account.

use data_encoding::BASE64URL_NOPAD;
use http::{Method, Request, header::CONTENT_TYPE};
use landfall_model::Der;
use serde::Deserialize;
use serde_json::json;

use super::{
    connection::Connection,
    error::AcmeError,
    http::Reply,
    key::{AccountKey, Binding, OwnKey, Signer, replacement},
    nonces::NONCE_ATTEMPTS,
    refusal::{Document, nonsense, refusal},
    request::RevocationReason,
};
use crate::failure::{Problem, ProblemKind, Step};

/// What an account is registered with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Registration<'a> {
    /// Whom the CA may write to, as `mailto:` URLs.
    pub contact: &'a [String],
    /// The customer of the CA that the account belongs to.
    pub binding: Option<&'a Binding>,
}

impl Connection {
    /// Registers an account, agreeing to the CA's terms of service, and returns its URL (RFC 8555
    /// section 7.3). A key that has an account keeps that one: this may be repeated.
    ///
    /// # Errors
    /// [`AcmeError`].
    pub async fn register(
        &self,
        key: &AccountKey,
        registration: Registration<'_>,
    ) -> Result<String, AcmeError> {
        let url = &self.directory().new_account;
        let mut payload = json!({"termsOfServiceAgreed": true});
        if let Some(members) = payload.as_object_mut() {
            if !registration.contact.is_empty() {
                members.insert("contact".to_owned(), registration.contact.into());
            }
            if let Some(binding) = registration.binding {
                members.insert("externalAccountBinding".to_owned(), binding.bind(key, url));
            }
        }
        self.new_account(key, &payload.to_string()).await
    }

    /// The URL of the account that the key has (RFC 8555 section 7.3.1).
    ///
    /// # Errors
    /// [`AcmeError::Refused`] with [`ProblemKind::AccountDoesNotExist`] where it has none; otherwise as
    /// [`Self::register`].
    pub async fn find_account(&self, key: &AccountKey) -> Result<String, AcmeError> {
        self.new_account(key, r#"{"onlyReturnExisting":true}"#).await
    }

    /// Replaces the key of an account (RFC 8555 section 7.3.5). The new key must have been kept
    /// before; this may be repeated when it is not known whether it came about.
    ///
    /// # Errors
    /// [`AcmeError`]; [`AcmeError::BadDirectory`] where the CA does not offer it.
    pub async fn replace_key(
        &self,
        account: &str,
        old: &AccountKey,
        new: &AccountKey,
    ) -> Result<(), AcmeError> {
        let Some(url) = &self.directory().key_change else {
            return Err(AcmeError::BadDirectory { detail: "it has no keyChange".into() });
        };
        let payload = replacement(account, old, new, url)?.to_string();
        match self.post(Step::Account, Signer::Account(old, account), url, &payload).await {
            Ok(_) => Ok(()),
            // It may have been replaced before: then the old key signs nothing any more.
            Err(refused @ AcmeError::Refused(_)) => match self.find_account(new).await {
                Ok(found) if found == account => Ok(()),
                Ok(_) | Err(AcmeError::Refused(_)) => Err(refused),
                // Nobody knows which of the two it has.
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Tells the CA whom it may write to, as `mailto:` URLs, in the place of what it was told before (RFC
    /// 8555 section 7.3.2).
    ///
    /// # Errors
    /// [`AcmeError`].
    pub async fn update_contact(
        &self,
        account: &str,
        key: &AccountKey,
        contact: &[String],
    ) -> Result<(), AcmeError> {
        let payload = json!({"contact": contact}).to_string();
        let signer = Signer::Account(key, account);
        self.post(Step::Account, signer, account, &payload).await.map(drop)
    }

    /// Ends an account, and all that it has begun (RFC 8555 section 7.3.6). There is no way back.
    ///
    /// # Errors
    /// [`AcmeError`].
    pub async fn deactivate(&self, account: &str, key: &AccountKey) -> Result<(), AcmeError> {
        let signer = Signer::Account(key, account);
        let ended = self.post(Step::Account, signer, account, r#"{"status":"deactivated"}"#);
        ended.await.map(drop)
    }

    /// Revokes a certificate with its own key, for which no account is needed (RFC 8555 section 7.6). One that
    /// is revoked already stays so.
    ///
    /// # Errors
    /// [`AcmeError`]; [`AcmeError::BadDirectory`] where the CA does not offer it.
    pub async fn revoke_by_key(
        &self,
        certificate: &Der,
        key: &OwnKey,
        reason: RevocationReason,
    ) -> Result<(), AcmeError> {
        let Some(url) = &self.directory().revoke_cert else {
            return Err(AcmeError::BadDirectory { detail: "it has no revokeCert".into() });
        };
        let certificate = BASE64URL_NOPAD.encode(&certificate.0);
        let payload = json!({"certificate": certificate, "reason": reason.code()}).to_string();
        match self.post(Step::Revocation, Signer::Certificate(key), url, &payload).await {
            Err(AcmeError::Refused(problem)) if problem.kind == ProblemKind::AlreadyRevoked => {
                Ok(())
            }
            done => done.map(drop),
        }
    }

    async fn new_account(&self, key: &AccountKey, payload: &str) -> Result<String, AcmeError> {
        /// The status alone is looked at.
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Account {
            status: Option<String>,
        }
        let url = &self.directory().new_account;
        let reply = self.post(Step::Account, Signer::Key(key), url, payload).await?;
        let account: Account = serde_json::from_slice(&reply.body).unwrap_or_default();
        match account.status.as_deref() {
            None | Some("valid") => {}
            Some(status) => {
                let document = Document {
                    detail: Some(format!("the account is {status}")),
                    ..Document::default()
                };
                let problem = document.into_problem(Step::Account, Some(reply.status.as_u16()));
                let kind = ProblemKind::AccountDoesNotExist;
                return Err(AcmeError::Refused(Box::new(Problem { kind, ..problem })));
            }
        }
        let location = reply.location().ok_or_else(|| nonsense(Step::Account, &reply))?;
        let checked = self.transport().rule().read(location);
        checked.map_err(|error| AcmeError::url(Step::Account, &error))?;
        Ok(location.to_owned())
    }

    /// Sends a signed request. Nonces that the CA refuses are replaced by those it gives.
    pub(crate) async fn post(
        &self,
        step: Step,
        signer: Signer<'_>,
        url: &str,
        payload: &str,
    ) -> Result<Reply, AcmeError> {
        let mut nonce = self.nonce(step).await?;
        let mut attempts = 1;
        loop {
            let body = signer.sign(url, Some(&nonce), payload)?.to_string();
            let reply = self.send(step, Method::POST, url, body).await?;
            if reply.status.is_success() {
                return Ok(reply);
            }
            let refused = refusal(step, &reply, None);
            let bad_nonce = matches!(
                &refused,
                AcmeError::Refused(problem) if problem.kind == ProblemKind::BadNonce
            );
            if !bad_nonce || attempts == NONCE_ATTEMPTS {
                return Err(refused);
            }
            attempts += 1;
            nonce = match reply.nonce() {
                Some(given) => given.to_owned(),
                None => self.nonce(step).await?,
            };
        }
    }

    async fn nonce(&self, step: Step) -> Result<String, AcmeError> {
        let url = &self.directory().new_nonce;
        let reply = self.send(step, Method::HEAD, url, String::new()).await?;
        if !reply.status.is_success() {
            return Err(refusal(step, &reply, None));
        }
        reply.nonce().map(str::to_owned).ok_or_else(|| nonsense(step, &reply))
    }

    async fn send(
        &self,
        step: Step,
        method: Method,
        url: &str,
        body: String,
    ) -> Result<Reply, AcmeError> {
        let request = Request::builder().method(method).uri(url);
        let request = request.header(CONTENT_TYPE, "application/jose+json").body(body.into());
        let request = request.map_err(|_| AcmeError::Untrusted {
            step,
            detail: format!("{url:?} is no URL").into(),
        })?;
        self.transport().send(request).await.map_err(|error| AcmeError::transport(step, error))
    }
}
