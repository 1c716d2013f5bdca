//! The one file that knows the client library: sessions and orders, with its types turned into ours.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use instant_acme::{
    Account, AuthorizationHandle, BodyWrapper, BytesResponse, CertificateIdentifier, ChallengeType,
    Error as LibraryError, HttpClient, Identifier, RevocationRequest,
};
use landfall_model::{ChallengeMethod, Der, HostPattern};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};

use super::{
    answers::{self, asked, failed, observed},
    authorization::{
        Authorization, AuthorizationStatus, Challenge, ChallengeStatus, OrderStatus, expiry,
    },
    connection::Connection,
    error::AcmeError,
    http::{Reply, TransportError},
    key::{AccountKey, Signer},
    nonces::{self, with_other_nonces},
    pause::Pauses,
    refusal::{Document, SubproblemDocument, combined, is_of_replaces, nonsense, refusal},
    renewal::CertificateId,
    request::{NewOrder, RevocationReason},
};
use crate::{
    chain,
    failure::{Problem, ProblemKind, Step},
};

/// After so many looks at a pending order its authorizations are looked at.
const LOOKS: u32 = 6;
/// The most names of an order.
const MAX_NAMES: usize = 100;

/// An account at a CA that orders.
#[derive(Clone)]
pub struct Session {
    account: Account,
    connection: Connection,
    key: Arc<AccountKey>,
    url: String,
}

/// An order at a CA (RFC 8555 section 7.1.3).
pub struct Order {
    order: instant_acme::Order,
    session: Session,
    names: Vec<HostPattern>,
    expires: Option<OffsetDateTime>,
}

impl Session {
    /// Begins a session of the account at `url`. Nothing is asked of the CA.
    ///
    /// # Errors
    /// [`AcmeError`], where the directory can't be read again, or the CA has no account at such a URL.
    pub async fn begin(
        connection: &Connection,
        key: Arc<AccountKey>,
        url: &str,
    ) -> Result<Self, AcmeError> {
        let checked = connection.transport().rule().read(url);
        checked.map_err(|error| AcmeError::url(Step::Account, &error))?;
        let wire = Wire { connection: connection.clone() };
        let (directory, _) = connection.document();
        let account = Account::builder_with_http(Box::new(wire)).from_parts(
            url.to_owned(),
            key.pkcs8().into(),
            directory.to_owned(),
        );
        let (account, _) = asked(Step::Account, account).await?;
        Ok(Self { account, connection: connection.clone(), key, url: url.to_owned() })
    }

    /// Makes an order (RFC 8555 section 7.4). Where the CA refuses what it says of the certificate
    /// that is replaced, it is made once more without.
    ///
    /// # Errors
    /// [`AcmeError`].
    pub async fn order(&self, new: NewOrder<'_>) -> Result<Order, AcmeError> {
        let replaces = new.replaces.filter(|_| self.connection.advises_renewal());
        let refused = match self.try_order(NewOrder { replaces, ..new }).await {
            Err(AcmeError::Refused(problem)) if replaces.is_some() && is_of_replaces(&problem) => {
                problem
            }
            done => return done,
        };
        tracing::debug!(kind = refused.kind.name(), "ordering without `replaces`");
        self.try_order(NewOrder { replaces: None, ..new }).await
    }

    async fn try_order(&self, new: NewOrder<'_>) -> Result<Order, AcmeError> {
        with_other_nonces!(self.order_once(new).await)
    }

    async fn order_once(&self, new: NewOrder<'_>) -> Result<Order, AcmeError> {
        let names = new.names.iter().take(MAX_NAMES);
        let names: Vec<_> = names.map(|name| Identifier::Dns(name.to_string())).collect();
        let mut order = instant_acme::NewOrder::new(&names);
        if let Some(profile) = new.profile {
            order = order.profile(profile);
        }
        if let Some((authority, serial)) = new.replaces.map(CertificateId::parts) {
            order = order.replaces(CertificateIdentifier {
                authority_key_identifier: authority.into(),
                serial: serial.into(),
            });
        }
        let (made, outcome) = observed(self.account.new_order(&order)).await;
        match (made, outcome) {
            (Ok(order), outcome) => self.with(order, new.names, outcome.as_ref()),
            // The order is made, but the library refuses it where `replaces` is not said again.
            (Err(LibraryError::Other(_)), Some(Ok(reply))) if reply.status.is_success() => {
                let url = reply.location().ok_or_else(|| nonsense(Step::Order, &reply))?;
                self.resume(url, new.names).await
            }
            (Err(_), outcome) => Err(failed(Step::Order, outcome)),
        }
    }

    /// Takes an order for `names` up again.
    ///
    /// # Errors
    /// [`AcmeError`], as where the order is not known any more.
    pub async fn resume(&self, url: &str, names: &[HostPattern]) -> Result<Order, AcmeError> {
        let (order, reply) =
            with_other_nonces!(asked(Step::Order, self.account.order(url.to_owned())).await)?;
        self.with(order, names, reply.map(Ok).as_ref())
    }

    /// Revokes a certificate that this account ordered (RFC 8555 section 7.6). One that is revoked
    /// already stays so.
    ///
    /// # Errors
    /// [`AcmeError`].
    pub async fn revoke(
        &self,
        certificate: &Der,
        reason: RevocationReason,
    ) -> Result<(), AcmeError> {
        let request = RevocationRequest {
            certificate: &certificate.0.as_slice().into(),
            reason: reason_code(reason),
        };
        match with_other_nonces!(asked(Step::Revocation, self.account.revoke(&request)).await) {
            Err(AcmeError::Refused(problem)) if problem.kind == ProblemKind::AlreadyRevoked => {
                Ok(())
            }
            done => done.map(drop),
        }
    }

    /// The account's URL.
    pub fn account(&self) -> &str {
        &self.url
    }

    fn with(
        &self,
        order: instant_acme::Order,
        names: &[HostPattern],
        outcome: Option<&Result<Reply, TransportError>>,
    ) -> Result<Order, AcmeError> {
        let checked = self.connection.transport().rule().read(order.url());
        checked.map_err(|error| AcmeError::url(Step::Order, &error))?;
        let reply = outcome.and_then(|outcome| outcome.as_ref().ok());
        let expires = reply.and_then(|reply| expiry(&reply.body));
        Ok(Order { order, session: self.clone(), names: names.to_vec(), expires })
    }

    /// Reads something that only the account may (RFC 8555 section 6.3).
    async fn read(&self, step: Step, url: &str) -> Result<Reply, AcmeError> {
        self.connection.post(step, Signer::Account(&self.key, &self.url), url, "").await
    }
}

impl Order {
    /// Its URL: with it, another session can take it up.
    pub fn url(&self) -> &str {
        self.order.url()
    }

    /// Where it was when it was last looked at.
    pub fn status(&mut self) -> OrderStatus {
        status(self.order.state().status)
    }

    /// When it ends if it is not done.
    pub fn expires(&self) -> Option<OffsetDateTime> {
        self.expires
    }

    /// The names, and how they can be proven (RFC 8555 section 7.5), as they were when first read.
    ///
    /// # Errors
    /// [`AcmeError`]; [`AcmeError::Untrusted`] where there are more than names, or one for another name.
    pub async fn authorizations(&mut self) -> Result<Vec<Authorization>, AcmeError> {
        with_other_nonces!(self.read_authorizations(Freshness::AsRead).await)
    }

    async fn read_authorizations(
        &mut self,
        freshness: Freshness,
    ) -> Result<Vec<Authorization>, AcmeError> {
        let thumbprint = self.session.key.thumbprint();
        let untrusted =
            |detail: String| AcmeError::Untrusted { step: Step::Order, detail: detail.into() };
        let (count, most) = (self.order.state().authorizations.len(), self.names.len());
        if count > most {
            let detail = format!("{count} authorizations for an order of {most} names");
            return Err(untrusted(detail));
        }
        let mut found = Vec::new();
        let mut authorizations = self.order.authorizations();
        loop {
            let (next, outcome) = observed(authorizations.next()).await;
            let Some(next) = next else { break };
            let mut handle = next.map_err(|_| failed(Step::Order, outcome))?;
            if matches!(freshness, Freshness::Now) {
                let (refreshed, outcome) = observed(handle.refresh()).await;
                refreshed.map_err(|_| failed(Step::Order, outcome))?;
            }
            let own = authorization(&handle, &thumbprint);
            // Not every CA says of a wildcard's that it is one.
            let is_ordered =
                |own: &Authorization| self.names.iter().any(|name| name.base() == own.name.base());
            found
                .push(own.filter(is_ordered).ok_or_else(|| {
                    untrusted(format!("{} was not ordered", handle.identifier()))
                })?);
        }
        Ok(found)
    }

    /// Tells the CA that a challenge can be looked at (RFC 8555 section 7.5.1). A name that is proven
    /// already is left alone.
    ///
    /// # Errors
    /// [`AcmeError::NotOffered`] where there is no such name or no such challenge; otherwise as for
    /// every answer. What the CA finds is not told here, but by [`Self::wait_until_ready`].
    pub async fn answer(
        &mut self,
        name: &HostPattern,
        method: ChallengeMethod,
    ) -> Result<(), AcmeError> {
        with_other_nonces!(self.answer_once(name, method).await)
    }

    async fn answer_once(
        &mut self,
        name: &HostPattern,
        method: ChallengeMethod,
    ) -> Result<(), AcmeError> {
        let mut authorizations = self.order.authorizations();
        for _ in 0..MAX_NAMES {
            let (next, outcome) = observed(authorizations.next()).await;
            let Some(next) = next else { break };
            let mut handle = next.map_err(|_| failed(Step::Order, outcome))?;
            if name_of(&handle).as_ref() != Some(name) {
                continue;
            }
            if handle.status == instant_acme::AuthorizationStatus::Valid {
                return Ok(());
            }
            let Some(mut challenge) = handle.challenge(challenge_type(method)) else { break };
            let (set, outcome) = observed(challenge.set_ready()).await;
            return match (set, outcome) {
                (Ok(()), _) => Ok(()),
                // The CA has taken it, and says that it was not right before.
                (Err(LibraryError::Api(_)), Some(Ok(reply))) if reply.status.is_success() => Ok(()),
                (Err(_), Some(Ok(reply))) if !reply.status.is_success() => {
                    Err(refusal(Step::Validation, &reply, Some(method)))
                }
                (Err(_), outcome) => Err(failed(Step::Validation, outcome)),
            };
        }
        Err(AcmeError::NotOffered { name: name.clone(), method })
    }

    /// Waits until every name is proven.
    ///
    /// # Errors
    /// [`AcmeError::Refused`] in the CA's words where a name could not be; [`AcmeError::Slow`] at the
    /// deadline.
    pub async fn wait_until_ready(&mut self, deadline: Instant) -> Result<(), AcmeError> {
        match self.poll(Step::Validation, deadline, &[OrderStatus::Pending]).await? {
            OrderStatus::Invalid => Err(self.reasons().await),
            OrderStatus::Pending
            | OrderStatus::Ready
            | OrderStatus::Processing
            | OrderStatus::Valid => Ok(()),
        }
    }

    /// Whether a name's authorization has failed. Some CAs leave its order pending all the same.
    async fn is_lost(&mut self) -> bool {
        let read = with_other_nonces!(self.read_authorizations(Freshness::Now).await);
        let failed = |own: &Authorization| own.status == AuthorizationStatus::Invalid;
        read.is_ok_and(|names| names.iter().any(failed))
    }

    /// Asks for the certificate with a signing request (DER; RFC 8555 section 7.4).
    ///
    /// # Errors
    /// [`AcmeError`].
    pub async fn finalize(&mut self, signing_request: &[u8]) -> Result<(), AcmeError> {
        let done = with_other_nonces!(
            asked(Step::Finalize, self.order.finalize_csr(signing_request)).await
        );
        let Err(error) = done else { return Ok(()) };
        // The request may have arrived although its answer has not.
        let taken = |status| matches!(status, OrderStatus::Processing | OrderStatus::Valid);
        match error.passes() && self.look(Step::Finalize).await.is_ok_and(|(now, _)| taken(now)) {
            true => Ok(()),
            false => Err(error),
        }
    }

    /// Waits until the certificate is there, and fetches it with its chain: that whose topmost
    /// certificate was issued by `preferred` (a common name), where the CA offers one, or else its
    /// default (RFC 8555 section 7.4.2).
    ///
    /// # Errors
    /// [`AcmeError`]; [`AcmeError::Chain`] for what is no chain.
    pub async fn wait_until_issued(
        &mut self,
        deadline: Instant,
        preferred: Option<&str>,
    ) -> Result<Vec<Der>, AcmeError> {
        let unfinished = [OrderStatus::Ready, OrderStatus::Processing];
        if self.poll(Step::Finalize, deadline, &unfinished).await? == OrderStatus::Invalid {
            return Err(self.reasons().await);
        }
        let (pem, reply) =
            with_other_nonces!(asked(Step::Download, self.order.certificate()).await)?;
        let default = chain::read_pem(pem.unwrap_or_default().as_bytes())?;
        let Some(preferred) = preferred.filter(|name| !chain::is_issued_by(&default, name)) else {
            return Ok(default);
        };
        for url in reply.iter().flat_map(Reply::alternates) {
            let other = self.session.read(Step::Download, &url).await?;
            match chain::read_pem(&other.body) {
                Ok(other) if chain::is_issued_by(&other, preferred) => return Ok(other),
                _ => {}
            }
        }
        Ok(default)
    }

    /// Looks at the order until it is in none of the states `while_in`. What fails in passing is
    /// asked again.
    async fn poll(
        &mut self,
        step: Step,
        deadline: Instant,
        while_in: &[OrderStatus],
    ) -> Result<OrderStatus, AcmeError> {
        let begun = Instant::now();
        let mut pauses = Pauses::of(self.order.url());
        for look in 1_u32.. {
            let (seen, wait) = match self.look(step).await {
                Ok((status, _)) if !while_in.contains(&status) => return Ok(status),
                Ok((OrderStatus::Pending, _)) if look % LOOKS == 0 && self.is_lost().await => {
                    return Ok(OrderStatus::Invalid);
                }
                Ok((_, wait)) => (None, wait),
                Err(error) if error.passes() => (Some(error), None),
                Err(error) => return Err(error),
            };
            let wait = pauses.next(wait);
            if Instant::now() + wait > deadline {
                return Err(seen.unwrap_or(AcmeError::Slow { step, waited: begun.elapsed() }));
            }
            sleep(wait).await;
        }
        Err(AcmeError::Slow { step, waited: begun.elapsed() })
    }

    /// Where the order is, and for how long the CA wants to be left alone.
    async fn look(&mut self, step: Step) -> Result<(OrderStatus, Option<Duration>), AcmeError> {
        let refreshed = async { self.order.refresh().await.map(drop) };
        let (_, reply) = asked(step, refreshed).await?;
        let wait = reply.as_ref().and_then(|reply| {
            let wait = reply.retry_after()? - reply.at;
            wait.try_into().ok()
        });
        Ok((self.status(), wait))
    }

    /// Why the order is invalid: what the CA says of each challenge that failed, or else of the order.
    async fn reasons(&mut self) -> AcmeError {
        let error = self.order.state().error.clone();
        let read = with_other_nonces!(self.read_authorizations(Freshness::Now).await);
        let authorizations = match read {
            Ok(authorizations) => authorizations,
            // The order's own words are better than none.
            Err(other) if error.is_none() => return other,
            Err(_) => Vec::new(),
        };
        let challenges = authorizations.into_iter().flat_map(|name| name.challenges);
        let failed = challenges.filter_map(|challenge| {
            let Challenge { name, problem, .. } = challenge;
            Some((name, problem?))
        });
        if let Some(problem) = combined(failed.collect()) {
            return AcmeError::Refused(Box::new(problem));
        }
        if let Some(error) = error {
            return AcmeError::Refused(Box::new(problem(error, Step::Finalize)));
        }
        let now = OffsetDateTime::now_utc();
        if self.expires.is_some_and(|expires| expires <= now) {
            return AcmeError::OrderExpired;
        }
        AcmeError::OrderInvalid { detail: "the CA gives no reason".into() }
    }
}

/// Whether what was read before will do.
#[derive(Clone, Copy)]
enum Freshness {
    AsRead,
    Now,
}

fn name_of(handle: &AuthorizationHandle<'_>) -> Option<HostPattern> {
    handle.identifier().to_string().parse().ok()
}

fn authorization(handle: &AuthorizationHandle<'_>, thumbprint: &str) -> Option<Authorization> {
    use instant_acme::AuthorizationStatus as Theirs;
    let name = name_of(handle)?;
    let challenge = |challenge: &instant_acme::Challenge| {
        let method = method(&challenge.r#type)?;
        let problem = challenge.error.clone().map(|error| problem(error, Step::Validation));
        Some(Challenge {
            name: name.clone(),
            method,
            status: challenge_status(challenge.status),
            token: challenge.token.clone(),
            key_authorization: format!("{}.{thumbprint}", challenge.token),
            problem: problem.map(|problem| Problem { method: Some(method), ..problem }),
        })
    };
    let challenges = handle.challenges.iter().filter_map(challenge).collect();
    let status = match handle.status {
        Theirs::Pending => AuthorizationStatus::Pending,
        Theirs::Valid => AuthorizationStatus::Valid,
        Theirs::Invalid => AuthorizationStatus::Invalid,
        Theirs::Revoked => AuthorizationStatus::Revoked,
        Theirs::Expired => AuthorizationStatus::Expired,
        Theirs::Deactivated => AuthorizationStatus::Deactivated,
    };
    Some(Authorization { name, status, challenges })
}

fn status(theirs: instant_acme::OrderStatus) -> OrderStatus {
    use instant_acme::OrderStatus as Theirs;
    match theirs {
        Theirs::Pending => OrderStatus::Pending,
        Theirs::Ready => OrderStatus::Ready,
        Theirs::Processing => OrderStatus::Processing,
        Theirs::Valid => OrderStatus::Valid,
        Theirs::Invalid => OrderStatus::Invalid,
    }
}

fn challenge_status(theirs: instant_acme::ChallengeStatus) -> ChallengeStatus {
    use instant_acme::ChallengeStatus as Theirs;
    match theirs {
        Theirs::Pending => ChallengeStatus::Pending,
        Theirs::Processing => ChallengeStatus::Processing,
        Theirs::Valid => ChallengeStatus::Valid,
        Theirs::Invalid => ChallengeStatus::Invalid,
    }
}

fn challenge_type(method: ChallengeMethod) -> ChallengeType {
    match method {
        ChallengeMethod::Http01 => ChallengeType::Http01,
        ChallengeMethod::TlsAlpn01 => ChallengeType::TlsAlpn01,
        ChallengeMethod::Dns01 => ChallengeType::Dns01,
        ChallengeMethod::DnsPersist01 => ChallengeType::Unknown(method.name().to_owned()),
    }
}

fn method(theirs: &ChallengeType) -> Option<ChallengeMethod> {
    use ChallengeMethod::{Dns01, DnsPersist01, Http01, TlsAlpn01};
    [Http01, TlsAlpn01, Dns01, DnsPersist01]
        .into_iter()
        .find(|method| challenge_type(*method) == *theirs)
}

fn reason_code(reason: RevocationReason) -> Option<instant_acme::RevocationReason> {
    use instant_acme::RevocationReason as Theirs;
    match reason {
        RevocationReason::Unspecified => None,
        RevocationReason::KeyCompromise => Some(Theirs::KeyCompromise),
        RevocationReason::AffiliationChanged => Some(Theirs::AffiliationChanged),
        RevocationReason::Superseded => Some(Theirs::Superseded),
        RevocationReason::CessationOfOperation => Some(Theirs::CessationOfOperation),
    }
}

/// A problem that came within a good answer.
fn problem(theirs: instant_acme::Problem, step: Step) -> Problem {
    let subproblem = |sub: instant_acme::Subproblem| SubproblemDocument {
        kind: sub.r#type,
        detail: sub.detail,
        identifier: super::refusal::Identifier {
            value: sub.identifier.map(|own| own.authorized(false).to_string()).unwrap_or_default(),
        },
    };
    let document = Document {
        kind: theirs.r#type,
        title: None,
        detail: theirs.detail,
        subproblems: theirs.subproblems.into_iter().map(subproblem).collect(),
    };
    document.into_problem(step, None)
}

/// The library's way to the CA: our own client, and the directory that is known already.
struct Wire {
    connection: Connection,
}

impl HttpClient for Wire {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, LibraryError>> + Send>> {
        let connection = self.connection.clone();
        Box::pin(async move {
            let (directory, document) = connection.document();
            if request.method() == http::Method::GET && request.uri() == directory {
                let known = parts(StatusCode::OK, HeaderMap::new());
                return Ok(BytesResponse { parts: known, body: Box::new(document.clone()) });
            }
            let (head, body) = request.into_parts();
            let is_signed = head.method == http::Method::POST;
            let body = match body.collect().await {
                Ok(body) => body.to_bytes(),
                Err(never) => match never {},
            };
            let outcome = connection.transport().send(Request::from_parts(head, body)).await;
            if is_signed && let Ok(reply) = &outcome {
                nonces::count(answers::fate_of_nonce(reply));
            }
            let reply = match &outcome {
                // What the CA said is kept; the library would try once more.
                Ok(_) if is_signed && nonces::was_last() => Err(LibraryError::Str("bad nonces")),
                Ok(reply) => Ok(BytesResponse {
                    parts: parts(reply.status, reply.headers.clone()),
                    body: Box::new(reply.body.clone()),
                }),
                Err(_) => Err(LibraryError::Str("no answer")),
            };
            answers::note(outcome);
            reply
        })
    }
}

fn parts(status: StatusCode, headers: HeaderMap) -> http::response::Parts {
    let (mut parts, ()) = Response::new(()).into_parts();
    (parts.status, parts.headers) = (status, headers);
    parts
}
